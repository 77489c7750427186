"""A path and a cell of Auto-DeepLab's space, drawn as text."""

from __future__ import annotations

from collections.abc import Sequence

from seg_space.cell import Step

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
        marks = ("●" if each == stride else "·" for each in taken)
        cells = (f"{mark:>{len(column)}}" for mark, column in zip(marks, columns, strict=True))
        lines.append("  ".join((f"{stride:>6}", *cells)))
    return "\n".join(lines)


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
