"""The relaxation ReinMax: one-hot gates whose gradient is of second order."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from automl_plugins.supernets.relaxations import Relaxation, softmax

_NOT_DRAWN = 1e-30
"""The gate of an option that is open and not drawn: of no weight, and yet run."""


class ReinMax(Relaxation):
    r"""ReinMax (Liu, Dong, Liu, Yu and Gao, NeurIPS 2023, arXiv 2304.08612, algorithm 2).

    The gates are one-hot samples D of :math:`\pi_0 = \mathrm{softmax}(\alpha)`; their gradient is that of
    :math:`2 \pi_1 - \pi_0 / 2` with :math:`\pi_1 = (D + \mathrm{softmax}(\alpha / \tau)) / 2`, which by Heun's
    method is exact in the mean for losses that are quadratic in the gates, at a temperature of 1. It needs the loss's
    derivative by every gate, so options that were not drawn are run with gates of 1e-30, which leaves the
    outputs as they are; a step costs what a mixture does. Under 16-bit floats with a small exponent they vanish.
    """

    stochastic: ClassVar[bool] = True

    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        probabilities = softmax(logits, mask)
        if generator is None:
            return probabilities
        uniform = torch.rand(logits.size(0), 1, generator=generator, dtype=torch.float64)
        reached = probabilities.detach().double().cpu().cumsum(dim=1)
        # A row's total may be a rounding error away from 1, and is 0 where no option is open.
        place = (uniform * reached[:, -1:] >= reached).sum(dim=1).clamp(max=logits.size(1) - 1)
        drawn = functional.one_hot(place, logits.size(1)).to(logits)
        return second_order(logits, mask, torch.where(mask, drawn, 0.0), self.temperature)


def second_order(logits: Tensor, mask: Tensor, drawn: Tensor, temperature: float) -> Tensor:
    """The gates of a draw, with the gradient of ReinMax.

    Args:
        logits: `[num_choices, most_options]`.
        mask: boolean, same shape.
        drawn: one-hot rows, same shape.
        temperature: of the second of the two distributions.
    """
    first = softmax(logits, mask)
    middle = (drawn + softmax(logits / temperature, mask)) / 2
    # The softmax at the middle, differentiated as if the logits had led there.
    shift = (middle.clamp(min=torch.finfo(logits.dtype).tiny).log() - logits).detach()
    second = 2 * softmax(logits + shift, mask) - first / 2
    value = torch.where(mask, drawn.clamp(min=_NOT_DRAWN), 0.0)
    return value + (second - second.detach())
