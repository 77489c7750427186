"""Auto-DeepLab's hierarchical search space: a cell, and a path of resolutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.calls import CallReader
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.spaces.operation import Operation
from automl_plugins.spaces.task import Level, Task
from automl_plugins.supernets import rules
from automl_plugins.supernets.gates import Closed
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.supernets.topology import TopologyTerms
from automl_plugins.system.argument_types import check_types
from automl_plugins.system.to_be_loaded import is_to_be_loaded
from seg_space.auto_deeplab.backbone_weights import load_backbone
from seg_space.auto_deeplab.cell import IDENTITY, NONE, POOLS, Step
from seg_space.auto_deeplab.cell_choices import CellChoices
from seg_space.auto_deeplab.drawing import draw_cell, draw_nodes, draw_path
from seg_space.auto_deeplab.edges import MultiPath, make_edges
from seg_space.auto_deeplab.layout import HEAD, cell_steps, head_choices, open_nodes, single_path
from seg_space.auto_deeplab.multi_path_network import MultiPathNetwork
from seg_space.auto_deeplab.network import AutoDeepLabNetwork
from seg_space.auto_deeplab.operation_graph import list_cell, list_operations
from seg_space.auto_deeplab.sizes import Head, Sizes
from seg_space.auto_deeplab.supernet import AutoDeepLabSupernet
from seg_space.auto_deeplab.topology_terms import topology_terms
from seg_space.auto_deeplab.trellis import Node
from seg_space.calls import ImageReader

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class AutoDeepLabSpace(SupernetSpace):
    """The space of Auto-DeepLab (Liu, Chen, Schroff, Adam, Hua, Yuille and Fei-Fei 2019, arXiv 1901.02985).

    A cell, the same in all layers, has blocks: each adds two operations on two different states out of the
    outputs of the two layers before and of the earlier blocks. A network has a stem, then layers, each at one
    of four resolutions; from layer to layer the stride halves, stays or doubles.

    An architecture names the states that each block reads (`cell.block1.inputs`) and the operations on them
    (`cell.block1.input0.operation`), and for each layer the stride that follows the one before
    (`layer3.after8`: the stride of layer 3 where that of layer 2 is 8). The supernet has gates for every operation
    from every state, with `none` beside them (`cell.block1.from0.operation`), and for every edge between
    layers (`layer3.after8`): a softmax over a choice is then the paper's normalisation over what leaves a node.
    A block keeps the two states whose best operation other than `none` scores highest; the path is the
    most probable one (section 3.3).

    The same architecture in a space with other filters, stem and head is how what was found is
    retrained: the paper searches with `head="aspp"`, and retrains with 20, 32 or 48 filters,
    `stem=(64, 64, 128)`, `head="deeplab"`, `decoder_channels=256` and `drop_path`.

    With `multi_path`, layers may have several resolutions at a time, as in DiNTS (He, Yang, Roth, Zhao and Xu
    2021, arXiv 2103.15954): several strides may follow one (`layer3.after8` is `8+16`), and every edge has a gate of
    its own, `off` or `on` (`layer3.after8.to16`). `edges.MultiPath` says how gates weigh, and
    `topology.best_topology` how they are decoded. Every architecture of the space of single paths is one of this space,
    too, with the same network. Departure from DiNTS: all cells have the same operations, as in Auto-DeepLab, and
    layers begin at one resolution.

    Departures from the paper: see `supernet.AutoDeepLabSupernet` for the second input of a cell. Pooling is
    followed by batch normalisation, as in DARTS's supernet, in the networks too.

    Departure from the paper: the head `unet`, since ASPP of the last layer alone, enlarged, gives no finer detail than
    that layer has; `benchmarks/README.md` has what random networks reach with either. The heads `unet` and
    `fpn` read the last feature map of every stride that the path has visited; the supernet gives them what that map is
    expected to be (`maps.expected_visits`). Several heads are a choice of the space (`head`), and a gate of the
    supernet, which runs those that are open.

    Image-level tasks have the same networks with `heads.PooledHead` in place of `head`.

    Args:
        layers: those that follow the stem.
        blocks: of the cell.
        filters: a block has `filters * stride / stem_stride` channels.
        stem: channels of its 3x3 convolutions. The first has stride 2, and so has the last where `stem_stride`
            is 4; where it is 1, none.
        stem_stride: the finest stride, 1, 2 or 4; there are four, each twice the one before. Small images of dense
            regression need 1 or 2.
        head: of pixel-level tasks: `unet`, `fpn`, `deeplab` (as in the paper's final networks), or `aspp` (as in its
            search); several of them are a choice.
        decoder_channels: of the heads but `aspp`.
        drop_path: rate at which operations of the last layer are dropped at the end of training, less before; see
            `AutoDeepLabNetwork.schedule_drop_path`. The supernet drops nothing.
        merge_inputs: in the supernet, add the feature maps that come into a node before its cell, which is then run
            once; the paper does so only where one comes in. Networks with `multi_path` add them, too.
        multi_path: whether layers may have several resolutions at a time.
        checkpointing: the supernet computes each node again in the backward pass, instead of keeping what it computed:
            less memory, more time, the same gradients.
        backbone_weights: a file with the weights of one architecture, which networks of it begin with: `network.pt` of
            a study, or a checkpoint. Only the stem and the layers are read, so that they may have been trained on
            another task, such as whole images' labels. See `backbone_weights.load_backbone` for what is refused.
        max_parameters: networks with more trainable parameters are refused before they are built.

    Raises:
        ValueError: a number out of range, or an unknown head.
    """

    name: ClassVar[str] = "auto-deeplab"
    version: ClassVar[int] = 2
    levels: ClassVar[frozenset[Level]] = frozenset(("image", "pixel"))
    call_reader: ClassVar[CallReader | None] = ImageReader()
    exported_input: ClassVar[str | None] = "images"
    parameter_free: ClassVar[frozenset[Value]] = frozenset((NONE, IDENTITY, *POOLS))
    identities: ClassVar[frozenset[Value]] = frozenset((IDENTITY,))

    def __init__(
        self,
        layers: int = 12,
        blocks: int = 5,
        filters: int = 8,
        stem: Sequence[int] = (32, 64),
        stem_stride: int = 4,
        head: Head | tuple[Head, ...] = "unet",
        decoder_channels: int = 64,
        drop_path: float = 0.0,
        merge_inputs: bool = False,
        multi_path: bool = False,
        checkpointing: bool = False,
        backbone_weights: str | None = None,
        max_parameters: int | None = None,
    ) -> None:
        check_types(AutoDeepLabSpace.__init__, locals())
        self.sizes = Sizes(
            layers, blocks, filters, tuple(stem), stem_stride, (head,) if isinstance(head, str) else tuple(head),
            decoder_channels, drop_path,
            merge_inputs, multi_path, checkpointing,
        )  # fmt: skip
        # Under the names of the arguments, too, by which studies compare spaces.
        self.layers, self.blocks, self.filters = layers, blocks, filters
        self.stem, self.stem_stride = self.sizes.stem, stem_stride
        self.head = head if isinstance(head, str) else self.sizes.heads
        self.decoder_channels, self.drop_path = decoder_channels, drop_path
        self.merge_inputs, self.multi_path, self.checkpointing = merge_inputs, multi_path, checkpointing
        self.backbone_weights = backbone_weights
        self.cell = CellChoices(blocks)
        self.trellis = self.sizes.trellis
        self.edges = make_edges(self.trellis, multi_path)
        heads = head_choices(self.sizes)
        self._gate_choices = (*self.cell.gate_choices, *self.edges.gate_choices, *heads)
        super().__init__([*self.cell.choices, *self.edges.choices, *heads], max_parameters)

    # Architectures and their numbers.

    def nodes(self, architecture: Architecture) -> tuple[Node, ...]:
        """The nodes of each layer, layer by layer."""
        return open_nodes(architecture, self.sizes)

    def path(self, architecture: Architecture) -> tuple[int, ...]:
        """The stride of each layer.

        Raises:
            ValueError: a layer has several.
        """
        return single_path(self.nodes(architecture))

    def steps(self, architecture: Architecture) -> list[Step]:
        """The operations of the cell, two for each block."""
        return cell_steps(architecture, self.sizes.blocks)

    @property
    def cells(self) -> int:
        """The number of cells, exactly; the paper counts many of them more than once (5.6e14 for 5 blocks)."""
        return self.cell.count

    @property
    def paths(self) -> int:
        """The number of paths, exactly: 75,025 for 12 layers; see `trellis.number_of_paths`.

        With `multi_path` it is the number of topologies; see `topology.number_of_topologies`.
        """
        return self.edges.count

    @property
    def size(self) -> int:
        return self.cells * self.paths * len(self.sizes.heads) if self.whole is self else super().size

    # A space.

    def options_for(self, choice: Choice, task: Task) -> Sequence[Value]:
        # Image-level tasks have a head of their own, so the choice of one means nothing there.
        return choice.options[:1] if choice.name == HEAD and task.level == "image" else choice.options

    def build(self, architecture: Architecture, task: Task) -> AutoDeepLabNetwork | MultiPathNetwork:
        several = len(self.nodes(architecture)) > self.sizes.layers
        return (MultiPathNetwork if several else AutoDeepLabNetwork)(architecture, task, self.sizes)

    def network(self, architecture: Architecture, task: Task) -> nn.Module:
        network = super().network(architecture, task)
        if self.backbone_weights is not None and not is_to_be_loaded():
            load_backbone(network, Path(self.backbone_weights).expanduser())
        return network

    def operations(self, architecture: Architecture) -> Sequence[Operation]:
        return list_operations(architecture, self.sizes)

    def drawing(self, architecture: Architecture) -> str:
        nodes, strides = self.nodes(architecture), self.trellis.strides
        several = len(nodes) > self.sizes.layers
        layers = draw_nodes(nodes, strides) if several else draw_path(single_path(nodes), strides)
        return f"{layers}\n\n{draw_cell(self.steps(architecture))}"

    def figure(self, architecture: Architecture) -> Figure:
        from seg_space.auto_deeplab.figure import trellis_figure

        cell = list_cell(self.steps(architecture))
        return trellis_figure(self.trellis, self.nodes(architecture), cell, self.name)

    # A space with a supernet.

    def build_supernet(self, task: Task) -> AutoDeepLabSupernet:
        return self.build_partial_supernet(task, 1)

    def build_partial_supernet(self, task: Task, partial_channels: int) -> AutoDeepLabSupernet:
        if self.backbone_weights is not None:
            raise ValueError(
                f"backbone_weights={self.backbone_weights!r} are those of one architecture, and a search by gradients "
                "trains all of them; leave them out of the search, and give them when what was found is trained"
            )
        return AutoDeepLabSupernet(task, self.sizes, partial_channels=partial_channels)

    @property
    def gate_choices(self) -> tuple[Choice, ...]:
        return self._gate_choices

    @property
    def gate_groups(self) -> tuple[tuple[str, ...], ...]:
        return self.cell.gate_groups

    def gate_values(self, architecture: Architecture) -> Mapping[str, Value]:
        head = {HEAD: architecture[HEAD]} if HEAD in architecture else {}
        return {**self.cell.gate_values(architecture), **self.edges.gate_values(architecture), **head}

    def open_options(self, choice: Choice, values: Mapping[str, Value], closed: Closed) -> Sequence[Value]:
        if choice in self.cell:
            return self.cell.open_options(choice, values, closed)
        if choice.name == HEAD:
            return super().open_options(choice, values, closed)
        return self.edges.open_options(choice, closed)

    def decode(self, scores: Mapping[str, Tensor]) -> Architecture:
        """The architecture that scores stand for; that of an architecture's own gates is itself.

        Args:
            scores: for every gate, `[num_options]`; higher is better, minus infinity: closed. Those of open edges are
                not negative; a choice's are divided by their sum, and what has the largest product of shares is
                decoded: of the edges of a path, or with `multi_path` of all edges being on or off.

        Raises:
            ValueError: an edge's score is negative or not a number.
        """
        heads = rules.argmax(head_choices(self.sizes), scores)
        return self.architecture({**self.cell.decode(scores), **self.edges.decode(scores), **heads})

    def topology_terms(self, gates: Mapping[str, Tensor]) -> TopologyTerms:
        """The terms that a search of several paths may add to its loss; see `SearchesTopology`.

        Args:
            gates: the probabilities of each gate's options, `[num_options]`.

        Raises:
            ValueError: without `multi_path`, connections are not independent of each other.
        """
        if not isinstance(self.edges, MultiPath):
            raise ValueError(
                f"this strategy searches connections that are independent of each other; the space {self.name!r} has "
                "none as it was made; make it with multi_path=True, or use another strategy"
            )
        return topology_terms(self.sizes, self.edges, gates)
