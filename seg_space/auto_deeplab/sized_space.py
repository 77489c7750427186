"""Auto-DeepLab's space with the filters and the stem's stride as choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.calls import CallReader
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.spaces.operation import Operation
from automl_plugins.spaces.task import Level, Task
from automl_plugins.supernets import rules
from automl_plugins.supernets.gates import Closed
from automl_plugins.supernets.space import SupernetSpace
from seg_space.auto_deeplab.multi_path_network import MultiPathNetwork
from seg_space.auto_deeplab.network import AutoDeepLabNetwork
from seg_space.auto_deeplab.size_choices import SizeChoices
from seg_space.auto_deeplab.sized_supernet import SizedSupernet
from seg_space.auto_deeplab.sizes import Head
from seg_space.auto_deeplab.space import AutoDeepLabSpace
from seg_space.calls import ImageReader

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class AutoDeepLabSizesSpace(SupernetSpace):
    """`AutoDeepLabSpace` with the filters and the stem's stride as choices: fine and narrow, or coarse and wide.

    Strides in the names and values of edges count from the stem's (`layer3.after8`: eight times the stem's stride), so
    that all sizes have the same choices. `fixed` gives the space of an architecture's sizes, with the architecture in
    it. Limits (`within`) leave out sizes that no network within them has. See `SizedSupernet` for what a mixture costs.

    Args:
        filters: to choose from.
        stem_stride: to choose from, of 1, 2 and 4.
        layers: see `AutoDeepLabSpace`, as the others.
        blocks: of the cell.
        stem: channels of its convolutions, for every stride.
        head: or heads, to choose from.
        decoder_channels: of the heads but `aspp`.
        drop_path: at the end of training.
        merge_inputs: in the supernet.
        multi_path: whether layers may have several resolutions at a time.
        checkpointing: in the supernet.
        max_parameters: networks with more trainable parameters are refused before they are built.

    Raises:
        ValueError: a number out of range or twice, or an unknown head.
    """

    name: ClassVar[str] = "auto-deeplab-sizes"
    version: ClassVar[int] = 1
    levels: ClassVar[frozenset[Level]] = AutoDeepLabSpace.levels
    call_reader: ClassVar[CallReader | None] = ImageReader()
    exported_input: ClassVar[str | None] = AutoDeepLabSpace.exported_input
    parameter_free: ClassVar[frozenset[Value]] = AutoDeepLabSpace.parameter_free
    identities: ClassVar[frozenset[Value]] = AutoDeepLabSpace.identities

    def __init__(
        self,
        filters: tuple[int, ...] = (4, 8, 16),
        stem_stride: tuple[int, ...] = (2, 4),
        layers: int = 12,
        blocks: int = 5,
        stem: Sequence[int] = (32, 64),
        head: Head | tuple[Head, ...] = "unet",
        decoder_channels: int = 64,
        drop_path: float = 0.0,
        merge_inputs: bool = False,
        multi_path: bool = False,
        checkpointing: bool = False,
        max_parameters: int | None = None,
    ) -> None:
        self.filters, self.stem_stride, self.layers, self.blocks = tuple(filters), tuple(stem_stride), layers, blocks
        self.stem, self.head, self.decoder_channels, self.drop_path = tuple(stem), head, decoder_channels, drop_path
        self.merge_inputs, self.multi_path, self.checkpointing = merge_inputs, multi_path, checkpointing
        others = {
            "layers": layers, "blocks": blocks, "stem": self.stem, "head": head, "decoder_channels": decoder_channels,
            "drop_path": drop_path, "merge_inputs": merge_inputs, "multi_path": multi_path,
            "checkpointing": checkpointing,
        }  # fmt: skip
        self.sizes = SizeChoices(self.filters, self.stem_stride, others)
        super().__init__([*self.sizes.choices, *self.sizes.relative.choices], max_parameters)

    def fixed(self, architecture: Architecture) -> tuple[AutoDeepLabSpace, Architecture]:
        """The space of an architecture's sizes, and the architecture in it, with the same network.

        Raises:
            ValueError: the architecture is not of this space.
        """
        self.validate(architecture)
        return self.sizes.spaces[self.sizes.pair(architecture)], self.sizes.fixed(architecture)

    @property
    def size(self) -> int:
        whole = self.whole is self
        return len(self.filters) * len(self.stem_stride) * self.sizes.relative.size if whole else super().size

    # A space.

    def build(self, architecture: Architecture, task: Task) -> AutoDeepLabNetwork | MultiPathNetwork:
        space, fixed = self.fixed(architecture)
        return space.build(fixed, task)

    def options_for(self, choice: Choice, task: Task) -> Sequence[Value]:
        return self.sizes.relative.options_for(choice, task)

    def operations(self, architecture: Architecture) -> Sequence[Operation]:
        space, fixed = self.fixed(architecture)
        names = self.sizes.relative_names(self.sizes.pair(architecture))
        stem, *others = (
            operation._replace(choices=tuple(names[choice] for choice in operation.choices))
            for operation in space.operations(fixed)
        )
        sizes = tuple(choice.name for choice in self.sizes.choices)
        return [stem._replace(label=f"stem, stride {space.stem_stride}", choices=sizes), *others]

    def drawing(self, architecture: Architecture) -> str:
        space, fixed = self.fixed(architecture)
        return f"filters {space.filters}, stem of stride {space.stem_stride}\n\n{space.drawing(fixed)}"

    def figure(self, architecture: Architecture) -> Figure:
        space, fixed = self.fixed(architecture)
        return space.figure(fixed)

    # A space with a supernet.

    def build_supernet(self, task: Task) -> SizedSupernet:
        return SizedSupernet(task, self.sizes)

    def build_partial_supernet(self, task: Task, partial_channels: int) -> SizedSupernet:
        return SizedSupernet(task, self.sizes, partial_channels=partial_channels)

    @property
    def gate_choices(self) -> tuple[Choice, ...]:
        return (*self.sizes.choices, *self.sizes.relative.gate_choices)

    @property
    def gate_groups(self) -> tuple[tuple[str, ...], ...]:
        return self.sizes.relative.gate_groups

    def gate_values(self, architecture: Architecture) -> Mapping[str, Value]:
        own = {choice.name: architecture[choice.name] for choice in self.sizes.choices}
        return {**own, **self.sizes.relative.gate_values(self.sizes.inner(architecture))}

    def open_options(self, choice: Choice, values: Mapping[str, Value], closed: Closed) -> Sequence[Value]:
        own = {each.name for each in self.sizes.choices}
        if choice.name in own:
            return super().open_options(choice, values, closed)
        return self.sizes.relative.open_options(choice, values, closed)

    def decode(self, scores: Mapping[str, Tensor]) -> Architecture:
        """The architecture that scores stand for: the sizes that score highest; see `AutoDeepLabSpace.decode`."""
        own = rules.argmax(self.sizes.choices, scores)
        inner = self.sizes.relative.decode({name: score for name, score in scores.items() if name not in own})
        return self.architecture({**own, **inner})
