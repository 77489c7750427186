"""Best-so-far curves of the arms of a study, or of several studies, over what their trials cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial, TrialState

from automl_plugins.report.page.drawing import COLORS, LINES, drawn, new_axes
from automl_plugins.report.page.page import Drawing
from automl_plugins.report.trial_cost import UNITS, cost_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = tuple[Sequence[float], Sequence[float]]
"""Costs and the best values so far, both in the order of time."""


def best_so_far(trials: Sequence[FrozenTrial], unit: str, maximize: bool) -> Curve:
    """The best value after each trial that ended, over what all trials until then have cost.

    Args:
        trials: in any order; those beyond a limit, or without a finite value, cost and do not count.
        unit: of the cost, see `UNITS`.
        maximize: whether more of the first value is better.
    """
    ended = [trial for trial in trials if trial.state.is_finished() and trial.datetime_complete is not None]
    costs, values, spent, best = [], [], 0.0, -math.inf if maximize else math.inf
    for trial in sorted(ended, key=lambda each: (each.datetime_complete, each.number)):
        spent += cost_of(trial, unit)
        if trial.state is TrialState.COMPLETE and all(value <= 0 for value in trial.constraints.values()):
            value = trial.values[0]
            is_better = value > best if maximize else value < best
            best = value if math.isfinite(value) and is_better else best
        if math.isfinite(best):
            costs.append(spent)
            values.append(best)
    return costs, values


def curves_drawing(curves: Mapping[str, Curve], unit: str, metric: str, maximize: bool) -> Drawing | None:
    """The curves in one drawing; None where none has a point.

    Args:
        curves: by the names of the arms.
        unit: of the costs.
        metric: of the values.
        maximize: whether more is better.
    """
    shown = {name: curve for name, curve in curves.items() if curve[0]}
    if not shown:
        return None

    def make() -> Figure:
        figure, axes = new_axes(4.4, 3.4)
        for place, (name, (costs, values)) in enumerate(shown.items()):
            style: dict[str, Any] = {"color": COLORS[place % len(COLORS)], "linestyle": LINES[place % len(LINES)]}
            axes.step(costs, values, where="post", label=name, **style)
            axes.plot(costs[-1:], values[-1:], marker="o", markersize=4, color=style["color"])
        axes.set(xlabel=UNITS.get(unit, unit).partition(",")[0], ylabel=f"best {metric} so far")
        axes.legend(frameon=False, fontsize=8)
        return figure

    ends = (f"{name} ends at {values[-1]:.4f} after {costs[-1]:,.3g}" for name, (costs, values) in shown.items())
    better = "higher" if maximize else "lower"
    caption = f"The best {metric} of trials so far ({better} is better), over {UNITS.get(unit, unit)}."
    return drawn(make, caption, f"{caption} {'; '.join(ends)}")
