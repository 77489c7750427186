"""The decoder of a graph hypernetwork: from the states of a graph's nodes to parameters of whatever shape."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from automl_plugins.estimators.ghn.graph import Weight, matrix_shape

CHANNELS = 64
"""The outputs and inputs of the largest matrix that is decoded; wider ones are tiled."""
_VECTORS = ("vector", "scale", "shift")


class ParameterDecoder(nn.Module):
    r"""Parameters from states (Knyazev et al. 2021, section 4.3 and appendix B.1).

    A state becomes a matrix `[64, 64, kernel, kernel]` by a linear map and two convolutions of 1 x 1, or a vector of 64
    by another head. Smaller parameters are slices of these, from the middle of a kernel; wider ones are tiled. Matrices
    of about one shape, up to powers of two, are decoded together, and no more of them than the shape needs.

    Matrices and vectors are standardised, and have the deviation :math:`\sqrt{\beta / \text{fan-in}}`, beta 2 where an
    activation follows and else 1, times a gain between 0 and 2 that the state settles. Scales of normalisations are
    :math:`2 \sigma(p / 2)`, shifts :math:`\tanh(0.2 p)`.

    Departures: the paper's code does not standardise, so that its first predictions are of whatever size; outputs of
    classes have no head of their own, since they are slices too.

    Args:
        width: of the states.
        kernel: the side of the largest kernel that is decoded; wider ones are tiled.
    """

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.hidden = 4 * width
        self.spread = nn.Linear(width, self.hidden * kernel**2)
        self.mix = nn.Linear(self.hidden, self.hidden)
        self.last = nn.Parameter(torch.randn(CHANNELS, CHANNELS, self.hidden) / self.hidden**0.5)
        self.gain = nn.Linear(width, 1)
        self.vectors = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, len(_VECTORS) * CHANNELS)
        )

    def forward(self, states: Tensor, weights: Sequence[Weight]) -> list[Tensor]:
        """The parameters.

        Args:
            states: `[num_weights, width]`.
            weights: what they are the states of.

        Returns:
            Tensors of the weights' shapes, in their order.
        """
        found: dict[int, Tensor] = {}
        buckets: dict[tuple[int, int, int], list[int]] = {}
        flat = [place for place, each in enumerate(weights) if each.role != "matrix"]
        for place, each in enumerate(weights):
            if each.role == "matrix":
                buckets.setdefault(self._bucket(each), []).append(place)
        gains = 2 * torch.sigmoid(self.gain(states).squeeze(1) / 2)
        for bucket, places in buckets.items():
            for place, decoded in zip(places, self._matrices(states[places], *bucket), strict=True):
                found[place] = _standardised(_tiled(decoded, weights[place].shape), weights[place], gains[place])
        if flat:
            heads = self.vectors(states[flat]).unflatten(1, (len(_VECTORS), CHANNELS))
            for place, head in zip(flat, heads, strict=True):
                found[place] = _vector(head, weights[place], gains[place])
        return [found[place] for place in range(len(weights))]

    def _bucket(self, weight: Weight) -> tuple[int, int, int]:
        outputs, inputs, *sides = matrix_shape(weight.shape)
        channels = [min(CHANNELS, 1 << (size - 1).bit_length()) for size in (outputs, inputs)]
        return channels[0], channels[1], min(self.kernel, max(sides))

    def _matrices(self, states: Tensor, outputs: int, inputs: int, side: int) -> Tensor:
        """`[num_weights, outputs, inputs, side, side]`."""
        spread = self.spread(states).relu().unflatten(1, (self.kernel, self.kernel, self.hidden))
        start = (self.kernel - side) // 2
        middle = spread[:, start : start + side, start : start + side]
        mixed = self.mix(middle).relu()
        return torch.einsum("phwc,oic->poihw", mixed, self.last[:outputs, :inputs])


def _tiled(decoded: Tensor, shape: Sequence[int]) -> Tensor:
    """A parameter of a shape, from one of whatever size."""
    for dimension, size in enumerate(matrix_shape(shape)):
        there = decoded.shape[dimension]
        if size <= there:
            start = (there - size) // 2 if dimension > 1 else 0
            decoded = decoded.narrow(dimension, start, size)
        else:
            decoded = decoded.index_select(dimension, torch.arange(size, device=decoded.device) % there)
    return decoded.reshape(tuple(shape))


def _standardised(raw: Tensor, weight: Weight, gain: Tensor) -> Tensor:
    size = raw.square().mean().clamp(min=1e-12).sqrt()
    return raw / size * gain * weight.variance**0.5


def _vector(head: Tensor, weight: Weight, gain: Tensor) -> Tensor:
    row = head[_VECTORS.index(weight.role)]
    count = int(torch.Size(weight.shape).numel())
    row = row[torch.arange(count, device=row.device) % CHANNELS].reshape(weight.shape)
    if weight.role == "scale":
        return 2 * torch.sigmoid(row / 2)
    return torch.tanh(0.2 * row) if weight.role == "shift" else _standardised(row, weight, gain)
