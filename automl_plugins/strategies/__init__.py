"""Search strategies: one file for each published method, found by name through the entry points `.strategies`."""

from automl_plugins.strategies.base import Strategy
from automl_plugins.strategies.darts import DARTS, SingleLevel
from automl_plugins.strategies.dints import DiNTS
from automl_plugins.strategies.gdas import GDAS
from automl_plugins.strategies.random_search import RandomSearch
from automl_plugins.strategies.snas import SNAS
from automl_plugins.strategies.step import SearchStep
from automl_plugins.strategies.unas import UNAS

__all__ = ["DARTS", "GDAS", "SNAS", "UNAS", "DiNTS", "RandomSearch", "SearchStep", "SingleLevel", "Strategy"]
