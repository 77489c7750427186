"""The size of a network as an estimate: what every other estimate stands beside."""

from __future__ import annotations

from automl_plugins.estimators.base import Estimate, Estimator
from automl_plugins.estimators.context import Candidate, Context
from automl_plugins.measures.macs import macs
from automl_plugins.measures.params import params


class ParamsEstimator(Estimator):
    """The number of trainable parameters; more is better, which holds in many spaces while networks are small."""

    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        return Estimate(params(context.network(candidate)))


class MacsEstimator(Estimator):
    """The multiply-accumulates of one forward pass on the context's inputs; more is better."""

    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        return Estimate(macs(context.network(candidate), context.inputs))
