"""A path, or several, through the trellis, and the cell, drawn as a figure; needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from automl_plugins.spaces.figure import draw_graph
from automl_plugins.spaces.operation import Operation
from seg_space.auto_deeplab.trellis import Node, Trellis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def trellis_figure(trellis: Trellis, nodes: Sequence[Node], cell: Sequence[Operation], title: str) -> Figure:
    """The trellis with what an architecture uses of it above its cell, as the paper's figures 1 and 3 have them.

    Args:
        trellis: all resolutions of all layers.
        nodes: what there is in each layer.
        cell: its operations, inputs first.
        title: of the figure.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(11.0, 0.8 * trellis.layers), 7.0), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(2, 3))
    draw_trellis(above, trellis, nodes)
    draw_graph(below, cell)
    figure.suptitle(title)
    return figure


def draw_trellis(axes: Axes, trellis: Trellis, nodes: Sequence[Node]) -> None:
    """Draw all resolutions as grey points, and those that are used, with the edges into them, black.

    Args:
        axes: where to; a column for each layer and a row for each stride.
        trellis: all resolutions of all layers.
        nodes: what is used.
    """
    rows = {stride: row for row, stride in enumerate(trellis.strides)}
    strides = [(layer, stride) for layer in range(1, trellis.layers + 1) for stride in trellis.strides_at(layer)]
    for points, color, order in ((strides, "0.85", 1), ([(node.layer, node.stride) for node in nodes], "black", 3)):
        layers = [0, *(layer for layer, _ in points)]
        axes.scatter(layers, [0, *(rows[stride] for _, stride in points)], s=60, color=color, zorder=order)
    for node in nodes:
        for source in node.incoming:
            axes.plot([node.layer - 1, node.layer], [rows[source], rows[node.stride]], color="black", zorder=2)
    axes.set_xticks(range(trellis.layers + 1), ["stem", *map(str, range(1, trellis.layers + 1))])
    axes.set_yticks(list(rows.values()), list(map(str, rows)))
    axes.set(xlabel="layer", ylabel="stride")
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)
