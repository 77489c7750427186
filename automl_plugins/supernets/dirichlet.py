"""The relaxation of DrNAS: gates are a sample of a Dirichlet distribution."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from automl_plugins.supernets.relaxations import Relaxation


class Dirichlet(Relaxation):
    r"""A sample of :math:`\mathrm{Dir}(\mathrm{ELU}(\beta / \tau) + 1)` (DrNAS, Chen et al. 2021, section 3.1).

    It is drawn as normalised samples of gamma distributions, with torch's implicit derivatives of them. Without noise
    it is the mean of the distribution, which is what is decoded.
    """

    stochastic: ClassVar[bool] = True

    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        logits = logits / self.temperature
        if generator is None:
            return self.probabilities(logits, mask)
        # On the CPU, where the generator draws; in float64, since samples of small concentrations underflow soon.
        concentration = torch.where(mask, concentrations(logits), 1.0).double().cpu()
        drawn = torch._standard_gamma(concentration, generator=generator).to(logits.device)
        drawn = drawn.clamp(min=torch.finfo(torch.float64).tiny)
        return _shares(drawn, mask).to(logits.dtype)

    def probabilities(self, logits: Tensor, mask: Tensor) -> Tensor:
        return _shares(concentrations(logits), mask)


def concentrations(logits: Tensor) -> Tensor:
    """The concentrations that logits stand for, greater than 0."""
    return (functional.elu(logits) + 1).clamp(min=1e-6)


def _shares(weights: Tensor, mask: Tensor) -> Tensor:
    weights = torch.where(mask, weights, 0.0)
    total = weights.sum(dim=1, keepdim=True)
    return weights / torch.where(total > 0, total, 1.0)
