"""SynFlow as a score (Tanaka et al., NeurIPS 2020, arXiv 2006.05467; Abdelfattah et al., ICLR 2021, section 3.2)."""

from __future__ import annotations

import math

import torch

from automl_plugins.estimators.base import Estimate, Estimator
from automl_plugins.estimators.context import Candidate, Context
from automl_plugins.estimators.flow import WithoutNormalisation, as_flow, flow_inputs


class SynflowEstimator(Estimator):
    r"""The logarithm of the flow through all weights of a network.

    It is that of :math:`\sum_\theta |\theta\, \partial R / \partial \theta|`, R the sum of the outputs. Weights are
    without their signs, features are ones, normalisations are left out, and numbers are in float64: deep networks pass
    beyond float32. In graphs each node has one neighbour (`Probe.positive`), or networks that sum over neighbours would
    win by degree alone. It needs no data. On small graphs it ranks badly, often the wrong way round.
    """

    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        """The score.

        Raises:
            ValueError: nothing flows through the network.
        """
        network = as_flow(context.network(candidate))
        with WithoutNormalisation():
            outputs = network(*flow_inputs(context.probe.positive(context.inputs)))
        weights = list(network.parameters())
        gradients = torch.autograd.grad(outputs.sum(), weights, allow_unused=True)
        pairs = zip(weights, gradients, strict=True)
        total = sum(
            float((weight.detach() * gradient).abs().sum()) for weight, gradient in pairs if gradient is not None
        )
        if total == 0:
            raise ValueError("nothing flows through the network: all derivatives of its outputs are 0")
        return Estimate(math.log(total))
