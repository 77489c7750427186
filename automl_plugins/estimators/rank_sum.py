"""Several estimators as one: the sum of the logarithms of their ranks (AZ-NAS; Lee and Ham, CVPR 2024, section 3.3)."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np

from automl_plugins.estimators.base import Estimate, Estimator
from automl_plugins.estimators.context import Candidate, Context


class RelativeEstimator(Estimator):
    r"""An estimator that ranks candidates among those that it is asked for together.

    The score is :math:`\sum_k \log(r_k / n)` with the rank :math:`r_k` by the k-th of several scores, n for the best;
    equal ones share the mean of their ranks. A candidate without one of the scores is invalid, and unranked.
    """

    relative: ClassVar[bool] = True

    @abstractmethod
    def several(self, candidates: Sequence[Candidate], context: Context | None) -> list[list[Estimate]]:
        """The estimates that are combined, `[num_scores][num_candidates]`."""

    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        """The estimate of a candidate among itself alone, 0 where it is valid."""
        return self.estimate_all([candidate], context)[0]

    def estimate_all(self, candidates: Iterable[Candidate], context: Context | None) -> list[Estimate]:
        """See `Estimator.estimate_all`; the scores compare these candidates."""
        listed = list(candidates)
        columns = self.several(listed, context)
        sums = log_rank_sum(np.array([[each.score for each in column] for column in columns]))
        estimates = []
        for place, total in enumerate(sums):
            own = [column[place] for column in columns]
            costs = sum(each.cost_s for each in own)
            reason = next((each.reason for each in own if not each.valid), "")
            is_valid = math.isfinite(total)
            estimates.append(Estimate(total, cost_s=costs, valid=is_valid, reason=reason if not is_valid else ""))
        return estimates


class RankSumEstimator(RelativeEstimator):
    """The sum of log ranks by several estimators.

    NASWOT, jacov and multiply-accumulates together rank NAS-Bench-201's cells better than each alone.

    Args:
        estimators: as `make_estimator` makes them of `ranks: [naswot, jacov, macs]`.

    Raises:
        ValueError: there is none, or one that would have to be fitted first.
    """

    def __init__(self, estimators: Sequence[Estimator]) -> None:
        self.estimators = list(estimators)
        if not self.estimators:
            raise ValueError("ranks: name at least one estimator, as in ranks:[naswot,jacov,macs]")
        for each in self.estimators:
            if each.learns:
                raise ValueError(f"ranks: {type(each).__name__} learns from trials; combine estimators that do not")

    def check(self, context: Context) -> None:
        for each in self.estimators:
            each.check(context)

    def several(self, candidates: Sequence[Candidate], context: Context | None) -> list[list[Estimate]]:
        return [each.estimate_all(candidates, context) for each in self.estimators]


def log_rank_sum(scores: np.ndarray) -> np.ndarray:
    """The sums of log ranks, nan for candidates that a score is missing for.

    Args:
        scores: `[num_scores, num_candidates]`, the higher the better; nan or infinite: missing.

    Returns:
        `[num_candidates]`, at most 0.
    """
    totals = np.full(scores.shape[1], math.nan)
    valid = np.isfinite(scores).all(axis=0)
    ranks = np.stack([mean_ranks(column) for column in scores[:, valid]])
    totals[valid] = np.log(ranks / max(valid.sum(), 1)).sum(axis=0)
    return totals


def mean_ranks(scores: np.ndarray) -> np.ndarray:
    """Ranks of finite scores `[num_scores]`, from 1 for the worst; equal ones share the mean of theirs."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]
