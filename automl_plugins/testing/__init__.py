"""The contracts that search spaces, supernets and search strategies keep, as test suites to subclass."""

from automl_plugins.testing.search_space import SearchSpaceContract, architecture_with, covering, enumerate_space
from automl_plugins.testing.strategy import StrategyContract
from automl_plugins.testing.supernet import SupernetContract

__all__ = [
    "SearchSpaceContract",
    "StrategyContract",
    "SupernetContract",
    "architecture_with",
    "covering",
    "enumerate_space",
]
