"""Ridge regression on the scores of estimators that train nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from automl_plugins.estimators.predictors.base import Predictor, not_fitted
from automl_plugins.estimators.predictors.features import one_hot
from automl_plugins.estimators.predictors.ridge import choice_kernel, fenced
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace

_PENALTY = 0.1
"""The variance of the noise over that of the scores."""
_WIDTH = 0.3
"""Of the kernel, in shares of all ranks."""
_CHOICES = 0.1
"""The weight of the kernel of choices beside that of scores."""


class ScoredPredictor(Predictor):
    r"""Kernel ridge regression whose features are ranks of other estimators' scores.

    Scores without training tell more than choices while trials are few (NAS-Bench-Suite-Zero; Krishnakumar et al.,
    NeurIPS 2022, section 4): on NAS-Bench-201's published scores, tau after 20 trials is .69, by choices .47. Their
    tails are heavy, so each is replaced by the share of fitted architectures that it beats; what an estimator fails for
    beats none. The kernel is :math:`\exp(-\overline{(r - r')^2} / (2 \cdot 0.3^2))` over these, and a tenth of
    `RidgePredictor`'s, by which choices count where trials are many.

    Args:
        space: see `Predictor`.
        scores_of: gives the scores of architectures, `[num_architectures, num_scores]`, the higher the better; nan:
            there is none.
    """

    def __init__(self, space: SearchSpace, scores_of: Callable[[Sequence[Architecture]], np.ndarray]) -> None:
        super().__init__(space)
        self.scores_of = scores_of
        self._known: tuple[np.ndarray, np.ndarray] | None = None
        self._solution: tuple[np.ndarray, float, float] = (np.zeros(0), 0.0, 1.0)

    def fit(self, architectures: Sequence[Architecture], scores: ArrayLike) -> None:
        checked = fenced(self._checked(architectures, scores))
        self._known = _failed_last(self.scores_of(architectures)), one_hot(self.space, architectures)
        mean, deviation = float(checked.mean()), float(checked.std()) or 1.0
        kernel = self._kernel(architectures)
        kernel[np.diag_indices_from(kernel)] += _PENALTY
        self._solution = np.linalg.solve(kernel, (checked - mean) / deviation), mean, deviation

    def predict(self, architectures: Sequence[Architecture]) -> np.ndarray:
        if self._known is None:
            raise not_fitted(self)
        weights, mean, deviation = self._solution
        return mean + deviation * (self._kernel(architectures) @ weights) if architectures else np.zeros(0)

    def _kernel(self, architectures: Sequence[Architecture]) -> np.ndarray:
        """`[num_architectures, num_fitted]`."""
        if self._known is None:
            raise not_fitted(self)
        known, rows = self._known
        ours = shares_beaten(known, _failed_last(self.scores_of(architectures)))
        distances = np.square(ours[:, None] - shares_beaten(known, known)[None]).mean(axis=2)
        of_choices = choice_kernel(one_hot(self.space, architectures), rows, len(self.space.choices))
        return np.exp(-distances / (2 * _WIDTH**2)) + _CHOICES * of_choices


def shares_beaten(known: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The share of known scores, column by column, that each score beats; half of equal ones count.

    Args:
        known: `[num_known, num_scores]`.
        scores: `[num_architectures, num_scores]`.
    """
    ordered = np.sort(known, axis=0)
    pairs = zip(ordered.T, scores.T, strict=True)
    ends = [np.searchsorted(of, one, "left") + np.searchsorted(of, one, "right") for of, one in pairs]
    return np.stack(ends, axis=1) / (2 * len(known))


def _failed_last(scores: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(scores), scores, -np.inf)
