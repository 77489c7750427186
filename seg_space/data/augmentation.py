"""Random scale, crop and flip of an image and its mask together, by torchvision's transforms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as transforms

from seg_space.data.files import IGNORED


class Augmentation:
    """Scale by a random factor, cut a random piece, and mirror half of the samples.

    The piece is cut before it is scaled, which gives the same pixels for a fraction of the work. Images are
    interpolated, masks take the nearest pixel. Where the piece is larger than the scaled image, the rest is the mean
    colour, and ignored.

    Args:
        crop: height and width of the piece; None: those of the image.
        scales: the least and the largest factor, between which it is drawn evenly.
        flip: mirror left and right.
        mean: of each channel, `[channels]`, in the images' own values.
    """

    def __init__(self, crop: tuple[int, int] | None, scales: tuple[float, float], flip: bool, mean: Tensor) -> None:
        self.crop, self.scales = crop, scales
        self.flip = v2.RandomHorizontalFlip() if flip else None
        self.mean = mean

    def __call__(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Another view of an image `[channels, height, width]` and its mask `[..., height, width]`."""
        crop = self.crop or (image.size(-2), image.size(-1))
        low, high = self.scales
        scale = low + (high - low) * torch.rand(()).item()
        piece = [max(round(length / scale), 1) for length in crop]
        sample: tuple[Tensor, Tensor] = tv_tensors.Image(image), tv_tensors.Mask(mask)
        if piece != [image.size(-2), image.size(-1)]:
            fill = {tv_tensors.Image: self._fill(image), tv_tensors.Mask: IGNORED}
            sample = v2.RandomCrop(piece, pad_if_needed=True, fill=fill)(*sample)
        if tuple(piece) != crop:
            sample = (
                transforms.resize(sample[0], list(crop), antialias=True),
                transforms.resize(sample[1], list(crop)),
            )
        if self.flip is not None:
            sample = self.flip(*sample)
        return sample[0].as_subclass(Tensor), sample[1].as_subclass(Tensor)

    def _fill(self, image: Tensor) -> Sequence[float]:
        values: list[float] = self.mean.tolist()
        return values if image.is_floating_point() else [round(value) for value in values]
