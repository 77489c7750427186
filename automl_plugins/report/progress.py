"""A study's progress, as a live table in a terminal and as plain lines elsewhere."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType

from optuna.trial import FrozenTrial
from rich.console import Console
from rich.live import Live
from rich.table import Table

from automl_plugins.errors import StudyError
from automl_plugins.report.forecast import Spending, clock, seconds_left
from automl_plugins.report.row import settings_text
from automl_plugins.report.trial_cost import beside_training, cost_of, counts, spent
from automl_plugins.report.trials import outcome

_REFRESH_SECONDS = 1.0
_FIRST_LINES_SECONDS = 8.0
_LAST_LINES_SECONDS = 60.0
"""Between plain lines: the longer a study runs, the rarer they are."""
_TRACEBACK_LINES = 12
_ASIDE = ("pruned", "diverged", "failed", "killed", "timed out", "refused")
_FINALS = "final trainings"


@dataclass(frozen=True)
class State:
    """A study as it stands now.

    Args:
        arms: the trials of each search so far.
        trials: how many an arm has in the end, of those that are not given the search's cost; the search is the first.
        finals: seconds that each final training took that has ended.
        most_finals: how many of them there are in the end; for certain once all trials have ended.
        tests: how many tests have ended.
        running: what trains now and how far it is, a phrase each.
        unit: in which the other searches have the same cost as the first, see `report.trial_cost.UNITS`.
        trial_cost: what is expected of a trial of the search; None: as its trials so far.
        search_seconds: of the search's trials in all, after which it ends; None: any.
        ended_arms: the searches of which no trial is left; None: those that have all of their trials.
        seconds_left: of the time that the study has; None: it may take any.
    """

    arms: Mapping[str, Sequence[FrozenTrial]]
    trials: Mapping[str, int]
    finals: Sequence[float]
    most_finals: int
    tests: int
    running: Sequence[str]
    unit: str = "trials"
    trial_cost: float | None = None
    ended_arms: Collection[str] | None = None
    search_seconds: float | None = None
    seconds_left: float | None = None

    def ended(self, arm: str) -> int:
        """The number of an arm's trials that have ended."""
        return sum(map(counts, self.arms[arm]))

    @cached_property
    def spendings(self) -> dict[str, Spending]:
        """The cost of each search, so far and in the end."""
        found: dict[str, Spending] = {}
        due = 0.0
        for arm, trials in self.arms.items():
            cost, ended, seconds = spent(trials, self.unit), self.ended(arm), spent(trials, "gpu_seconds")
            left = max(0, self.trials[arm] - ended) if arm in self.trials else 0
            each = cost / max(1, ended)
            if not found:
                each = each if self.trial_cost is None else self.trial_cost
                due = in_the_end = cost + left * each
                if self.search_seconds is not None and seconds > 0:
                    due = in_the_end = min(due, cost * max(1.0, self.search_seconds / seconds))
            elif arm in self.trials:
                in_the_end = cost + left * (each or due / max(1, self.trials[self.search]))
            else:
                in_the_end = due
            trained = sum(cost_of(trial, "gpu_seconds") > 0 for trial in trials)
            found[arm] = Spending(cost, cost if self.is_done(arm) else in_the_end, seconds, trained)
        return found

    def is_done(self, arm: str) -> bool:
        """True where no trial of an arm is left."""
        return self.ended(arm) >= self.trials[arm] if self.ended_arms is None else arm in self.ended_arms

    @property
    def search(self) -> str:
        """The arm whose cost others are given."""
        return next(iter(self.arms))

    def number(self, arm: str) -> str:
        """The number of an arm's trials that have ended, of those asked for where that is known."""
        return f"{self.ended(arm)} of {self.trials[arm]}" if arm in self.trials else f"{self.ended(arm)}"

    def part(self, arm: str) -> str:
        """The part of the search's cost that an arm of equal cost has had; "" where trials are counted."""
        spending = self.spendings[arm]
        if arm in self.trials or not spending.due:
            return ""
        return f", {100 * min(1.0, spending.spent / spending.due):.0f} % of the search's cost"

    @property
    def phase(self) -> str:
        """The part of the study that runs now."""
        for arm in self.arms:
            if not self.is_done(arm):
                return arm
        return "tests" if self.tests else _FINALS


