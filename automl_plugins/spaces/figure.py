"""An architecture, drawn as a figure; needs matplotlib (the extra `benchmark`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from automl_plugins.spaces.operation import Operation

_MOST_COLUMNS = 10
"""From left to right; the flow of longer graphs is drawn from top to bottom."""

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def graph_figure(operations: Sequence[Operation], title: str) -> Figure:
    """A figure of the operations and the flow of data between them.

    Args:
        operations: what `SearchSpace.operations` gives: inputs come before what reads them.
        title: of the figure.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    places = layered(operations)
    columns, rows = (1 + max(place[axis] for place in places.values()) for axis in (0, 1))
    downwards = columns > _MOST_COLUMNS
    size = (max(4.0, 1.6 * rows), 0.5 * columns) if downwards else (max(6.0, 1.5 * columns), max(3.0, 0.7 * rows))
    figure = Figure(figsize=size, layout="constrained")
    draw_graph(figure.subplots(), operations, downwards)
    figure.suptitle(title)
    return figure


def draw_graph(axes: Axes, operations: Sequence[Operation], downwards: bool = False) -> None:
    """Draw operations as boxes and the flow of data as arrows, from left to right.

    Args:
        axes: where to.
        operations: inputs come before what reads them.
        downwards: the flow is from top to bottom.
    """
    places = layered(operations)
    if downwards:
        places = {name: (row, column) for name, (column, row) in places.items()}
    for operation in operations:
        end = places[operation.name]
        for source in operation.inputs:
            begin = places[source]
            # What passes other columns by goes around the boxes there.
            bend = 0.0 if end[downwards] - begin[downwards] == 1 else 0.3 if downwards else -0.15
            style = {"arrowstyle": "-|>", "color": "0.55", "connectionstyle": f"arc3,rad={bend}", "shrinkB": 12}
            axes.annotate("", xy=end, xytext=begin, arrowprops=style, zorder=1)
        box = {"boxstyle": "round", "facecolor": "white", "edgecolor": "0.3"}
        axes.text(*end, operation.label, ha="center", va="center", fontsize=8, bbox=box, zorder=2)
    xs, ys = zip(*places.values(), strict=True)
    axes.set_xlim(min(xs) - 0.6, max(xs) + 0.6)
    axes.set_ylim(min(ys) - 0.6, max(ys) + 0.6)
    axes.invert_yaxis()
    axes.axis("off")


def layered(operations: Sequence[Operation]) -> dict[str, tuple[float, float]]:
    """A place for each operation: a column to the right of all that it reads, near their rows.

    Args:
        operations: inputs come before what reads them.

    Raises:
        ValueError: an operation reads one that does not come before it.
    """
    columns: dict[str, int] = {}
    members: dict[int, list[Operation]] = {}
    for operation in operations:
        unknown = next((source for source in operation.inputs if source not in columns), None)
        if unknown is not None:
            raise ValueError(f"{operation.name!r} reads {unknown!r}, which does not come before it")
        columns[operation.name] = 1 + max((columns[source] for source in operation.inputs), default=-1)
        members.setdefault(columns[operation.name], []).append(operation)
    places: dict[str, tuple[float, float]] = {}
    for column, own in sorted(members.items()):

        def row(operation: Operation) -> float:
            rows = [places[source][1] for source in operation.inputs]
            return sum(rows) / len(rows) if rows else 0.0

        middle = sum(map(row, own)) / len(own) - (len(own) - 1) / 2
        for position, operation in enumerate(sorted(own, key=row)):
            places[operation.name] = (float(column), middle + position)
    return places
