"""Estimates of architectures without a full training: the estimator, its context, and who makes one by name."""

from automl_plugins.estimators.base import Estimate, Estimator, rank
from automl_plugins.estimators.context import Candidate, Context
from automl_plugins.estimators.make import EstimatorConfig, make_estimator

__all__ = ["Candidate", "Context", "Estimate", "Estimator", "EstimatorConfig", "make_estimator", "rank"]
