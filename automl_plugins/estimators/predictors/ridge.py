"""Ridge regression on choices and on pairs of choices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from automl_plugins.estimators.predictors.base import Predictor, not_fitted
from automl_plugins.estimators.predictors.features import one_hot
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace

_PENALTY = 0.1
"""The variance of the noise over that of the scores."""


class RidgePredictor(Predictor):
    """Ridge regression whose features are the options taken, and every pair of them.

    The pairs are never written down: the kernel `(s + 1) * s`, where s is the share of choices that two architectures
    have in common, stands for both. With as many rows as a search has trials, this is solved
    in milliseconds. Scores far below the others (networks that did not train) are lifted to a fence, three times
    as far below the median as the lower quartile: they would decide everything. The prediction is in the unit
    of the scores.

    Args:
        space: see `Predictor`.
        seed: not used; the solution is exact.
    """

    def __init__(self, space: SearchSpace, seed: int = 0) -> None:
        super().__init__(space, seed)
        self._solution: tuple[np.ndarray, np.ndarray, float, float] | None = None

    def fit(self, architectures: Sequence[Architecture], scores: ArrayLike) -> None:
        checked = fenced(self._checked(architectures, scores))
        rows = one_hot(self.space, architectures)
        mean, deviation = float(checked.mean()), float(checked.std()) or 1.0
        kernel = self._kernel(rows, rows)
        kernel[np.diag_indices_from(kernel)] += _PENALTY
        weights = np.linalg.solve(kernel, (checked - mean) / deviation)
        self._solution = rows, weights, mean, deviation

    def predict(self, architectures: Sequence[Architecture]) -> np.ndarray:
        if self._solution is None:
            raise not_fitted(self)
        rows, weights, mean, deviation = self._solution
        return mean + deviation * (self._kernel(one_hot(self.space, architectures), rows) @ weights)

    def _kernel(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return choice_kernel(left, right, len(self.space.choices))


def choice_kernel(left: np.ndarray, right: np.ndarray, choices: int) -> np.ndarray:
    """The kernel of options and pairs of options, `[num_left, num_right]`, of rows as `one_hot` makes them."""
    shared = left @ right.T / choices
    return shared * (1.0 + shared)


def fenced(scores: np.ndarray) -> np.ndarray:
    """Scores, of which those far below the others are lifted to a fence; see `RidgePredictor`."""
    quartile, median = np.quantile(scores, (0.25, 0.5))
    return np.maximum(scores, median - 3 * (median - quartile)) if median > quartile else scores
