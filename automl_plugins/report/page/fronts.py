"""The Pareto fronts of a study with costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial

from automl_plugins.report.front import Front, candidates
from automl_plugins.report.page.drawing import COLORS, LINES, drawn, new_axes
from automl_plugins.report.page.page import Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKERS = ("o", "s", "^", "D", "v", "P")


def front_drawings(fronts: Mapping[str, Front], arms: Mapping[str, Sequence[FrozenTrial]]) -> list[Drawing]:
    """A drawing for each cost beside the metric: all trials, and the fronts as lines.

    Args:
        fronts: of each arm.
        arms: the trials of each.
    """
    objectives = next(iter(fronts.values())).objectives if fronts else ()
    return [_front_drawing(fronts, arms, column) for column in range(1, len(objectives))]


def _front_drawing(fronts: Mapping[str, Front], arms: Mapping[str, Sequence[FrozenTrial]], column: int) -> Drawing:
    objectives = next(iter(fronts.values())).objectives

    def make() -> Figure:
        figure, axes = new_axes(4.4, 3.4)
        for place, (arm, front) in enumerate(fronts.items()):
            color, marker = COLORS[place % len(COLORS)], _MARKERS[place % len(_MARKERS)]
            style: dict[str, Any] = {"color": color, "marker": marker}
            values = [trial.values for trial in candidates(arms.get(arm, ()))]
            axes.scatter([each[column] for each in values], [each[0] for each in values], s=14, alpha=0.4, **style)
            points = sorted((each[column], each[0]) for each in front.values)
            # With three objectives or more, the front in two of them is no line.
            style["linestyle"] = LINES[place % len(LINES)] if len(objectives) == 2 else "None"
            label = f"{arm}, hypervolume {front.hypervolume:.3f}"
            axes.plot(*zip(*points, strict=True), drawstyle="steps-post", markersize=5, label=label, **style)
        axes.set(xlabel=objectives[column], ylabel=objectives[0])
        axes.legend(frameon=False, fontsize=8)
        return figure

    told = "; ".join(f"{arm}: {len(front.trials)} trials on the front" for arm, front in fronts.items())
    return drawn(
        make, f"{objectives[0]} over {objectives[column]}: all trials, and those that none of their arm beats.", told
    )
