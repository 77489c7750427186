"""Boosted trees on encodings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from automl_plugins.estimators.predictors.base import Predictor, not_fitted
from automl_plugins.estimators.predictors.features import one_hot, path_features
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.system.arguments import at_least


class TreesPredictor(Predictor):
    """Gradient boosting of scikit-learn on the options taken and on what the ways through the graph are made of.

    Its features are those of `one_hot` and `path_features`. It is fitted to the ranks of the scores, which
    heavy tails (networks that did not train) do not move; the prediction is a rank between 0 and 1.
    It needs the extra `predictors`.

    Args:
        space: see `Predictor`.
        seed: see `Predictor`.
        trees: the number of trees.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: `trees` is below 1.
    """

    def __init__(self, space: SearchSpace, seed: int = 0, trees: int = 300) -> None:
        from sklearn.ensemble import HistGradientBoostingRegressor

        super().__init__(space, seed)
        self._model: Any = HistGradientBoostingRegressor(
            max_iter=at_least("trees", trees, 1),
            learning_rate=0.05,
            max_leaf_nodes=8,
            min_samples_leaf=3,
            # Of the features, that a split may choose from.
            max_features=0.3,
            early_stopping=False,
            random_state=seed,
        )
        self._is_fitted = False

    def fit(self, architectures: Sequence[Architecture], scores: ArrayLike) -> None:
        checked = self._checked(architectures, scores)
        # Equal scores have equal ranks.
        values, ranks = np.unique(checked, return_inverse=True)
        self._model.fit(self._features(architectures), ranks / max(1, len(values) - 1))
        self._is_fitted = True

    def predict(self, architectures: Sequence[Architecture]) -> np.ndarray:
        if not self._is_fitted:
            raise not_fitted(self)
        if len(architectures) == 0:
            return np.zeros(0)
        return np.asarray(self._model.predict(self._features(architectures)), dtype=np.float64)

    def _features(self, architectures: Sequence[Architecture]) -> np.ndarray:
        return np.concatenate([one_hot(self.space, architectures), path_features(self.space, architectures)], axis=1)
