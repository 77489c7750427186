"""A path, or several, and a cell of Auto-DeepLab's space, drawn as text."""

from __future__ import annotations

from collections.abc import Sequence

from seg_space.auto_deeplab.cell import Step
from seg_space.auto_deeplab.trellis import Node

_STATES = ("layer before last", "last layer")


def draw_path(path: Sequence[int], strides: Sequence[int]) -> str:
    """Draw a path through the trellis.

    There is a column for each layer and a row for each stride, the finest on top::

       stride  stem  1  2  3
            4     o  .  .  o
            8     .  o  o  .
           16     .  .  .  .

    (with other characters).

    Args:
        path: the stride of each layer.
        strides: of all resolutions; the first is the stem's.

    Returns:
        The lines, without a line break at the end.
    """
    columns = ["stem", *map(str, range(1, len(path) + 1))]
    taken = (strides[0], *path)
    lines = ["  ".join(("stride", *columns))]
    for stride in strides:
        marks = ("●" if visited == stride else "·" for visited in taken)
        cells = (f"{mark:>{len(column)}}" for mark, column in zip(marks, columns, strict=True))
        lines.append("  ".join((f"{stride:>6}", *cells)))
    return "\n".join(lines)


def draw_nodes(nodes: Sequence[Node], strides: Sequence[int]) -> str:
    """Draw several paths through the trellis, as `draw_path` does, with the edges that lead to each point.

    An edge comes from the column before: from the next finer stride, from the same one, or from the next coarser one.

    Args:
        nodes: what there is in each layer.
        strides: of all resolutions; the first is the stem's.

    Returns:
        The lines, without a line break at the end.
    """
    layers = max(node.layer for node in nodes)
    marks = {(0, strides[0]): "●"}
    for node in nodes:
        edges = "".join(
            "↘" if source < node.stride else "→" if source == node.stride else "↗" for source in node.incoming
        )
        marks[node.layer, node.stride] = f"{edges}●"
    columns = [
        [name, *(marks.get((layer, stride), "·") for stride in strides)]
        for layer, name in enumerate(["stem", *map(str, range(1, layers + 1))])
    ]
    rows = [["stride", *(f"{stride:>6}" for stride in strides)]]
    for column in columns:
        width = max(map(len, column))
        rows.append([f"{mark:>{width}}" for mark in column])
    return "\n".join("  ".join(row) for row in zip(*rows, strict=True))


def draw_cell(steps: Sequence[Step]) -> str:
    """Write a cell as one sum a line: `block 2 = max_pool(block 0) + identity(last layer)`.

    Args:
        steps: two for each block.

    Returns:
        The lines, without a line break at the end.
    """
    lines = []
    for first, second in zip(steps[::2], steps[1::2], strict=True):
        terms = (f"{step.operation}({_state(step.source)})" for step in (first, second))
        lines.append(f"block {first.block} = {' + '.join(terms)}")
    return "\n".join(lines)


def _state(state: int) -> str:
    return _STATES[state] if state < len(_STATES) else f"block {state - len(_STATES)}"
