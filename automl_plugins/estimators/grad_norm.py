"""The norm of gradients at initialisation (Abdelfattah et al., ICLR 2021, arXiv 2101.08134, section 3.2)."""

from __future__ import annotations

import torch

from automl_plugins.estimators.base import Estimate, Estimator
from automl_plugins.estimators.context import Candidate, Context


class GradNormEstimator(Estimator):
    """The sum of the norms of each tensor of weights' gradient, of the loss on one batch.

    Labels are random ones, so that none is used.
    """

    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        network = context.network(candidate).train().requires_grad_(True)
        weights = list(network.parameters())
        gradients = torch.autograd.grad(context.random_loss(network), weights, allow_unused=True)
        norms = [each.double().norm() for each in gradients if each is not None]
        return Estimate(float(sum(norms)), figures={"tensors": len(norms)})
