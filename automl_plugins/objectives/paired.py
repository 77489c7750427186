"""Student's paired t test of two networks over the seeds that both were trained on, and Holm's correction of several.

Pairs, since a seed is the same order of batches, and initial weights from the same stream, for both; where that makes
no difference, pairing costs degrees of freedom and nothing else (Bouthillier et al., MLSys 2021, count such sources).
The t test, since seeds are few: Wilcoxon's signed ranks of n pairs have no two-sided p-value below 2^(1 - n), which is
0.0625 for five seeds, so that they never show anything there, while the t test keeps its level from two pairs on where
the differences are about normal (de Winter, Practical Assessment, Research & Evaluation 18(10), 2013). Demsar's advice
for Wilcoxon (JMLR 7, 2006) is on comparisons over data sets.

The spread is that of training alone. It says nothing of other items of data.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

CONFIDENCE = 0.95
"""The share of all samples whose interval holds the true difference, if differences are normal."""
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(64)


@dataclass(frozen=True)
class PairedTest:
    """The test of a difference of two means over the same seeds.

    Args:
        difference: of the means; above 0 where the first is better.
        low: the lower end of its interval of `CONFIDENCE`; None where a single pair gives none.
        high: the upper end.
        p: two-sided, as if this were the only test; None likewise.
        pairs: the seeds on which both have a value.
        adjusted_p: by Holm's correction over all tests of the same question.
    """

    difference: float
    low: float | None
    high: float | None
    p: float | None
    pairs: int
    adjusted_p: float | None = None

    @property
    def shows(self) -> int:
        """1 where the first is shown to be better, -1 where the second is, 0 where nothing is shown."""
        if self.adjusted_p is None or self.adjusted_p >= 1 - CONFIDENCE:
            return 0
        return 1 if self.difference > 0 else -1


def paired_tests(
    mine: Sequence[float | None], others: Mapping[str, Sequence[float | None]], maximize: bool
) -> dict[str, PairedTest]:
    """Tests of one series of values against others, on the same seeds, corrected together.

    Args:
        mine: a value for each seed; None where there is none.
        others: likewise, by name.
        maximize: whether more is better.

    Returns:
        By name; those that share no seed with a value are left out.
    """
    sign = 1 if maximize else -1
    tests = {}
    for name, values in others.items():
        pairs = zip(mine, values, strict=True)
        differences = [sign * (one - other) for one, other in pairs if one is not None and other is not None]
        if differences:
            tests[name] = paired_test(differences)
    corrected = holm([test.p for test in tests.values() if test.p is not None])
    told = iter(corrected)
    return {name: test if test.p is None else replace(test, adjusted_p=next(told)) for name, test in tests.items()}


def paired_test(differences: Sequence[float]) -> PairedTest:
    """The paired t test, from the difference of each pair; at least one.

    Without any spread, a difference of 0 has p = 1, and any other p = 0.
    """
    mean, count = statistics.fmean(differences), len(differences)
    if count < 2:
        return PairedTest(mean, None, None, None, count)
    error = statistics.stdev(differences) / math.sqrt(count)
    if error == 0:
        return PairedTest(mean, mean, mean, float(mean == 0), count)
    reach = t_quantile(CONFIDENCE, count - 1) * error
    p = max(0.0, 1 - _within(abs(mean) / error, count - 1))
    return PairedTest(mean, mean - reach, mean + reach, p, count)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, in their order (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    corrected, most = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        most = max(most, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = most
    return corrected


def t_quantile(share: float, freedom: float) -> float:
    """The number within which, on both sides of 0, Student's t lies with a probability.

    Args:
        share: the probability, between 0 and 1.
        freedom: degrees of freedom, at least 1.
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
