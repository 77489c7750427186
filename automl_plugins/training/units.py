"""The units between data as they are and the numbers that a network computes with."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class Units:
    """The units of images that a network takes normalised, and of targets that it has learned standardised.

    Args:
        image_mean: `[channels]`, taken off images; None: the network takes what it is given as it is.
        image_deviation: `[channels]`, that images are divided by then.
        target_mean: `[channels]`, added to outputs; None: outputs are what they are.
        target_scale: `[channels]`, that outputs are multiplied by before.
        dimensions: of outputs behind their channels: 2 for pixels.
    """

    image_mean: Tensor | None = None
    image_deviation: Tensor | None = None
    target_mean: Tensor | None = None
    target_scale: Tensor | None = None
    dimensions: int = 0

    @property
    def buffers(self) -> dict[str, Tensor]:
        """Those that there are, by name, shaped to be combined with images and outputs."""
        images = {"image_mean": self.image_mean, "image_deviation": self.image_deviation}
        targets = {"target_mean": self.target_mean, "target_scale": self.target_scale}
        behind = [(images, 2), (targets, self.dimensions)]
        return {
            name: value.detach().cpu().view(-1, *[1] * dimensions)
            for given, dimensions in behind
            for name, value in given.items()
            if value is not None
        }

    def double(self) -> Units:
        """The same in float64."""
        tensors = {name: getattr(self, name) for name in self.buffers}
        return replace(self, **{name: value.double() for name, value in tensors.items()})

    def normalised(self, images: Tensor) -> Tensor:
        """Images as the network takes them."""
        has = self.buffers
        return (images - has["image_mean"]) / has["image_deviation"] if "image_mean" in has else images

    def restored(self, outputs: Tensor) -> Tensor:
        """Outputs in the targets' units."""
        has = self.buffers
        return outputs * has["target_scale"] + has["target_mean"] if "target_mean" in has else outputs
