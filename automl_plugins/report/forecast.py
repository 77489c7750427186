"""A forecast of the time that a whole study takes still, from what has ended so far and what that cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True)
class Spending:
    """The cost of a search so far and in the end, in a unit that all searches share.

    Args:
        spent: what its trials that ended have cost.
        due: what they will have cost in the end.
        seconds: of their trainings.
        trials: how many of them were trained.
    """

    spent: float
    due: float
    seconds: float
    trials: int = 0

    @property
    def left(self) -> float:
        """The cost that is not spent yet."""
        return max(0.0, self.due - self.spent)


def seconds_left(
    searches: Mapping[str, Spending],
    final_seconds: Sequence[float],
    finals_left: int,
    final_cost: float,
    workers: int,
    beside: float = 0.0,
) -> float | None:
    """The seconds that are left; None where nothing has ended yet that tells.

    Args:
        searches: each of them.
        final_seconds: how long each final training took that has ended.
        finals_left: how many of them are left.
        final_cost: of one of them, in the unit of the searches.
        workers: processes that share the work.
        beside: seconds that a training takes beside itself, a trial's or a final one.
    """
    spent = sum(each.spent for each in searches.values())
    trained = sum(each.seconds for each in searches.values())
    passed = {name: each.seconds + beside * each.trials for name, each in searches.items()}
    if spent == 0 and (any(each.left for each in searches.values()) or not final_seconds):
        return None
    rate = sum(passed.values()) / spent if spent else 0.0
    # A search that has not begun takes as long for its cost as the others.
    searching = sum(each.left * (passed[name] / each.spent if each.spent else rate) for name, each in searches.items())
    final = fmean(final_seconds) if final_seconds else final_cost * trained / spent
    return (searching + finals_left * (final + beside)) / workers


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
