"""The contracts that every kind of plugin keeps, as test suites to subclass."""

from automl_plugins.spaces.enumeration import architecture_with, covering, enumerate_space
from automl_plugins.testing.decoder import DecoderContract
from automl_plugins.testing.estimator import EstimatorContract, PredictorContract
from automl_plugins.testing.sampler import SamplerContract
from automl_plugins.testing.search_space import SearchSpaceContract
from automl_plugins.testing.strategy import StrategyContract
from automl_plugins.testing.supernet import SupernetContract

__all__ = [
    "DecoderContract",
    "EstimatorContract",
    "PredictorContract",
    "SamplerContract",
    "SearchSpaceContract",
    "StrategyContract",
    "SupernetContract",
    "architecture_with",
    "covering",
    "enumerate_space",
]
