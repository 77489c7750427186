"""Search strategies: one file for each published method, found by name through the entry points `.strategies`."""

from automl_plugins.strategies.base import Components, Strategy
from automl_plugins.strategies.darts import DARTS, SingleLevel
from automl_plugins.strategies.darts_minus import DARTSMinus
from automl_plugins.strategies.dints import DiNTS
from automl_plugins.strategies.drnas import DrNAS
from automl_plugins.strategies.fair_darts import FairDARTS
from automl_plugins.strategies.gaea import GAEA
from automl_plugins.strategies.gdas import GDAS
from automl_plugins.strategies.pc_darts import PCDARTS
from automl_plugins.strategies.random_search import RandomSearch
from automl_plugins.strategies.reinmax import ReinMax
from automl_plugins.strategies.rlnas import RLNAS
from automl_plugins.strategies.single_path import FairSinglePath, SinglePath
from automl_plugins.strategies.snas import SNAS
from automl_plugins.strategies.step import SearchStep
from automl_plugins.strategies.unas import UNAS

__all__ = [
    "DARTS",
    "GAEA",
    "GDAS",
    "PCDARTS",
    "RLNAS",
    "SNAS",
    "UNAS",
    "Components",
    "DARTSMinus",
    "DiNTS",
    "DrNAS",
    "FairDARTS",
    "FairSinglePath",
    "RandomSearch",
    "ReinMax",
    "SearchStep",
    "SingleLevel",
    "SinglePath",
    "Strategy",
]
