"""The networks of `AutoDeepLabSpace` as plain source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from automl_plugins.spaces.plain_source import PlainSource
from automl_plugins.spaces.source_text import call, class_text, listed, module_list
from automl_plugins.spaces.task import Task
from seg_space.auto_deeplab import plain
from seg_space.auto_deeplab.cell import IDENTITY, Step
from seg_space.auto_deeplab.sizes import Head, Sizes
from seg_space.auto_deeplab.stem import map_strides, stem_strides
from seg_space.auto_deeplab.trellis import Node

_MADE = {
    "separable_3x3": "separable_twice(channels, 3)",
    "separable_5x5": "separable_twice(channels, 5)",
    "atrous_3x3": "separable(channels, 3, dilation=2)",
    "atrous_5x5": "separable(channels, 5, dilation=2)",
    "average_pool": "average_pool(channels)",
    "max_pool": "max_pool(channels)",
}
_STAGE = {"depthwise": "1", "pointwise": "2", "norm": "3"}
_RATE = 24


def auto_deeplab_source(
    nodes: Sequence[Node], steps: Sequence[Step], head: Head, task: Task, sizes: Sizes
) -> PlainSource:
    """The source of an `AutoDeepLabNetwork` or a `MultiPathNetwork`.

    Args:
        nodes: of each layer, layer by layer.
        steps: of the cell.
        head: of pixel-level tasks.
        task: what the network fits.
        sizes: the channels, stem and head.
    """
    several = len(nodes) > sizes.layers
    inputs = (task.in_channels, *sizes.stem)
    strides = stem_strides(len(sizes.stem), sizes.stem_stride)
    stem = [
        f"rectified({before}, {after}, 3, stride={stride})"
        for before, after, stride in zip(inputs, sizes.stem, strides, strict=False)
    ]
    names: dict[str, str] = {}
    layers, forward = (_of_several if several else _of_one)(nodes, sizes)
    for place, node in enumerate(nodes):
        names |= _layer_names(place, node, steps, sizes) if several else _single_names(place, steps)
    last = [node.stride for node in nodes if node.layer == sizes.layers]
    made, ending = _head(head, sorted({node.stride for node in nodes}), last, task, sizes)
    init = [module_list("stem", stem), layers, made]
    if "(stem, " in ending:
        maps = list(map_strides(len(sizes.stem), sizes.stem_stride))
        first = ["x, stem = images, {}", f"for stride, convolution in zip({maps}, self.stem, strict=True):"]
        first += ["    x = stem[stride] = convolution(x)"]
    else:
        first = ["x = images", "for convolution in self.stem:", "    x = convolution(x)"]
    if "visited" not in ending:
        forward = [line for line in forward if "visited" not in line]
    if "last" not in ending:
        forward = [line for line in forward if not line.startswith("last = ")]
    owner = "images" if task.level == "image" else "pixels"
    told = f"A stem, {sizes.layers} layers of cells and a head: from images to outputs of {owner}."
    network = class_text("Network", told, init, [*first, *forward, f"return {ending}"], ["images: Tensor"])
    texts = [cell_text(steps), _node(sizes.merge_inputs) if several else _layer(), network]
    return PlainSource("\n\n\n".join(texts), (plain,), names)


def cell_text(steps: Sequence[Step]) -> str:
    """The class of a cell, made with the channels of its states."""
    init = [f"self.{_name(step)} = {_MADE[step.operation]}" for step in steps if step.operation != IDENTITY]
    forward = []
    blocks = len(steps) // 2
    states = ["before", "previous", *(f"state{block + 1}" for block in range(blocks))]
    for block in range(blocks):
        terms = []
        for step in steps[2 * block : 2 * block + 2]:
            source = states[step.source]
            terms.append(source if step.operation == IDENTITY else f"self.{_name(step)}({source})")
        forward.append(f"{states[block + 2]} = {' + '.join(terms)}")
    forward.append(f"return torch.cat([{', '.join(states[2:])}], dim=1)")
    told = f"{blocks} states, each the sum of two operations on earlier ones, side by side."
    return class_text("Cell", told, init, forward, ["before: Tensor", "previous: Tensor"], ["channels: int"])


def _name(step: Step) -> str:
    return f"{'left' if step.slot == 0 else 'right'}{step.block + 1}"


def cell_names(ours: str, theirs: str, steps: Sequence[Step]) -> dict[str, str]:
    """The names of a cell's weights, see `automl_plugins.spaces.plain_source.PlainSource`."""
    names = {}
    for step in steps:
        prefix, new = f"{ours}.operations.{step.key}", f"{theirs}.{_name(step)}"
        names[f"{prefix}.norm"] = f"{new}.1"
        for stage in range(2):
            inner = f"{new}.{stage}" if step.operation.startswith("separable") else new
            names |= {f"{prefix}.stages.{stage}.{part}": f"{inner}.{place}" for part, place in _STAGE.items()}
    return names


