"""ZiCo: gradients that are large and agree between batches (Li et al., ICLR 2023, arXiv 2301.11300, equation 15)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from automl_plugins.estimators.base import Estimate, Estimator
from automl_plugins.estimators.context import Candidate, Context
from automl_plugins.system.arguments import at_least


class ZicoEstimator(Estimator):
    r"""Weights' gradients over how much they differ between batches, and the logarithms of the layers' sums.

    The sum over layers of :math:`\log \sum_w \mathrm{mean}_b |g_w| / \mathrm{std}_b |g_w|`. Summed are weights whose
    gradients differ between batches b. Labels are random ones. Of a project, the batches are one batch with labels
    drawn anew: full graphs have no second one.

    Args:
        batches: how many.

    Raises:
        ValueError: fewer than 2.
    """

    def __init__(self, batches: int = 2) -> None:
        self.batches = at_least("batches", batches, 2)

    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        """The score.

        Raises:
            ValueError: no layer's gradients differ between batches.
        """
        network = context.network(candidate).train().requires_grad_(True)
        weights = [weight for weight in network.parameters() if weight.dim() > 1]
        sizes: list[list[Tensor | None]] = []
        for draw in range(self.batches):
            gradients = torch.autograd.grad(context.random_loss(network, draw), weights, allow_unused=True)
            sizes.append([None if each is None else each.double().abs() for each in gradients])
        logarithms = []
        for layer in zip(*sizes, strict=True):
            present = [each for each in layer if each is not None]
            if len(present) == self.batches:
                mean, deviation = torch.stack(present).mean(0), torch.stack(present).std(0, correction=0)
                total = float((mean / deviation)[deviation > 0].sum())
                if total > 0:
                    logarithms.append(math.log(total))
        if not logarithms:
            raise ValueError("no layer has gradients that differ between batches")
        return Estimate(sum(logarithms), figures={"layers": len(logarithms)})
