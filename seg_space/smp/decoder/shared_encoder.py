"""The encoder of a supernet, which may be run with several strides of its last feature map."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from torch import Tensor, nn

from automl_plugins.system.to_be_loaded import to_be_loaded
from seg_space.smp.decoder.common_parts import common_parts, run_once
from seg_space.smp.decoder.encoder import Encoder
from seg_space.smp.decoder.sizes import EncoderSizes


class SharedEncoder(nn.Module):
    """One encoder, with a form for each stride of its last map.

    The parts that compute the same in all forms are one module of them all, with one set of batch statistics, and are
    run once a step. The stages that are dilated compute another map with each stride: they are run once for each that
    is asked for, with shared weights, and have statistics of their own.

    Args:
        sizes: of the encoder.
        in_channels: of images.
        strides: that the last map may have.
    """

    def __init__(self, sizes: EncoderSizes, in_channels: int, strides: Sequence[int]) -> None:
        super().__init__()
        arguments = sizes.weights, sizes.frozen
        first = Encoder(sizes.name, in_channels, strides[0], *arguments)
        with to_be_loaded():
            others = [Encoder(sizes.name, in_channels, stride, *arguments) for stride in strides[1:]]
        self.forms = nn.ModuleDict({str(stride): form for stride, form in zip(strides, (first, *others), strict=True)})
        common = [f"model.{name}" for name in common_parts(sizes.name, tuple(strides))] if others else []
        if first.normalisation is not None:
            common.append("normalisation")
        for other in others:
            other.load_state_dict(first.state_dict())
            for name in common:
                other.set_submodule(name, first.get_submodule(name))
        self._common = tuple(common)
        self._tie()

    def forward(self, images: Tensor, strides: Iterable[int]) -> dict[int, dict[int, Tensor]]:
        """For each stride of the last map that is asked for, the maps by the strides that they have without dilation.

        Args:
            images: `[batch, in_channels, height, width]`, both sides multiples of 32.
            strides: of the last map.
        """
        first = next(iter(self.forms.values()))
        with run_once(first.get_submodule(name) for name in self._common):
            return {stride: self.forms[str(stride)](images) for stride in strides}

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
