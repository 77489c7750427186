"""The contrastive comparator, which learns which of two architectures is better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from automl_plugins.estimators.predictors.base import Predictor, not_fitted
from automl_plugins.estimators.predictors.encoder import GraphEncoder, graph_tensors
from automl_plugins.estimators.predictors.fitting import DEPTH, check_sizes, fit_network
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace

_CHUNK = 2048
_WEIGHT_DECAY = 1e-2


class ComparatorPredictor(Predictor):
    """The neural architecture comparator of CTNAS (Chen et al., CVPR 2021, section 3): P(a is better than b).

    A graph network makes a vector of each architecture, and a linear layer of the two vectors the logit of the
    probability. It is trained by cross entropy on pairs, every architecture with a random other one, in both
    orders, which the paper leaves to chance. The prediction is the mean probability of being better than the
    architectures that it was fitted to, each pair asked in both orders, since the comparator is not antisymmetric.
    CTNAS's search is `ControllerSampler(space, reward="comparator")`.

    Args:
        space: see `Predictor`.
        seed: see `Predictor`.
        width: of the hidden layers.
        epochs: over the architectures, each paired anew every time.

    Raises:
        ValueError: a number below 1.
    """

    def __init__(self, space: SearchSpace, seed: int = 0, width: int = 64, epochs: int = 150) -> None:
        check_sizes(width, epochs)
        super().__init__(space, seed)
        self.width = width
        self.epochs = epochs
        self._fitted: tuple[_Comparator, Tensor] | None = None

    def fit(self, architectures: Sequence[Architecture], scores: ArrayLike) -> None:
        target = torch.tensor(self._checked(architectures, scores))
        graphs = graph_tensors(self.space, architectures)

        def loss(model: _Comparator, batch: Tensor, generator: torch.Generator) -> Tensor | None:
            other = torch.randint(len(target), batch.shape, generator=generator)
            differ = target[batch] != target[other]
            ahead, behind = batch[differ], other[differ]
            if len(ahead) == 0:
                return None
            both = torch.cat([ahead, behind])
            first, second = model.encoder(tuple(part[both] for part in graphs)).chunk(2)
            better = (target[ahead] > target[behind]).float()
            logits = torch.cat([model.compare(first, second), model.compare(second, first)])
            return nn.functional.binary_cross_entropy_with_logits(logits, torch.cat([better, 1 - better]))

        model = fit_network(
            lambda: _Comparator(graphs[0].shape[-1], self.width),
            len(target),
            loss,
            self.epochs,
            _WEIGHT_DECAY,
            self.seed,
        )
        self._fitted = model, _encode(model, self.space, architectures)

    def predict(self, architectures: Sequence[Architecture]) -> np.ndarray:
        if self._fitted is None:
            raise not_fitted(self)
        model, known = self._fitted
        vectors = _encode(model, self.space, architectures)
        return _probabilities(model, vectors, known).mean(dim=1).double().numpy()

    def compare(self, architectures: Sequence[Architecture], baselines: Sequence[Architecture]) -> np.ndarray:
        """The probability that each architecture is better than each baseline, the mean of both orders.

        Returns:
            float64 `[num_architectures, num_baselines]`.

        Raises:
            RuntimeError: nothing was fitted.
        """
        if self._fitted is None:
            raise not_fitted(self)
        model, _ = self._fitted
        vectors = [_encode(model, self.space, several) for several in (architectures, baselines)]
        return _probabilities(model, *vectors).double().numpy()


class _Comparator(nn.Module):
    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.encoder = GraphEncoder(features, width, DEPTH)
        self.first = nn.Linear(2 * width, width)
        self.second = nn.Linear(2 * width, width, bias=False)
        self.head = nn.Linear(width, 1)

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """The logit that the first is better; shapes broadcast."""
        return self.head(torch.relu(self.first(first) + self.second(second)))[..., 0]


def _encode(model: _Comparator, space: SearchSpace, architectures: Sequence[Architecture]) -> Tensor:
    with torch.no_grad():
        chunks = [
            model.encoder(graph_tensors(space, architectures[start : start + _CHUNK]))
            for start in range(0, len(architectures), _CHUNK)
        ]
    return torch.cat(chunks) if chunks else torch.zeros(0, model.first.in_features)


def _probabilities(model: _Comparator, vectors: Tensor, known: Tensor) -> Tensor:
    """`[num_vectors, num_known]`, a few rows at a time: the pairs are many."""
    rows = []
    with torch.no_grad():
        for chunk in vectors.split(256):
            ahead = torch.sigmoid(model.compare(chunk[:, None], known[None]))
            behind = torch.sigmoid(model.compare(known[None], chunk[:, None]))
            rows.append((ahead + 1 - behind) / 2)
    return torch.cat(rows) if rows else torch.zeros(0, len(known))
