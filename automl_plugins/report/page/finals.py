"""The final table of a study or an evaluation, with intervals, and its figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from automl_plugins.objectives.paired import CONFIDENCE, t_quantile
from automl_plugins.report.page.drawing import COLORS, drawn, new_axes
from automl_plugins.report.page.page import Drawing, Table
from automl_plugins.report.row import Row
from automl_plugins.system.finite import spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_ROWS = 40


def interval(mean: float | None, deviation: float | None, count: int) -> tuple[float, float] | None:
    """The interval of Student's t around a mean over seeds; None where fewer than two have a value."""
    if mean is None or deviation is None or count < 2:
        return None
    reach = t_quantile(CONFIDENCE, count - 1) * deviation / math.sqrt(count)
    return mean - reach, mean + reach


@dataclass(frozen=True)
class Finals:
    """The final trainings of a study, or of several.

    Args:
        rows: a network each.
        monitor: the validation metric.
        direction: `minimize` or `maximize` it.
        winner: the label of the best row; None: there is none.
    """

    rows: Sequence[Row]
    monitor: str
    direction: str
    winner: str | None


def finals_table(finals: Finals) -> Table:
    """The table; losses, and metrics of single classes or targets, are left to `summary.json`."""
    metrics = [name for name in dict.fromkeys(name for row in finals.rows for name in row.test) if _is_shown(name)]
    figures = [name for name in dict.fromkeys(name for row in finals.rows for name in row.figures) if name != "params"]
    percent = f"{CONFIDENCE:.0%}"
    columns = ["network", "found by", "parameters", *figures, finals.monitor, f"{percent} interval", "seeds"]
    columns += [*metrics, "CPU s a training"]
    rows = [_cells(row, figures, metrics) for row in finals.rows]
    best = next((place for place, row in enumerate(finals.rows) if row.label == finals.winner), None)
    better = "lower" if finals.direction == "minimize" else "higher"
    caption = (
        f"Means and deviations over seeds; of {finals.monitor}, by which everything was chosen, {better} is better. "
        f"The interval holds the mean over all seeds with {percent}, if they are normal."
    )
    return Table(columns, rows, caption, range(2, len(columns)), best)


def finals_drawing(finals: Finals) -> Drawing | None:
    """Means with their intervals, a line for each network; None where no network has a value."""
    rows = [row for row in finals.rows if row.validation_mean is not None][:_MOST_ROWS]
    if not rows:
        return None

    def make() -> Figure:
        figure, axes = new_axes(4.4, 0.9 + 0.3 * len(rows))
        for place, row in enumerate(rows):
            color = COLORS[0] if row.label == finals.winner else COLORS[5]
            mean = row.validation_mean or 0.0
            reach = interval(row.validation_mean, row.validation_deviation, row.completed)
            if reach is not None:
                axes.plot(reach, (place, place), color=color, linewidth=2)
            axes.plot([mean], [place], marker="o", color=color)
        axes.set_yticks(range(len(rows)), [_short(row.label) for row in rows])
        axes.invert_yaxis()
        axes.set_xlabel(finals.monitor)
        axes.grid(axis="x", color="#d9d9d9", linewidth=0.6)
        return figure

    told = "; ".join(f"{row.label}: {spread(row.validation_mean, row.validation_deviation)}" for row in rows)
    return drawn(make, f"Means of {finals.monitor} with their {CONFIDENCE:.0%} intervals over seeds.", told)


def _cells(row: Row, figures: Sequence[str], metrics: Sequence[str]) -> list[str]:
    reach = interval(row.validation_mean, row.validation_deviation, row.completed)
    shown = spread(row.validation_mean, row.validation_deviation)
    if row.validation_mean is None:
        shown = "failed" if row.notes and row.notes[0].startswith("failed") else "diverged"
    return [
        row.label,
        row.found_by,
        "unknown" if row.params is None else f"{row.params:,}",
        *(f"{row.figures[name]:,.6g}" if name in row.figures else "unknown" for name in figures),
        shown,
        "" if reach is None else f"{reach[0]:.4f} to {reach[1]:.4f}",
        str(row.seeds) if row.completed == row.seeds else f"{row.completed} of {row.seeds}",
        *(spread(*row.test[name]) if name in row.test else "" for name in metrics),
        "" if row.cpu_seconds is None else f"{row.cpu_seconds:.1f}",
    ]


def _is_shown(name: str) -> bool:
    is_part = "/" in name and not name.startswith("test/")
    return not is_part and not name.endswith("_loss")


def _short(label: str, longest: int = 34) -> str:
    return label if len(label) <= longest else f"{label[: longest - 1]}…"
