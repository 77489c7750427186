"""Hard limits of figures, as Optuna's constraints of a trial."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna


def set_limits(trial: optuna.Trial, figures: Mapping[str, float], limits: Mapping[str, float]) -> None:
    """Make hard limits Optuna constraints of a trial: each keeps `figure <= limit`.

    The distance to a limit is told relative to it, so that seconds of latency and millions of parameters weigh alike.
    Optuna's TPE and NSGA-II honour constraints, and so do our samplers. A figure that is nan keeps no limit.

    Args:
        trial: the running trial.
        figures: name -> value.
        limits: name -> the most that it may be; above 0.

    Raises:
        ValueError: there is no figure of that name, or a limit is not a number above 0.
    """
    for name, limit in limits.items():
        if name not in figures:
            raise ValueError(f"there is a limit for {name!r}, and no such figure; figures: {', '.join(figures)}")
        if not 0 < limit < math.inf:
            raise ValueError(f"the limit of {name!r} is a number above 0; got {limit}")
        missed = figures[name] / limit - 1
        trial.set_constraint(name, math.inf if math.isnan(missed) else missed)