def _layer() -> str:
    init = ["self.before = Resize(before, channels)", "self.previous = Resize(previous, channels, halves)"]
    init.append("self.cell = Cell(channels)")
    forward = ["return self.cell(self.before(before, size), self.previous(previous, size))"]
    parameters = ["before: Tensor", "previous: Tensor", "size: tuple[int, int]"]
    arguments = ["before: int", "previous: int", "channels: int", "halves: bool = False"]
    return class_text("Layer", "A cell whose two inputs are brought to its size.", init, forward, parameters, arguments)


def _of_one(nodes: Sequence[Node], sizes: Sizes) -> tuple[str, list[str]]:
    """The line that makes the layers of a single path, and those that run them."""
    made, channels = [], [sizes.stem[-1], sizes.stem[-1]]
    for node in nodes:
        halves = ", halves=True" if node.incoming[0] < node.stride else ""
        made.append(f"Layer({channels[-2]}, {channels[-1]}, {sizes.state_channels(node.stride)}{halves})")
        channels.append(sizes.node_channels(node.stride))
    forward = [
        "first = before = previous = x",
        "visited = {}",
        f"for stride, layer in zip({[node.stride for node in nodes]}, self.layers, strict=True):",
        f"    size = size_at(first, stride // {sizes.stem_stride})",
        "    before, previous = previous, layer(before, previous, size)",
        "    visited[stride] = previous",
        f"last = {{{nodes[-1].stride}: previous}}",
    ]
    return module_list("layers", made), forward


def _single_names(place: int, steps: Sequence[Step]) -> dict[str, str]:
    layer = f"layers.{place}"
    names = {f"{layer}.resize_before": f"{layer}.before", f"{layer}.resize_previous": f"{layer}.previous"}
    return names | cell_names(f"{layer}.cell", f"{layer}.cell", steps)


def _node(merges: bool) -> str:
    init = [
        "self.stride = stride",
        "self.before = nn.ModuleDict({str(each): Resize(before[each], channels) for each in before})",
        "self.previous = nn.ModuleDict()",
        "for each, inputs in previous.items():",
        "            self.previous[str(each)] = Resize(inputs, channels, halves=each < stride)",
        f"self.cells = nn.ModuleList(Cell(channels) for _ in {'range(1)' if merges else 'previous'})",
    ]
    forward = [
        "first = torch.stack([resize(older[int(each)], size) for each, resize in self.before.items()]).sum(dim=0)",
        "seconds = [resize(newer[int(each)], size) for each, resize in self.previous.items()]",
    ]
    if merges:
        forward.append("return self.cells[0](first, torch.stack(seconds).sum(dim=0))")
    else:
        forward.append("outputs = [cell(first, each) for cell, each in zip(self.cells, seconds, strict=True)]")
        forward.append("return torch.stack(outputs).sum(dim=0)")
    parameters = ["older: dict[int, Tensor]", "newer: dict[int, Tensor]", "size: tuple[int, int]"]
    arguments = ["stride: int", "channels: int", "before: dict[int, int]", "previous: dict[int, int]"]
    told = "Cells at one stride, on what comes from the strides of the layer before and of the one before that, summed."
    return class_text("Node", told, init, forward, parameters, arguments)


