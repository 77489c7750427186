"""The operations of an architecture of Auto-DeepLab's space, in order of data flow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.operation import Operation
from seg_space.auto_deeplab.cell import Step

if TYPE_CHECKING:
    from seg_space.auto_deeplab.space import AutoDeepLabSpace


def inputs_name(block: int) -> str:
    """The choice of the two states that a block reads."""
    return f"cell.block{block}.inputs"


def operation_name(block: int, slot: int) -> str:
    """The choice of one of a block's two operations."""
    return f"cell.block{block}.input{slot}.operation"


def list_operations(space: AutoDeepLabSpace, architecture: Architecture) -> list[Operation]:
    """What `AutoDeepLabSpace.operations` gives."""
    operations = [Operation("stem", "stem")]
    nodes, steps = space.nodes(architecture), space.steps(architecture)
    several = len(nodes) > space.layers
    names = {(layer, space.stem_stride): "stem" for layer in (-1, 0)}
    for node in nodes:
        name = f"layer{node.layer}.stride{node.stride}" if several else f"layer{node.layer}"
        arrows = tuple(space.arrow_name(node.layer, source) for source in node.incoming)
        before = f"{name}.before"
        read = tuple(names[node.layer - 2, each] for each in node.before)
        operations.append(Operation(before, _resized(node.before, node.stride), read, arrows))
        blocks: list[str] = []
        groups = [node.incoming] if space.merge_inputs else [(source,) for source in node.incoming]
        for group in groups:
            prefix = name if len(groups) == 1 else f"{name}.from{group[0]}"
            previous = f"{prefix}.previous"
            read = tuple(names[node.layer - 1, each] for each in group)
            chosen = tuple(space.arrow_name(node.layer, source) for source in group)
            operations.append(Operation(previous, _resized(group, node.stride), read, chosen))
            of_cell = list(_cell_operations(prefix, (before, previous), steps))
            operations += of_cell
            blocks += [each.name for each in of_cell if each.label == "sum"]
        operations.append(Operation(name, f"stride {node.stride}", tuple(blocks)))
        names[node.layer, node.stride] = name
    read = tuple(names[space.layers, node.stride] for node in nodes if node.layer == space.layers)
    return [*operations, Operation("head", space.head, (*read, "stem") if space.head == "deeplab" else read)]


def list_cell(steps: Sequence[Step]) -> list[Operation]:
    """The operations of a cell by itself, from its two inputs to its output."""
    before, previous = Operation("before", "layer before last"), Operation("previous", "last layer")
    operations = list(_cell_operations("cell", (before.name, previous.name), steps))
    blocks = [each.name for each in operations if each.label == "sum"]
    named = [
        each._replace(label=f"block {blocks.index(each.name)}") if each.name in blocks else each for each in operations
    ]
    return [before, previous, *named, Operation("cell", "concatenate", tuple(blocks))]


def _cell_operations(prefix: str, inputs: tuple[str, str], steps: Sequence[Step]) -> Iterator[Operation]:
    states = list(inputs)
    for pair in zip(steps[::2], steps[1::2], strict=True):
        block = pair[0].block
        name = f"{prefix}.block{block}"
        added = []
        for step in pair:
            added.append(f"{name}.input{step.slot}")
            yield Operation(added[-1], step.operation, (states[step.source],), (operation_name(block, step.slot),))
        yield Operation(name, "sum", tuple(added), (inputs_name(block),))
        states.append(name)


def _resized(before: Sequence[int], after: int) -> str:
    strides = "+".join(map(str, before))
    return f"stride {strides} to {after}" if tuple(before) != (after,) else f"stride {after}"
