"""The vicinity of an architecture and of the parameters beside it: draws, and how likely they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Value
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.system.arguments import is_finite

Parameters = Mapping[str, tuple[BaseDistribution, Any]]
"""Parameters that are no choices of the space, by name: the distribution and the value."""

_CHANGES = 1.0
"""Choices that change in a draw, on average. Of 1, 1.5 and 2, it had the least regret by validation on three graphs of
NAS-Bench-Graph after 100 trials; the paper's mutations change half of all parameters."""
_KEEP = 0.5
"""The least probability that a choice keeps the centre's option, and that of a category beside the architecture."""
_SPREAD = 0.25
"""The standard deviation of numbers, in parts of their range, as in the paper."""
_NORMAL = NormalDist()


class Vicinity:
    """A distribution of architectures round one, each choice by itself.

    An active choice keeps the centre's option, or takes one of the others, all equally likely; one that the centre
    does not have is uniform.

    Args:
        space: of the architectures.
        centre: the likeliest one; None: all choices are uniform.
        beside: the centre's values of parameters that are no choices; those that it lacks are uniform.
    """

    def __init__(self, space: SearchSpace, centre: Architecture | None, beside: Mapping[str, Any]) -> None:
        self.space = space
        self.centre: Mapping[str, Value] = centre or {}
        self.beside = beside
        changeable = sum(choice.name in self.centre and len(choice.options) > 1 for choice in space.choices)
        self._keep = max(_KEEP, 1.0 - _CHANGES / max(changeable, 1))

    def draw(self, generator: np.random.Generator) -> Architecture:
        """An architecture of the vicinity, within the limits of a narrowed space."""
        values: dict[str, Value] = {}
        for choice in self.space.choices:
            if choice.is_active(values):
                options = choice.options
                if choice.name in self.centre and self.centre[choice.name] in options and len(options) > 1:
                    kept = self.centre[choice.name]
                    others = [option for option in options if option != kept]
                    options = (kept,) if generator.random() < self._keep else tuple(others)
                values[choice.name] = options[int(generator.integers(len(options)))]
        drawn = Architecture(self.space.name, self.space.version, values)
        return self.space.repaired(drawn, generator)

    def log_likelihood(self, architecture: Architecture, parameters: Parameters) -> float:
        """The logarithm of the probability of an architecture, and of the density of parameters beside it.

        Densities are over the unit interval that a parameter's range, or its logarithm's, is mapped to.
        """
        terms = [self._of_choice(choice.name, len(choice.options), architecture) for choice in self.space.choices]
        terms += [_of_parameter(*given, self.beside.get(name)) for name, given in parameters.items()]
        return math.fsum(terms)

    def _of_choice(self, name: str, options: int, architecture: Architecture) -> float:
        if name not in architecture or options == 1:
            return 0.0
        if name not in self.centre:
            return -math.log(options)
        return math.log(self._keep if architecture[name] == self.centre[name] else (1 - self._keep) / (options - 1))


def draw_near(distribution: BaseDistribution, centre: Any, generator: np.random.Generator) -> Any:
    """A value of a parameter near another one: normal within its range, or its logarithm's; or the same category."""
    if isinstance(distribution, CategoricalDistribution):
        others = [choice for choice in distribution.choices if choice != centre]
        if len(others) < len(distribution.choices) and generator.random() < _KEEP:
            return centre
        return others[int(generator.integers(len(others)))]
    unit = _unit(distribution, centre)
    low, high = (_NORMAL.cdf((end - unit) / _SPREAD) for end in (0.0, 1.0))
    return _value(distribution, unit + _SPREAD * _NORMAL.inv_cdf(generator.uniform(low, high)))


def nearest(distribution: BaseDistribution, centre: Any) -> Any:
    """The value itself where a parameter may have it, else the nearest; None: it is of no kind that has a nearest."""
    if isinstance(distribution, CategoricalDistribution):
        return centre if centre in distribution.choices else None
    if not is_finite(centre) or (getattr(distribution, "log", False) and centre <= 0):
        return None
    if distribution._contains(float(centre)):
        return int(centre) if isinstance(distribution, IntDistribution) else float(centre)
    return _value(distribution, _unit(distribution, centre))


def _of_parameter(distribution: BaseDistribution, value: Any, centre: Any) -> float:
    """The logarithm of the density of a parameter's value."""
    if isinstance(distribution, CategoricalDistribution):
        options = len(distribution.choices)
        if centre not in distribution.choices or options == 1:
            return -math.log(options)
        return math.log(_KEEP if value == centre else (1 - _KEEP) / (options - 1))
    if centre is None or distribution.single():
        return 0.0
    unit = _unit(distribution, centre)
    low, high = (_NORMAL.cdf((end - unit) / _SPREAD) for end in (0.0, 1.0))
    density = _NORMAL.pdf((_unit(distribution, value) - unit) / _SPREAD)
    return math.log(density) - math.log(_SPREAD * (high - low))


def _unit(distribution: BaseDistribution, value: float) -> float:
    """The place of a number in its range, between 0 and 1."""
    low, high, scale, _ = _range(distribution)
    place = (scale(min(max(value, low), high)) - scale(low)) / (scale(high) - scale(low))
    return min(max(place, 0.0), 1.0)


def _value(distribution: BaseDistribution, unit: float) -> float:
    """The number at a place of its range, on its grid."""
    low, high, scale, back = _range(distribution)
    value = back(scale(low) + unit * (scale(high) - scale(low)))
    step = getattr(distribution, "step", None)
    if step is not None:
        value = low + round((value - low) / step) * step
    value = min(max(value, low), high)
    return int(value) if isinstance(distribution, IntDistribution) else float(value)


def _range(distribution: BaseDistribution) -> tuple[float, float, Any, Any]:
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        raise TypeError(f"a parameter has a range or categories; got {distribution!r}")
    scale, back = (math.log, math.exp) if distribution.log else (float, float)
    return distribution.low, distribution.high, scale, back
