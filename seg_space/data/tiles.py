"""Images that are too large to be predicted at once: in tiles that overlap."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from automl_plugins.training.prediction import Prediction

LARGEST = 2048 * 2048
"""Pixels of an image that is predicted at once; of a larger one, tiles are."""
TILE = 1024
"""Height and width of a tile, in pixels."""
OVERLAP = 256
"""Pixels that neighbouring tiles share at least."""


def predicted_in_tiles(image: Tensor, predict: Callable[[Tensor], Prediction]) -> Prediction:
    """The prediction for an image, at once or from tiles.

    Of tiles that overlap, each counts the more, the farther a pixel is from its border, at which a network has seen
    least of the surroundings. A spread is averaged likewise.

    Args:
        image: `[1, channels, height, width]`, normalised.
        predict: predicts for such an image.
    """
    height, width = image.shape[-2:]
    if height * width <= LARGEST:
        return predict(image)
    total = torch.zeros(1, 1, height, width)
    values = spread = torch.zeros(())
    first: Prediction | None = None
    for top in _starts(height):
        for left in _starts(width):
            rows, columns = slice(top, top + TILE), slice(left, left + TILE)
            part = predict(image[..., rows, columns])
            if first is None:
                first = part
                values = torch.zeros(1, part.values.size(1), height, width)
                spread = torch.zeros_like(values) if part.spread is not None else spread
            weight = _weight(part.values.size(-2)).unsqueeze(1) * _weight(part.values.size(-1))
            total[..., rows, columns] += weight
            values[..., rows, columns] += weight * part.values
            if part.spread is not None:
                spread[..., rows, columns] += weight * part.spread
    if first is None:
        raise ValueError(f"an image of {height} x {width} pixels has no tile")
    return Prediction(values / total, None if first.spread is None else spread / total, first.task)


def _starts(length: int) -> list[int]:
    """The first pixels of tiles that cover a length evenly."""
    if length <= TILE:
        return [0]
    count = -(-(length - OVERLAP) // (TILE - OVERLAP))
    return [round(place * (length - TILE) / (count - 1)) for place in range(count)]


def _weight(length: int) -> Tensor:
    """The distance of each pixel to the nearer end, at most the overlap, `[length]`."""
    places = torch.arange(1, length + 1)
    return torch.minimum(places, places.flip(0)).clamp(max=OVERLAP) / OVERLAP
