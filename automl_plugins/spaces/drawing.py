"""An architecture, drawn as text."""

from __future__ import annotations

from collections.abc import Sequence

from automl_plugins.spaces.operation import Operation

_GAP = "   "


def draw(operations: Sequence[Operation]) -> str:
    """Draw the operations of an architecture, one a line, with the flow of data as lines between them.

    Data flow downwards. A line that leaves another one to the right carries a copy; lines that
    meet in an operation are its inputs::

        o        input
        o        layer0.transform   linear to 8 x 16
        +-o      layer1.transform   linear to 4 x 32
        o-+      layer1.skip        skip connection

    (with box-drawing characters).

    Args:
        operations: what `SearchSpace.operations` gives: inputs come before what reads them.

    Returns:
        The lines, without a line break at the end.

    Raises:
        ValueError: an operation reads one that does not come before it.
    """
    last_use = {source: position for position, each in enumerate(operations) for source in each.inputs}
    lanes: list[str | None] = []
    graphs = []
    for position, operation in enumerate(operations):
        for source in operation.inputs:
            if source not in lanes:
                raise ValueError(f"{operation.name!r} reads {source!r}, which does not come before it")
        sources = {lanes.index(source) for source in operation.inputs}
        ending = {lane for lane in sources if last_use[str(lanes[lane])] == position}
        place = _place(lanes, ending)
        graphs.append(_line(lanes, place, sources, ending))
        for lane in ending:
            lanes[lane] = None
        if place == len(lanes):
            lanes.append(None)
        lanes[place] = operation.name if operation.name in last_use else None
        while lanes and lanes[-1] is None:
            lanes.pop()
    width = max((len(graph) for graph in graphs), default=0)
    name_width = max((len(operation.name) for operation in operations), default=0)
    lines = []
    for graph, operation in zip(graphs, operations, strict=True):
        label = "" if operation.label == operation.name else operation.label
        lines.append(f"{graph:<{width}}{_GAP}{operation.name:<{name_width}}{_GAP}{label}".rstrip())
    return "\n".join(lines)


def _place(lanes: Sequence[str | None], ending: set[int]) -> int:
    """The lane that an operation stands in: that of an input which nothing else reads, else a free one."""
    if ending:
        return min(ending)
    return next((lane for lane, name in enumerate(lanes) if name is None), len(lanes))


def _line(lanes: Sequence[str | None], place: int, sources: set[int], ending: set[int]) -> str:
    """One line of the graph: lanes that pass, and the operation joined to its inputs."""
    joined = sources | {place}
    left, right = min(joined), max(joined)
    characters = []
    for lane in range(max(len(lanes), place + 1)):
        used = lane < len(lanes) and lanes[lane] is not None
        if lane == place:
            character = "●"
        elif lane in sources:
            ends = lane in ending
            if lane == left:
                character = "└" if ends else "├"
            elif lane == right:
                character = "┘" if ends else "┤"
            else:
                character = "┴" if ends else "┼"
        elif left < lane < right:
            character = "│" if used else "─"
            # A line that only crosses is drawn through, so that it does not look like an input.
        else:
            character = "│" if used else " "
        characters.append(character + ("─" if left <= lane < right else " "))
    return "".join(characters).rstrip()
