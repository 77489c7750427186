"""Graph hypernetworks: networks' parameters predicted from their computational graphs."""

from automl_plugins.estimators.ghn.estimator import GhnEstimator

__all__ = ["GhnEstimator"]
