"""The contrastive comparator: which of two architectures is better, learned with a baseline curriculum."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from automl_plugins.estimators.predictors.base import Predictor, not_fitted
from automl_plugins.estimators.predictors.encoder import GraphEncoder, graph_tensors
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace

_CHUNK = 2048


class ComparatorPredictor(Predictor):
    """The neural architecture comparator of CTNAS (Chen et al., CVPR 2021, section 3): P(a is better than b).

    A graph network makes a vector of each architecture, and a linear layer of the two vectors the logit of the
    probability. It is trained by cross entropy on pairs, every architecture with a random other one, in both
    orders, which the paper leaves to chance. The prediction is the mean probability of being better than the
    architectures that it was fitted to, each pair asked in both orders, since the comparator is not antisymmetric.

    Args:
        space: see `Predictor`.
        seed: see `Predictor`.
        width: of the hidden layers.
        depth: how many graph convolutions; the paper has 4.
        epochs: over the architectures, each paired anew every time.
        batch_size: how many pairs a step compares.
        learning_rate: of AdamW, which falls to zero along a half cosine.
        weight_decay: of AdamW.

    Raises:
        ValueError: a number out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        width: int = 64,
        depth: int = 3,
        epochs: int = 150,
        batch_size: int = 64,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-2,
    ) -> None:
        if min(width, depth, epochs, batch_size) < 1:
            raise ValueError("width, depth, epochs and batch_size are at least 1")
        super().__init__(space, seed)
        self.width = width
        self.depth = depth
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self._fitted: tuple[_Comparator, Tensor] | None = None

    def fit(self, architectures: Sequence[Architecture], scores: ArrayLike) -> None:
        target = torch.tensor(self._checked(architectures, scores))
        graphs = graph_tensors(self.space, architectures)
        generator = torch.Generator().manual_seed(self.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            model = _Comparator(graphs[0].shape[-1], self.width, self.depth)
        optimizer = torch.optim.AdamW(model.parameters(), self.learning_rate, weight_decay=self.weight_decay)
        batches = max(1, round(len(target) / self.batch_size))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs * batches)
        for _ in range(self.epochs):
            for batch in torch.randperm(len(target), generator=generator).chunk(batches):
                other = torch.randint(len(target), batch.shape, generator=generator)
                differ = target[batch] != target[other]
                both = torch.cat([batch[differ], other[differ]])
                if len(both) > 0:
                    vectors = model.encoder(tuple(part[both] for part in graphs))
                    first, second = vectors.chunk(2)
                    better = (target[batch[differ]] > target[other[differ]]).float()
                    logits = torch.cat([model.compare(first, second), model.compare(second, first)])
                    labels = torch.cat([better, 1 - better])
                    optimizer.zero_grad()
                    nn.functional.binary_cross_entropy_with_logits(logits, labels).backward()
                    optimizer.step()
                    schedule.step()
        model.eval()
        self._fitted = model, _encode(model, self.space, architectures)

    def predict(self, architectures: Sequence[Architecture]) -> np.ndarray:
        if self._fitted is None:
            raise not_fitted(self)
        model, known = self._fitted
        vectors = _encode(model, self.space, architectures)
        return _probabilities(model, vectors, known).mean(dim=1).double().numpy()

    def compare(self, architectures: Sequence[Architecture], baselines: Sequence[Architecture]) -> np.ndarray:
        """How likely each architecture is better than each baseline, the mean of both orders.

        Returns:
            float64 `[num_architectures, num_baselines]`.

        Raises:
            RuntimeError: nothing was fitted.
        """
        if self._fitted is None:
            raise not_fitted(self)
        model, _ = self._fitted
        vectors = [_encode(model, self.space, each) for each in (architectures, baselines)]
        return _probabilities(model, *vectors).double().numpy()


def baseline_curriculum(
    comparator: ComparatorPredictor,
    draw: Callable[[Architecture], list[Architecture]],
    start: Architecture,
    rounds: int,
) -> list[Architecture]:
    """Climb by comparison alone (CTNAS, section 3.3): the baseline is raised to the best of what beats it.

    Args:
        comparator: fitted.
        draw: gives candidates, which may lie around the baseline.
        start: the first baseline.
        rounds: how often the baseline may be raised.

    Returns:
        The baselines, each likelier than not to be better than all before it; the last is the best.
    """
    baselines = [start]
    for _ in range(rounds):
        candidates = draw(baselines[-1])
        # Compared with all past baselines and not the last alone, it cannot go round in a circle.
        chances = comparator.compare(candidates, baselines).min(axis=1)
        best = int(chances.argmax())
        if chances[best] > 0.5:
            baselines.append(candidates[best])
    return baselines


class _Comparator(nn.Module):
    def __init__(self, features: int, width: int, depth: int) -> None:
        super().__init__()
        self.encoder = GraphEncoder(features, width, depth)
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
