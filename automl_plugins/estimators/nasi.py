"""NASI: the trace norm of the neural tangent kernel at initialisation (Shu et al., ICLR 2022, arXiv 2109.00817)."""

from __future__ import annotations

import statistics

import torch

from automl_plugins.estimators.base import Estimate, Estimator
from automl_plugins.estimators.context import Candidate, Context
from automl_plugins.system.arguments import at_least


class NasiEstimator(Estimator):
    r"""The trace norm of the neural tangent kernel, by gradients, mean over draws of labels.

    It is :math:`\|\nabla_\theta L\|^2` of the mean loss (equation 7). Labels are random: traces by random and by true
    labels nearly agree. One squared norm is noisy, so that several are averaged; `std` is the deviation between draws.
    A large trace means fast training; on small graphs, sums over neighbours make it large too, and it ranks badly
    there. The search of the paper, with its bound of the trace, is `automl_plugins.procedures.nasi`.

    Args:
        draws: of labels.

    Raises:
        ValueError: a number below 1.
    """

    def __init__(self, draws: int = 8) -> None:
        self.draws = at_least("draws", draws, 1)

    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        network = context.network(candidate).train().requires_grad_(True)
        weights = list(network.parameters())
        traces = []
        for draw in range(self.draws):
            gradients = torch.autograd.grad(context.random_loss(network, draw), weights, allow_unused=True)
            traces.append(sum(float(each.double().square().sum()) for each in gradients if each is not None))
        return Estimate(statistics.fmean(traces), statistics.stdev(traces) if len(traces) > 1 else float("nan"))
