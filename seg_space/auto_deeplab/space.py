"""Auto-DeepLab's hierarchical search space: a cell, and a path of resolutions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.spaces.operation import Operation
from automl_plugins.spaces.task import Level, Task
from automl_plugins.supernets.gates import Closed
from automl_plugins.supernets.rules import strongest_inputs
from automl_plugins.supernets.supernet import SupernetSpace, TopologyTerms
from automl_plugins.system.nearest import did_you_mean
from seg_space.auto_deeplab.arrows import MultiPath, SinglePath
from seg_space.auto_deeplab.cell import (
    GATE_OPTIONS,
    IDENTITY,
    NONE,
    OPERATIONS,
    POOLS,
    Step,
    input_options,
    number_of_cells,
    states_before,
)
from seg_space.auto_deeplab.drawing import draw_cell, draw_nodes, draw_path
from seg_space.auto_deeplab.frame import HEADS
from seg_space.auto_deeplab.mixed_cell import gate_name
from seg_space.auto_deeplab.multi_path_network import MultiPathNetwork
from seg_space.auto_deeplab.network import AutoDeepLabNetwork
from seg_space.auto_deeplab.operation_graph import inputs_name, list_cell, list_operations, operation_name
from seg_space.auto_deeplab.supernet import AutoDeepLabSupernet
from seg_space.auto_deeplab.topology_terms import topology_terms
from seg_space.auto_deeplab.trellis import Node, Trellis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SLOTS = (0, 1)


MOST_LAYERS = 100
"""The most layers, and blocks of a cell: a mistyped number must not end in millions of choices."""


class AutoDeepLabSpace(SupernetSpace):
    """The space of Auto-DeepLab (Liu, Chen, Schroff, Adam, Hua, Yuille and Fei-Fei 2019, arXiv 1901.02985).

    A cell, the same in all layers, has blocks: each adds two operations on two different states out of the
    outputs of the two layers before and of the earlier blocks. A network has a stem, then layers, each at one
    of four resolutions; from layer to layer the stride halves, stays or doubles.

    An architecture says which states each block reads (`cell.block1.inputs`) and with which
    operations (`cell.block1.input0.operation`), and for each layer which stride follows the one before
    (`layer3.after8`: the stride of layer 3 where that of layer 2 is 8). The supernet has gates for every operation
    from every state, with `none` beside them (`cell.block1.from0.operation`), and for every arrow between
    layers (`layer3.after8`): a softmax over a choice is then the paper's normalisation over what leaves a node.
    A block keeps the two states whose best operation other than `none` scores highest; the path is the
    most probable one (section 3.3).

    The same architecture in a space with other filters, stem and head is how what was found is
    retrained: the paper searches with the defaults, and retrains with 20, 32 or 48 filters,
    `stem=(64, 64, 128)`, `head="deeplab"` and `drop_path`.

    With `multi_path`, layers may have several resolutions at a time, as in DiNTS (He, Yang, Roth, Zhao and Xu
    2021, arXiv 2103.15954): several strides may follow one (`layer3.after8` is `8+16`), and every arrow has a gate of
    its own, `off` or `on` (`layer3.after8.to16`). See `arrows.MultiPath` for what gates weigh, and
    `topology.best_topology` for what is decoded. Every architecture of the space of single paths is one of this space,
    too, with the same network. Where we depart from DiNTS: all cells have the same operations, as in Auto-DeepLab, and
    layers begin at one resolution.

    Where we depart from the paper: see `supernet.AutoDeepLabSupernet` for the second input of a cell. Pooling is
    followed by batch normalisation, as in DARTS's supernet, in the networks too.

    Args:
        layers: how many follow the stem.
        blocks: of the cell.
        filters: a block has `filters * stride / stem_stride` channels.
        stem: channels of its 3x3 convolutions. The first has stride 2, and so has the last where `stem_stride`
            is 4; where it is 1, none.
        stem_stride: the finest stride, 1, 2 or 4; there are four, each twice the one before. Small maps of dense
            regression need 1 or 2.
        head: `aspp`, as in the paper's search, or `deeplab`, as in its final networks.
        decoder_channels: of the head `deeplab`.
        drop_path: rate at which operations of the last layer are dropped at the end of training, less before; see
            `AutoDeepLabNetwork.schedule_drop_path`. The supernet drops nothing.
        merge_inputs: in the supernet, add the maps that come into a node before its cell, which is then run once;
            not what the paper does, unless only one map comes in. Networks with `multi_path` add them, too.
        multi_path: whether layers may have several resolutions at a time.
        checkpointing: the supernet computes each node again in the backward pass, instead of keeping what it computed:
            less memory, more time, the same gradients.
        max_parameters: networks with more trainable parameters are refused before they are built.

    Raises:
        ValueError: a number out of range, or an unknown head.
    """

    name: ClassVar[str] = "auto-deeplab"
    version: ClassVar[int] = 1
    levels: ClassVar[frozenset[Level]] = frozenset(("pixel",))
    parameter_free: ClassVar[frozenset[Value]] = frozenset((NONE, IDENTITY, *POOLS))

    def __init__(
        self,
        layers: int = 12,
        blocks: int = 5,
        filters: int = 8,
        stem: Sequence[int] = (32, 64),
        stem_stride: int = 4,
        head: Literal["aspp", "deeplab"] = "aspp",
        decoder_channels: int = 256,
        drop_path: float = 0.0,
        merge_inputs: bool = False,
        multi_path: bool = False,
        checkpointing: bool = False,
        max_parameters: int | None = None,
    ) -> None:
        stem = tuple(stem)
        for argument, value, least in (
            ("layers", layers, 1),
            ("blocks", blocks, 1),
            ("filters", filters, 1),
            ("decoder_channels", decoder_channels, 1),
            *((f"stem[{number}]", each, 1) for number, each in enumerate(stem)),
        ):
            if value < least:
                raise ValueError(f"{argument} is at least {least}; got {value}")
            if argument in ("layers", "blocks") and value > MOST_LAYERS:
                raise ValueError(f"{argument} is at most {MOST_LAYERS}; got {value}")
        if stem_stride not in (1, 2, 4):
            raise ValueError(f"stem_stride is 1, 2 or 4; got {stem_stride}")
        if len(stem) < (2 if stem_stride == 4 else 1):
            raise ValueError(f"stem has too few convolutions for a stride of {stem_stride}; got {stem}")
        if head not in HEADS:
            raise ValueError(f"there is no head {head!r}; {did_you_mean(head, HEADS)}")
        if not 0 <= drop_path < 1:
            raise ValueError(f"drop_path is at least 0 and less than 1; got {drop_path}")
        self.layers = layers
        self.blocks = blocks
        self.filters = filters
        self.stem = stem
        self.stem_stride = stem_stride
        self.head = head
        self.decoder_channels = decoder_channels
        self.drop_path = drop_path
        self.merge_inputs = merge_inputs
        self.checkpointing = checkpointing
        self.multi_path = multi_path
        self.trellis = Trellis(layers, stem_stride)
        self.arrows = MultiPath(self.trellis) if multi_path else SinglePath(self.trellis)
        """What architectures and gates say of what follows what."""
        self._gate_choices = (
            *(
                Choice(gate_name(block, state), GATE_OPTIONS)
                for block in range(blocks)
                for state in range(states_before(block))
            ),
            *self.arrows.gate_choices,
        )
        # Of each choice of the cell: the block, and which of its operations; None: its inputs.
        self._places: dict[str, tuple[int, int | None]] = {
            name: (block, slot)
            for block in range(blocks)
            for name, slot in (
                (inputs_name(block), None),
                *((operation_name(block, each), each) for each in _SLOTS),
            )
        }
        super().__init__([*self._cell_choices(), *self.arrows.choices], max_parameters)

    # Choices and what they mean.

    def _cell_choices(self) -> Iterator[Choice]:
        for block in range(self.blocks):
            yield Choice(inputs_name(block), input_options(block))
            for slot in _SLOTS:
                yield Choice(operation_name(block, slot), OPERATIONS)

    def arrow_name(self, layer: int, stride: int) -> str:
        """The choice of the stride of a layer, where that of the layer before is `stride`."""
        return self.arrows.name(layer, stride)

    def nodes(self, architecture: Architecture) -> tuple[Node, ...]:
        """What there is in each layer, layer by layer."""
        return self.trellis.open_nodes(self.arrows.targets(architecture))

    def path(self, architecture: Architecture) -> tuple[int, ...]:
        """The stride of each layer.

        Raises:
            ValueError: a layer has several.
        """
        strides: dict[int, int] = {}
        for node in self.nodes(architecture):
            if node.layer in strides:
                raise ValueError(
                    f"an architecture of a single path is needed here; layer {node.layer} of this one has the strides "
                    f"{strides[node.layer]} and {node.stride}"
                )
            strides[node.layer] = node.stride
        return tuple(strides.values())

    def steps(self, architecture: Architecture) -> list[Step]:
        """The operations of the cell, two for each block."""
        return [
            Step(block, slot, int(source), str(architecture[operation_name(block, slot)]))
            for block in range(self.blocks)
            for slot, source in enumerate(str(architecture[inputs_name(block)]).split("+"))
        ]

    @property
    def cells(self) -> int:
        """How many cells there are, exactly; `cell.paper_number_of_cells` counts as the paper does."""
        return number_of_cells(self.blocks)

    @property
    def paths(self) -> int:
        """How many paths there are, exactly: 75,025 for 12 layers; see `trellis.number_of_paths`.

        With `multi_path` it is how many topologies there are; see `topology.number_of_topologies`.
        """
        return self.arrows.count

    @property
    def size(self) -> int:
        """How many architectures there are, exactly."""
        return self.cells * self.paths

    # Channels.

    def state_channels(self, stride: int) -> int:
        """Of each state of a cell."""
        return self.filters * stride // self.stem_stride

    def node_channels(self, stride: int) -> int:
        """Of a layer's map, which is all blocks of its cell."""
        return self.blocks * self.state_channels(stride)

    def map_channels(self, layer: int, stride: int) -> int:
        """Of a layer's map; what is before the first layer is the stem's."""
        return self.node_channels(stride) if layer > 0 else self.stem[-1]

    # What a space says.

    def build(self, architecture: Architecture, task: Task) -> AutoDeepLabNetwork | MultiPathNetwork:
        nodes = self.nodes(architecture)
        kind = AutoDeepLabNetwork if len(nodes) == self.layers else MultiPathNetwork
        return kind(nodes, self.steps(architecture), task, self)

    def operations(self, architecture: Architecture) -> Sequence[Operation]:
        return list_operations(self, architecture)

    def drawing(self, architecture: Architecture) -> str:
        nodes, strides = self.nodes(architecture), self.trellis.strides
        several = len(nodes) > self.layers
        drawn = draw_nodes(nodes, strides) if several else draw_path(self.path(architecture), strides)
        return f"{drawn}\n\n{draw_cell(self.steps(architecture))}"

    def figure(self, architecture: Architecture) -> Figure:
        from seg_space.auto_deeplab.figure import trellis_figure

        cell = list_cell(self.steps(architecture))
        return trellis_figure(self.trellis, self.nodes(architecture), cell, self.name)

    # What a space with a supernet says.

    def build_supernet(self, task: Task) -> AutoDeepLabSupernet:
        return AutoDeepLabSupernet(task, self)

    @property
    def gate_choices(self) -> tuple[Choice, ...]:
        return self._gate_choices

    def gate_values(self, architecture: Architecture) -> Mapping[str, Value]:
        cell = {gate_name(step.block, step.source): step.operation for step in self.steps(architecture)}
        return {**cell, **self.arrows.gate_values(architecture)}

    def open_options(self, choice: Choice, values: Mapping[str, Value], closed: Closed) -> Sequence[Value]:
        if choice.name not in self._places:
            return self.arrows.open_options(choice, closed)
        block, slot = self._places[choice.name]

        def operations(source: str) -> list[str]:
            without = closed.get(gate_name(block, int(source)), frozenset())
            return [operation for operation in OPERATIONS if operation not in without]

        if slot is not None:
            return operations(str(values[inputs_name(block)]).split("+")[slot])
        return [option for option in choice.options if all(map(operations, str(option).split("+")))]

    def decode(self, scores: Mapping[str, Tensor]) -> Architecture:
        """The architecture that scores stand for; that of an architecture's own gates is itself.

        Args:
            scores: for every gate, `[num_options]`; higher is better, minus infinity: closed. Those of open arrows are
                not negative; a choice's are divided by their sum, and what has the largest product of shares is
                decoded: of the arrows of a path, or with `multi_path` of all arrows being on or off.

        Raises:
            ValueError: an arrow's score is negative or not a number.
        """
        values: dict[str, Value] = {}
        for block in range(self.blocks):
            # Without the first option, which is `none`.
            rows = torch.stack([scores[gate_name(block, state)][1:] for state in range(states_before(block))])
            kept = strongest_inputs(rows, len(_SLOTS))
            values[inputs_name(block)] = "+".join(str(state) for state, _ in kept)
            for slot, (_, operation) in enumerate(kept):
                values[operation_name(block, slot)] = OPERATIONS[operation]
        values |= self.arrows.decode(scores)
        return self.architecture(values)

    def topology_terms(self, gates: Mapping[str, Tensor]) -> TopologyTerms | None:
        """What a search of several paths may add to its loss; None without `multi_path`.

        Args:
            gates: the probabilities of each gate's options, `[num_options]`.
        """
        return topology_terms(self, self.arrows, gates) if isinstance(self.arrows, MultiPath) else None
