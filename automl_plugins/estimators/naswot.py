"""NASWOT: networks whose activations tell inputs apart (Mellor et al., ICML 2021, arXiv 2006.04647, section 3)."""

from __future__ import annotations

import torch

from automl_plugins.estimators.activations import signs
from automl_plugins.estimators.base import Estimate, Estimator
from automl_plugins.estimators.context import Candidate, Context
from automl_plugins.system.arguments import at_least, positive, switch

_MOST_FEATURES = 4096
"""Of an activation: more only take time (the mean over layers moves in the fourth digit)."""


class NaswotEstimator(Estimator):
    r"""The log-determinant of the kernel of sign codes, of an untrained network in training mode.

    The code of a sample says which units are above zero. With :math:`H_l` the number of units of activation l where two
    samples agree and :math:`N_l` that of all, the score is :math:`\log\det(\sum_l H_l + \epsilon N I)` with
    :math:`N = \sum_l N_l` (the paper's, but for :math:`\epsilon`), or `normalised`
    :math:`\log\det(\mathrm{mean}_l\, H_l / N_l + \epsilon I)`, in which wide and high-resolved layers count no more
    than others and more layers are no better by themselves.

    Departures: all bending functions count, not ReLU alone; of an activation with more than 4,096 units, that many are
    drawn at random (and stand for all); :math:`\epsilon` keeps samples with one code from making every network's score
    infinite, which in graphs is common. Activations that lead nowhere are left out, as in the authors' code.

    Args:
        normalised: see above.
        samples: the most samples of the batch.
        positions: samples are nodes or places of images, not graphs or whole images.
        epsilon: see above; 0: the paper's, invalid where two samples have one code.

    Raises:
        ValueError: a number out of range.
    """

    def __init__(
        self, normalised: bool = False, samples: int = 128, positions: bool = False, epsilon: float = 1e-6
    ) -> None:
        self.normalised = switch("normalised", normalised)
        self.samples = at_least("samples", samples, 2)
        self.positions = switch("positions", positions)
        self.epsilon = positive("epsilon", epsilon, zero=True)

    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        """The score.

        Raises:
            ValueError: the network has no activations over samples, there is one sample, or the kernel is singular.
        """
        network = context.network(candidate)
        codes = [each.double() for each in signs(network, context, self.samples, self.positions, _MOST_FEATURES)]
        count = len(codes[0])
        if count < 2:
            raise ValueError("one sample alone cannot be told apart from others; judge on a batch of several")
        units = sum(each.shape[1] for each in codes)
        kernel = torch.zeros(count, count, dtype=torch.float64, device=codes[0].device)
        for each in codes:
            agreeing = each @ each.T + (1 - each) @ (1 - each).T
            kernel += agreeing / (each.shape[1] * len(codes) if self.normalised else 1)
        scale = 1 if self.normalised else units
        kernel.diagonal().add_(self.epsilon * scale)
        sign, logarithm = torch.linalg.slogdet(kernel)
        if sign <= 0:
            raise ValueError("the kernel is singular: two samples have the same code")
        return Estimate(float(logarithm), figures={"units": units, "activations": len(codes), "samples": count})
