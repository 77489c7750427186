"""Random scale, crop and flip of an image, its mask together with it, by torchvision's transforms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as transforms

from seg_space.data.labels import IGNORED


class Augmentation:
    """Scale by a random factor, cut a random piece, and mirror half of the samples.

    The piece is cut before it is scaled, which gives the same pixels for a fraction of the work. Images are
    interpolated, masks take the nearest pixel. If the piece is larger than the scaled image, the rest is the mean
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

    def __call__(self, image: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Another view of an image `[channels, height, width]` and its mask `[..., height, width]`.

        A target of the whole image, a number or a vector, stays as it is.
        """
        has_mask = target.dim() >= 2
        views = self._views([tv_tensors.Image(image), *([tv_tensors.Mask(target)] if has_mask else [])])
        plain = [view.as_subclass(Tensor) for view in views]
        return plain[0], plain[1] if has_mask else target

    def _views(self, sample: list[Tensor]) -> list[Tensor]:
        """Random views of an image and, where there is one, of its mask."""
        size = [sample[0].size(-2), sample[0].size(-1)]
        crop = list(self.crop or size)
        low, high = self.scales
        scale = low + (high - low) * torch.rand(()).item()
        piece = [max(round(length / scale), 1) for length in crop]
        if piece != size:
            fill = {tv_tensors.Image: self._fill(sample[0]), tv_tensors.Mask: IGNORED}
            sample = v2.RandomCrop(piece, pad_if_needed=True, fill=fill)(sample)
        if piece != crop:
            image, *masks = sample
            resized: list[Tensor] = [transforms.resize(mask, crop) for mask in masks]
            sample = [transforms.resize(image, crop, antialias=True), *resized]
        if self.flip is not None:
            sample = self.flip(sample)
        return sample

    def _fill(self, image: Tensor) -> Sequence[float]:
        values: list[float] = self.mean.tolist()
        return values if image.is_floating_point() else [round(value) for value in values]
