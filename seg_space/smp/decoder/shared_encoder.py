"""The encoder of a supernet, which may be run with several strides of its last feature map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from torch import Tensor, nn

from seg_space.smp.decoder.encoder import Encoder
from seg_space.smp.decoder.sizes import EncoderSizes


class SharedEncoder(nn.Module):
    """One encoder, with a form for each stride of its last map; they share weights, and each has its own statistics.

    Args:
        sizes: of the encoder.
        in_channels: of images.
        strides: that the last map may have.
    """

    def __init__(self, sizes: EncoderSizes, in_channels: int, strides: Sequence[int]) -> None:
        super().__init__()
        self.forms = nn.ModuleDict(
            {str(stride): Encoder(sizes.name, in_channels, stride, sizes.weights, sizes.frozen) for stride in strides}
        )
        first, *others = self.forms.values()
        for other in others:
            other.load_state_dict(first.state_dict())
        self._tie()

    def forward(self, images: Tensor, stride: int) -> dict[int, Tensor]:
        """The maps, by the strides that they have without dilation."""
        maps: dict[int, Tensor] = self.forms[str(stride)](images)
        return maps

    def _tie(self) -> None:
        first, *others = self.forms.values()
        for name, weight in first.named_parameters():
            parent, _, own = name.rpartition(".")
            for other in others:
                other.get_submodule(parent).register_parameter(own, weight)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> SharedEncoder:
        # A move to another type of device may make other parameters, each form's its own.
        cast(Any, super())._apply(fn, recurse)
        self._tie()
        return self
