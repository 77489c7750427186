"""Supernets: functions of gates, and the searchable modules that hold their logits."""

from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.relaxations import Concrete, Relaxation, Sigmoid, Softmax, StraightThrough
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.supernets.supernet import Supernet

__all__ = [
    "Concrete",
    "Gates",
    "Relaxation",
    "Searchable",
    "Sigmoid",
    "Softmax",
    "StraightThrough",
    "Supernet",
    "SupernetSpace",
]
