"""An estimator as samplers ask it: numbers for architectures, and for pairs of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from automl_plugins.estimators.base import Estimator
from automl_plugins.estimators.context import Context
from automl_plugins.spaces.architecture import Architecture

LazyContext = Context | Callable[[], Context]
"""A context, or what makes one when it is first asked for: that may read data."""


@runtime_checkable
class Compares(Protocol):
    """An estimator that knows of two architectures which one is better, such as CTNAS's comparator."""

    def compare(self, architectures: Sequence[Architecture], baselines: Sequence[Architecture]) -> np.ndarray:
        """The probability that each architecture is better than each baseline, `[num_architectures, num_baselines]`."""


class Judge:
    """Scores of architectures by an estimator; nan where it has none.

    Args:
        estimator: fitted, where it learns.
        context: that it judges in; None for estimators that need none.

    Raises:
        ValueError: the estimator needs a context, and there is none.
    """

    def __init__(self, estimator: Estimator, context: LazyContext | None) -> None:
        if context is None and estimator.needs_context:
            raise ValueError(
                f"{type(estimator).__name__} judges networks, so a sampler needs context=Context.of(project) for it"
            )
        self.estimator = estimator
        self._context = context

    def scores(self, architectures: Sequence[Architecture]) -> np.ndarray:
        """The higher the better; nan where the estimator fails.

        Returns:
            float64 `[num_architectures]`.
        """
        scores, _ = self.scored(architectures)
        return scores

    def scored(self, architectures: Sequence[Architecture]) -> tuple[np.ndarray, list[str]]:
        """Scores, and the reasons of those that are nan."""
        context = self._context() if callable(self._context) else self._context
        estimates = self.estimator.estimate_all(architectures, context)
        scores = np.array([estimate.score for estimate in estimates], dtype=np.float64)
        return scores, [estimate.reason for estimate in estimates if not estimate.valid]

    def chances(self, architectures: Sequence[Architecture], baselines: Sequence[Architecture]) -> np.ndarray:
        """The probability that each architecture is better than each baseline; 0 where nothing is known of it.

        Of an estimator that compares, it is its own; of another, the logistic function of the scores' difference, in
        standard deviations of all that it is asked for.

        Returns:
            float64 `[num_architectures, num_baselines]`.
        """
        if isinstance(self.estimator, Compares):
            return np.nan_to_num(self.estimator.compare(architectures, baselines), nan=0.0)
        scores = self.scores([*architectures, *baselines])
        known = scores[np.isfinite(scores)]
        spread = known.std() if len(known) and known.std() > 0 else 1.0
        lead = (scores[: len(architectures), None] - scores[None, len(architectures) :]) / spread
        # Against a baseline that failed, anything with a score wins.
        lead = np.where(np.isfinite(scores[None, len(architectures) :]), lead, np.inf)
        lead = np.where(np.isfinite(scores[: len(architectures), None]), lead, -np.inf)
        return 1.0 / (1.0 + np.exp(-np.clip(lead, -50.0, 50.0)))