class Progress:
    """Show, while the block runs: what is done and runs, the best so far, failures, the time left for all.

    It looks at the storage and the result files, so it sees all workers alike and slows none down.

    Args:
        look: how the study stands.
        metric: the name of the trials' first value.
        maximize: whether more of it is better.
        workers: processes that share the work.
        longer: how many times as long a final training is as a trial, by their epochs.
        console: where to; standard error where left out.
    """

    def __init__(
        self,
        look: Callable[[], State],
        metric: str,
        maximize: bool = False,
        workers: int = 1,
        longer: float = 1.0,
        console: Console | None = None,
    ) -> None:
        self.look = look
        self.metric = metric
        self.maximize = maximize
        self.workers = workers
        self.longer = longer
        self.console = console or Console(stderr=True)
        self._started = time.monotonic()
        self._shown_failures: set[tuple[str, int]] = set()
        self._printed: dict[str, str] = {}
        self._phase_shown = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)

    def __enter__(self) -> Progress:
        state = self.look()
        for arm, trials in state.arms.items():
            self._shown_failures |= {(arm, trial.number) for trial in trials if "failure" in trial.user_attrs}
        if any(map(state.ended, state.arms)) or state.finals:
            told = [f"{state.number(arm)} trials of {arm}" for arm in state.arms]
            told += [f"{len(state.finals)} final trainings"] if state.finals else []
            self.console.print(f"goes on after {' and '.join(told)}, which are kept", highlight=False, soft_wrap=True)
        self._phase_shown = state.phase
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if error is None:
            # A storage that is gone has been told of.
            with suppress(StudyError):
                self._print_cost(self.look())

    def _show(self) -> None:
        # A storage that is gone for good ends the study itself, with a word of its own.
        with suppress(StudyError):
            self._show_on()

    def _show_on(self) -> None:
        if self.console.is_terminal:
            with Live(console=self.console, refresh_per_second=4, transient=False) as live:
                while not self._stop.wait(_REFRESH_SECONDS):
                    live.update(self._table(self.look()))
                live.update(self._table(self.look()))
            return
        last = 0.0
        while not self._stop.wait(_REFRESH_SECONDS):
            state, elapsed = self.look(), self._elapsed()
            pause = min(_LAST_LINES_SECONDS, max(_FIRST_LINES_SECONDS, elapsed / 20))
            if elapsed - last >= pause or state.phase != self._phase_shown:
                last = elapsed
                self._print_lines(state)
        self._print_lines(self.look())

    def _print_cost(self, state: State) -> None:
        """Say how long everything was trained, by all workers and in all runs."""
        told = [f"{arm} {clock(spending.seconds)}" for arm, spending in state.spendings.items()]
        told += [f"{_FINALS} {clock(sum(state.finals))}"] if state.finals else []
        whole = sum(spending.seconds for spending in state.spendings.values()) + sum(state.finals)
        self.console.print(f"trained for {clock(whole)}: {', '.join(told)}", highlight=False, soft_wrap=True)

    def _elapsed(self) -> float:
        return time.monotonic() - self._started

    def _print_lines(self, state: State) -> None:
        self._phase_shown = state.phase
        for name, *cells in self._rows(state):
            line = ", ".join(filter(None, cells))
            if self._printed.get(name) != line:
                self._printed[name] = line
                self.console.print(f"{name}: {line}", highlight=False, soft_wrap=True)

    def _table(self, state: State) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for column in ("", "done", "running", "best"):
            table.add_column(column)
        for row in self._rows(state):
            table.add_row(*row)
        return table

    def _rows(self, state: State) -> list[tuple[str, str, str, str]]:
        rows = [self._arm_row(state, arm) for arm in state.arms]
        if all(map(state.is_done, state.arms)):
            rows.append((_FINALS, f"{len(state.finals)} of {state.most_finals} done", "", ""))
        if state.tests:
            rows.append(("tests", f"{state.tests} done", "", ""))
        finals_left = max(0, state.most_finals - len(state.finals))
        searches = state.spendings
        dearest = max((each.due for each in searches.values()), default=0.0)
        final_cost = self.longer * dearest / max(1, max(state.trials.values(), default=1))
        beside = beside_training(trial for trials in state.arms.values() for trial in trials)
        left = seconds_left(searches, state.finals, finals_left, final_cost, self.workers, beside)
        if state.seconds_left is not None and not all(map(state.is_done, state.arms)):
            left = state.seconds_left  # searches that a time ends go on until it does
        told = "" if left is None or left < 1 else f"about {clock(left)} left"
        rows.append(("in all", clock(self._elapsed()), "; ".join(state.running), told))
        return rows

    def _arm_row(self, state: State, arm: str) -> tuple[str, str, str, str]:
        trials = state.arms[arm]
        self._show_failures(arm, trials)
        outcomes = Counter(map(outcome, trials))
        aside = [f"{outcomes[name]} {name}" for name in _ASIDE if outcomes[name]]
        done = f"{state.number(arm)} done{state.part(arm)}" + (f" ({', '.join(aside)})" if aside else "")
        running = f"{outcomes['running']} running" if outcomes["running"] else ""
        return arm, done, running, self._best(trials)

    def _best(self, trials: Sequence[FrozenTrial]) -> str:
        """The best value so far, with the settings that were tuned for it; "": there is none."""
        completed = [trial for trial in trials if outcome(trial) == "completed" and math.isfinite(trial.values[0])]
        best = (max if self.maximize else min)(completed, key=lambda trial: trial.values[0], default=None)
        if best is None:
            return ""
        settings = settings_text(best.user_attrs.get("settings", {}))
        return f"best {self.metric} {best.values[0]:.4f}" + (f" ({settings})" if settings else "")

    def _show_failures(self, arm: str, trials: Sequence[FrozenTrial]) -> None:
        for trial in trials:
            if "failure" in trial.user_attrs and (arm, trial.number) not in self._shown_failures:
                self._shown_failures.add((arm, trial.number))
                lines = str(trial.user_attrs.get("traceback", "")).splitlines()[-_TRACEBACK_LINES:]
                self.console.print(f"trial {trial.number} of {arm} failed:", *lines, sep="\n  ", markup=False)
