"""The sizes of Auto-DeepLab's networks and supernets, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from automl_plugins.system.nearest import did_you_mean
from seg_space.auto_deeplab.stem import map_strides
from seg_space.auto_deeplab.trellis import Trellis

Head = Literal["unet", "fpn", "deeplab", "aspp"]
HEADS: tuple[Head, ...] = ("unet", "fpn", "deeplab", "aspp")
"""The heads of networks whose outputs are pixels."""
MOST_LAYERS = 100
"""The most layers, and blocks of a cell: a mistyped number must not end in millions of choices."""


@dataclass(frozen=True)
class Sizes:
    """Everything that networks and supernets of one space have in common; `AutoDeepLabSpace` says what each one is.

    Raises:
        ValueError: a number out of range, or an unknown head.
    """

    layers: int = 12
    blocks: int = 5
    filters: int = 8
    stem: tuple[int, ...] = (32, 64)
    stem_stride: int = 4
    heads: tuple[Head, ...] = ("unet",)
    decoder_channels: int = 64
    drop_path: float = 0.0
    merge_inputs: bool = False
    multi_path: bool = False
    checkpointing: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "stem", tuple(self.stem))
        for name in ("layers", "blocks", "filters", "decoder_channels"):
            _check_at_least_one(name, getattr(self, name))
        for number, channels in enumerate(self.stem):
            _check_at_least_one(f"stem[{number}]", channels)
        for name in ("layers", "blocks"):
            if getattr(self, name) > MOST_LAYERS:
                raise ValueError(f"{name} is at most {MOST_LAYERS}; got {getattr(self, name)}")
        if self.stem_stride not in (1, 2, 4):
            raise ValueError(f"stem_stride is 1, 2 or 4; got {self.stem_stride}")
        if len(self.stem) < (2 if self.stem_stride == 4 else 1):
            raise ValueError(f"stem has too few convolutions for a stride of {self.stem_stride}; got {self.stem}")
        for head in self.heads:
            if head not in HEADS:
                raise ValueError(f"there is no head {head!r}; {did_you_mean(head, HEADS)}")
        if not self.heads or len(set(self.heads)) < len(self.heads):
            raise ValueError(f"head is one of {', '.join(HEADS)}, or several different ones; got {self.heads}")
        if not 0 <= self.drop_path < 1:
            raise ValueError(f"drop_path is at least 0 and less than 1; got {self.drop_path}")

    @property
    def trellis(self) -> Trellis:
        """The layers and resolutions."""
        return Trellis(self.layers, self.stem_stride)

    @property
    def stem_channels(self) -> dict[int, int]:
        """The channels of the stem's feature maps by their strides; of several of a stride, the last one's."""
        return dict(zip(map_strides(len(self.stem), self.stem_stride), self.stem, strict=True))

    def state_channels(self, stride: int) -> int:
        """The channels of each state of a cell at a stride."""
        return self.filters * stride // self.stem_stride

    def node_channels(self, stride: int) -> int:
        """The channels of a layer's feature map at a stride: those of all blocks of its cell."""
        return self.blocks * self.state_channels(stride)

    def map_channels(self, layer: int, stride: int) -> int:
        """The channels of a layer's feature map; before the first layer it is the stem's."""
        return self.node_channels(stride) if layer > 0 else self.stem[-1]


def _check_at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} is at least 1; got {value}")
