"""Conditions that end a search early, found by name through the entry points `.stops`."""

from automl_plugins.strategies.stops.base import Stop, make_stops
from automl_plugins.strategies.stops.eigenvalue import HessianEigenvalue

__all__ = ["HessianEigenvalue", "Stop", "make_stops"]
