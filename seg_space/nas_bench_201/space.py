"""NAS-Bench-201's space: a cell of six operations, repeated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.calls import CallReader
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.spaces.operation import Operation
from automl_plugins.spaces.task import Level, Task
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.system.argument_types import check_types
from seg_space.calls import ImageReader
from seg_space.nas_bench_201.cell import EDGES, NAMES, NONE, OPERATIONS, POOL, SKIP, choice_name
from seg_space.nas_bench_201.names import digits_of, text_of, values_of
from seg_space.nas_bench_201.network import NASBench201Network, NASBench201Supernet
from seg_space.nas_bench_201.skeleton import Sizes

_REFERENCES = {"resnet": "303101", "all-conv3x3": "333333"}


class NASBench201Space(SupernetSpace):
    """The space of NAS-Bench-201 (Dong and Yang, ICLR 2020, arXiv 2001.00326): 15,625 cells.

    A cell has four nodes and six edges with an operation each: none, skip, a convolution of 1x1 or 3x3 (rectified
    before, normalised after), or average pooling. A node is the sum of what its edges give. Networks have a stem, three
    stages of the same cell with residual blocks of stride 2 between them, and a classifier.

    Its architectures are those of the table `automl_plugins.tables.nas_bench_201`, so that what is found with built
    networks is looked up there: `table.row(architecture)`. The cells of TransNAS-Bench-101's micro space (Duan et al.,
    CVPR 2021) are those without pooling: `values_of` and `digits` have their names, too.

    Pixel-level tasks have the same cells and a decoder behind them that reads the last map alone, as
    TransNAS-Bench-101's does; bilinear interpolation and a convolution of 3x3 in place of its transposed convolutions,
    and NAS-Bench-201's skeleton, are ours.

    Departure from the benchmark: an operation that no path from the cell's input to its output passes is left out of
    networks and not run in the supernet. There it is trained on zeros, or for nobody.

    Args:
        cells: of a stage.
        channels: of the first stage.
        stem_stride: the finest stride, 1, 2 or 4; 1 is the benchmark's, for images of 32 pixels.
        max_parameters: networks with more trainable parameters are refused before they are built.

    Raises:
        ValueError: a number out of range.
    """

    name: ClassVar[str] = "nas-bench-201"
    version: ClassVar[int] = 1
    levels: ClassVar[frozenset[Level]] = frozenset(("image", "pixel"))
    call_reader: ClassVar[CallReader | None] = ImageReader()
    exported_input: ClassVar[str | None] = "images"
    parameter_free: ClassVar[frozenset[Value]] = frozenset((NONE, SKIP, POOL))
    identities: ClassVar[frozenset[Value]] = frozenset((SKIP,))

    def __init__(
        self, cells: int = 5, channels: int = 16, stem_stride: int = 1, max_parameters: int | None = None
    ) -> None:
        check_types(NASBench201Space.__init__, locals())
        self.sizes = Sizes(cells, channels, stem_stride)
        # Under the names of the arguments, too, by which studies compare spaces.
        self.cells, self.channels, self.stem_stride = cells, channels, stem_stride
        super().__init__([Choice(choice_name(edge), OPERATIONS) for edge in NAMES], max_parameters)

    # The names that others have for architectures.

    def named(self, name: str) -> Architecture:
        """The architecture of a cell's digits in tables (`303101`), or of the benchmark's text.

        Raises:
            ValueError: see `names.values_of`.
        """
        return self.architecture(values_of(name))

    def digits(self, architecture: Architecture) -> str:
        """The digits by which tables have a valid architecture."""
        return digits_of(architecture)

    def drawing(self, architecture: Architecture) -> str:
        """The cell in the benchmark's own text, such as `|nor_conv_3x3~0|+|none~0|skip_connect~1|+...`."""
        return text_of(architecture)

    # A space.

    def build(self, architecture: Architecture, task: Task) -> NASBench201Network:
        operations = {edge: str(architecture[choice_name(edge)]) for edge in NAMES}
        return NASBench201Network(operations, task, self.sizes)

    def build_supernet(self, task: Task) -> NASBench201Supernet:
        return NASBench201Supernet(self.whole.choices, task, self.sizes)

    def references(self, task: Task) -> dict[str, Architecture]:
        """The cell of a residual network, and that of 3x3 convolutions alone, as its authors name them."""
        return {name: self.whole.named(digits) for name, digits in _REFERENCES.items()}

    def operations(self, architecture: Architecture) -> Sequence[Operation]:
        into: dict[int, tuple[str, ...]] = {0: ("input",)}
        listed = [Operation("input", "input")]
        for edge, (source, target) in zip(NAMES, EDGES, strict=True):
            choice = choice_name(edge)
            listed.append(Operation(edge, str(architecture[choice]), into[source], (choice,)))
            into[target] = (*into.get(target, ()), edge)
        return [*listed, Operation("output", "output", into[3])]
