"""The operations of an architecture of Auto-DeepLab's space, in order of data flow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from automl_plugins.spaces.choice import Value
from automl_plugins.spaces.operation import Operation
from seg_space.auto_deeplab.cell import Step, inputs_name, operation_name
from seg_space.auto_deeplab.heads import READ_VISITED
from seg_space.auto_deeplab.layout import HEAD, cell_steps, edge_name, head_of, open_nodes
from seg_space.auto_deeplab.sizes import Sizes
from seg_space.auto_deeplab.trellis import Node


def list_operations(architecture: Mapping[str, Value], sizes: Sizes) -> list[Operation]:
    """The operations that `AutoDeepLabSpace.operations` gives."""
    operations = [Operation("stem", "stem")]
    nodes, steps = open_nodes(architecture, sizes), cell_steps(architecture, sizes.blocks)
    several = len(nodes) > sizes.layers
    names = {(layer, sizes.stem_stride): "stem" for layer in (-1, 0)}
    for node in nodes:
        name = f"layer{node.layer}.stride{node.stride}" if several else f"layer{node.layer}"
        operations += _node_operations(name, node, names, steps, sizes.merge_inputs)
        names[node.layer, node.stride] = name
    head = head_of(architecture, sizes)
    last = {node.stride: node for node in nodes if head in READ_VISITED or node.layer == sizes.layers}
    inputs = [names[node.layer, node.stride] for node in last.values()]
    if head != "aspp":
        inputs.append("stem")
    return [*operations, Operation("head", head, tuple(inputs), (HEAD,) if HEAD in architecture else ())]


def _node_operations(
    name: str, node: Node, names: Mapping[tuple[int, int], str], steps: Sequence[Step], merge_inputs: bool
) -> Iterator[Operation]:
    """The operations of one resolution of a layer.

    Args:
        name: of its feature map.
        node: its place and inputs.
        names: of the feature maps before, by layer and stride.
        steps: of its cells.
        merge_inputs: whether one cell reads the sum of all inputs.
    """
    before = f"{name}.before"
    edges = tuple(edge_name(node.layer, source) for source in node.incoming)
    sources = tuple(names[node.layer - 2, stride] for stride in node.before)
    yield Operation(before, _resized(node.before, node.stride), sources, edges)
    blocks: list[str] = []
    groups = [node.incoming] if merge_inputs else [(source,) for source in node.incoming]
    for group in groups:
        prefix = name if len(groups) == 1 else f"{name}.from{group[0]}"
        previous = f"{prefix}.previous"
        sources = tuple(names[node.layer - 1, stride] for stride in group)
        edges = tuple(edge_name(node.layer, source) for source in group)
        yield Operation(previous, _resized(group, node.stride), sources, edges)
        for operation in _cell_operations(prefix, (before, previous), steps):
            yield operation
            if operation.label == "sum":
                blocks.append(operation.name)
    yield Operation(name, f"stride {node.stride}", tuple(blocks))


def list_cell(steps: Sequence[Step]) -> list[Operation]:
    """The operations of a cell by itself, from its two inputs to its output."""
    before, previous = Operation("before", "layer before last"), Operation("previous", "last layer")
    operations = list(_cell_operations("cell", (before.name, previous.name), steps))
    blocks = [operation.name for operation in operations if operation.label == "sum"]
    named = [
        operation._replace(label=f"block {blocks.index(operation.name)}") if operation.name in blocks else operation
        for operation in operations
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
