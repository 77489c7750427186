"""Kernel ridge regression on what a graph hypernetwork makes of an architecture's graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike

from automl_plugins.estimators.ghn.files import HypernetworkFolder
from automl_plugins.estimators.ghn.graph import NetworkGraph
from automl_plugins.estimators.ghn.predicted import graph_for
from automl_plugins.estimators.predictors.base import Predictor, not_fitted
from automl_plugins.estimators.predictors.ridge import fenced
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.system.to_be_loaded import to_be_loaded

_BATCH = 8
"""Graphs that are embedded together."""
_WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Of the kernel, in typical distances."""
_PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class _Solution(NamedTuple):
    rows: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    width: float
    weights: np.ndarray
    mean: float
    deviation: float


class GhnEmbeddingPredictor(Predictor):
    r"""Kernel ridge regression on the embeddings of a trained graph hypernetwork.

    An architecture's embedding is the sum of the states of its network's graph (Knyazev et al. 2021, section 5.2, have
    their mean, by which depth does not count). The kernel is :math:`\exp(-d^2 / 2w^2)` of standardised embeddings; its
    width and the penalty are those with the least error where each architecture is left out once. The paper has a
    support vector regression whose settings five folds choose. An embedding takes a network's construction and one
    call on two made-up graphs or images; each is computed once. The prediction is in the unit of the scores.

    Args:
        space: see `Predictor`.
        folder: of a hypernetwork that `GhnEstimator(folder)` has trained on this space.
        seed: not used; the solution is exact.

    Raises:
        FileNotFoundError: the folder has no trained hypernetwork.
        ValueError: a file in it is broken, or its hypernetwork is of another space.
    """

    def __init__(self, space: SearchSpace, folder: Path | str, seed: int = 0) -> None:
        super().__init__(space, seed)
        self.hypernetwork, self.task, settings = HypernetworkFolder(folder).read()
        trained_on = str(settings["space"].get("class", "")).rpartition(".")[2]
        if type(space).__name__ != trained_on:
            raise ValueError(f"{folder}: its hypernetwork is of {trained_on}, the space is a {type(space).__name__}")
        self._known: dict[Architecture, np.ndarray] = {}
        self._solution: _Solution | None = None

    def embed(self, architectures: Sequence[Architecture]) -> np.ndarray:
        """The embeddings of architectures, float64 `[num_architectures, width]`."""
        new = [each for each in dict.fromkeys(architectures) if each not in self._known]
        for start in range(0, len(new), _BATCH):
            some = new[start : start + _BATCH]
            with torch.no_grad():
                rows = self.hypernetwork.embed([self._graph(each) for each in some]).double().numpy()
            self._known.update(zip(some, rows, strict=True))
        return np.stack([self._known[each] for each in architectures])

    def _graph(self, architecture: Architecture) -> NetworkGraph:
        with torch.random.fork_rng(devices=[]), to_be_loaded():
            return graph_for(self.space.network(architecture, self.task), self.task)

    def fit(self, architectures: Sequence[Architecture], scores: ArrayLike) -> None:
        checked = fenced(self._checked(architectures, scores))
        embedded = self.embed(architectures)
        centre, scale = embedded.mean(axis=0), embedded.std(axis=0)
        rows = (embedded - centre) / np.where(scale > 0, scale, 1.0)
        mean, deviation = float(checked.mean()), float(checked.std()) or 1.0
        targets = (checked - mean) / deviation
        distances = _squares(rows, rows)
        typical = float(np.sqrt(np.median(distances[distances > 0]))) if (distances > 0).any() else 1.0
        _, width, weights = min(
            (_left_out(distances, targets, typical * width, penalty) for width in _WIDTHS for penalty in _PENALTIES),
            key=lambda found: found[0],
        )
        self._solution = _Solution(rows, centre, np.where(scale > 0, scale, 1.0), width, weights, mean, deviation)

    def predict(self, architectures: Sequence[Architecture]) -> np.ndarray:
        if self._solution is None:
            raise not_fitted(self)
        if not architectures:
            return np.zeros(0)
        known = self._solution
        rows = (self.embed(architectures) - known.centre) / known.scale
        kernel = np.exp(-_squares(rows, known.rows) / (2 * known.width**2))
        return known.mean + known.deviation * (kernel @ known.weights)


def _squares(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The squared distances of rows, `[num_left, num_right]`."""
    return np.square(left[:, None] - right[None]).sum(axis=2)


def _left_out(
    distances: np.ndarray, targets: np.ndarray, width: float, penalty: float
) -> tuple[float, float, np.ndarray]:
    """The squared error of each target by the others, the width, and the weights of the fit to all."""
    inverse = np.linalg.inv(np.exp(-distances / (2 * width**2)) + penalty * np.eye(len(targets)))
    weights = inverse @ targets
    return float(np.square(weights / np.diag(inverse)).mean()), width, weights