def _of_several(nodes: Sequence[Node], sizes: Sizes) -> tuple[str, list[str]]:
    """The lines that make the layers of several paths, and those that run them."""
    lines = ["        self.layers = nn.ModuleList()"]
    for layer in range(1, sizes.layers + 1):
        of_layer = []
        for node in nodes:
            if node.layer == layer:
                before = {each: sizes.map_channels(layer - 2, each) for each in node.before}
                previous = {each: sizes.map_channels(layer - 1, each) for each in node.incoming}
                channels = sizes.state_channels(node.stride)
                of_layer.append(f"Node({node.stride}, {channels}, {before}, {previous})")
        lines.append(
            f"        nodes = [{of_layer[0]}]" if len(of_layer) == 1 else listed("nodes = [", of_layer, "]", 8)
        )
        lines.append("        self.layers.append(nn.ModuleDict({str(node.stride): node for node in nodes}))")
    forward = [
        "first = x",
        f"older = newer = {{{sizes.stem_stride}: first}}",
        "visited = {}",
        "for layer in self.layers:",
        f"    places = {{int(stride): size_at(first, int(stride) // {sizes.stem_stride}) for stride in layer}}",
        "    new = {each: layer[str(each)](older, newer, size) for each, size in places.items()}",
        "    older, newer = newer, new",
        "    visited |= new",
        "last = newer",
    ]
    return "\n".join(lines), forward


def _layer_names(place: int, node: Node, steps: Sequence[Step], sizes: Sizes) -> dict[str, str]:
    ours, theirs = f"nodes.{place}", f"layers.{node.layer - 1}.{node.stride}"
    names = {f"{ours}.resize_before": f"{theirs}.before", f"{ours}.resize_previous": f"{theirs}.previous"}
    for cell in range(1 if sizes.merge_inputs else len(node.incoming)):
        names |= cell_names(f"{ours}.cells.{cell}", f"{theirs}.cells.{cell}", steps)
    return names


def _head(head: Head, visited: Sequence[int], last: Sequence[int], task: Task, sizes: Sizes) -> tuple[str, str]:
    """The line that makes a head, and the call of it."""
    outputs, width, size = task.out_channels, sizes.decoder_channels, "images.shape[2:]"
    of_last = {stride: sizes.node_channels(stride) for stride in last}
    rates = {stride: _RATE * sizes.stem_stride // stride for stride in last}
    of_visited = {stride: sizes.node_channels(stride) for stride in visited}
    stem = sizes.stem_channels
    if task.level == "image":
        return f"self.head = PooledHead({of_last}, {outputs})", "self.head(last)"
    if head == "aspp":
        return f"self.head = ASPPHead({of_last}, {rates}, {outputs})", f"self.head(last, {size})"
    if head == "deeplab":
        made = f"self.head = DeepLabHead({of_last}, {rates}, {sizes.stem[-1]}, {width}, {outputs})"
        return made, f"self.head(first, last, {size})"
    if head == "fpn":
        first = {sizes.stem_stride: sizes.stem[-1]}
        return f"self.head = FPNHead({of_visited}, {first}, {width}, {outputs})", f"self.head(stem, visited, {size})"
    made = call(
        "self.head = UNetHead(", [str(of_visited), str(stem), str(_widths(visited, sizes)), str(outputs)], ")", 8
    )
    return made, f"self.head(stem, visited, {size})"


def _widths(visited: Sequence[int], sizes: Sizes) -> Mapping[int, tuple[int, int]]:
    """The channels of each stride of a `UNetHead`, before its refinement and after it."""
    every = sorted({*visited, *sizes.stem_channels})
    fine = max(1, sizes.decoder_channels // 2)
    width = {stride: sizes.decoder_channels if stride >= sizes.stem_stride else fine for stride in every}
    return {stride: (width[stride], width[finer]) for finer, stride in zip((every[0], *every), every, strict=False)}
