"""Differentiable search inside a Lightning project that somebody else wrote."""

from automl_plugins.errors import DivergedError
from automl_plugins.search.callback import ArchitectureSearch
from automl_plugins.search.split import split_loader
from automl_plugins.strategies import SearchStep, Strategy

__all__ = ["ArchitectureSearch", "DivergedError", "SearchStep", "Strategy", "split_loader"]
