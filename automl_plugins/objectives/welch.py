"""Welch's t interval of the difference of two means, of which neither the number of values nor the spread is equal."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np

CONFIDENCE = 0.95
"""The share of all pairs of samples whose interval holds the difference of the true means, if values are normal."""
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(64)


def welch_interval(first: Sequence[float], second: Sequence[float]) -> tuple[float, float] | None:
    """The interval of the mean of `first` less that of `second`; None where either has a single value.

    Welch, Biometrika 34 (1947), with the degrees of freedom of Satterthwaite, Biometrics Bulletin 2 (1946).
    """
    if min(len(first), len(second)) < 2:
        return None
    difference = statistics.fmean(first) - statistics.fmean(second)
    parts = [statistics.variance(values) / len(values) for values in (first, second)]
    squared = sum(parts)
    if squared == 0:
        return difference, difference
    # Shares of the variance, not variances: squares of small ones would be 0.
    shares = [(part / squared) ** 2 / (len(values) - 1) for part, values in zip(parts, (first, second), strict=True)]
    reach = t_quantile(CONFIDENCE, 1 / sum(shares)) * math.sqrt(squared)
    return difference - reach, difference + reach


def t_quantile(share: float, freedom: float) -> float:
    """The number within which, on both sides of 0, Student's t lies with a probability.

    Args:
        share: the probability, between 0 and 1.
        freedom: degrees of freedom, at least 1; need not be whole.
    """
    below, above = 0.0, 1.0
    while _within(above, freedom) < share:
        above *= 2
    for _ in range(60):
        middle = (below + above) / 2
        below, above = (middle, above) if _within(middle, freedom) < share else (below, middle)
    return (below + above) / 2


def _within(most: float, freedom: float) -> float:
    """P(|t| <= most): with t = sqrt(freedom) tan(angle), the density is that of cos(angle)^(freedom - 1)."""
    angle = math.atan(most / math.sqrt(freedom))
    integral = angle / 2 * float(_WEIGHTS @ np.cos(angle / 2 * (_POINTS + 1)) ** (freedom - 1))
    factor = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    return 2 * factor * integral
