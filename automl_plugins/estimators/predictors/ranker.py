"""A graph network that learns which of two architectures is better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from automl_plugins.estimators.predictors.base import Predictor, not_fitted, standardised
from automl_plugins.estimators.predictors.encoder import GraphEncoder, Graphs, graph_tensors
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace

Loss = Literal["logistic", "hinge", "squared"]
_CHUNK = 2048


class RankerPredictor(Predictor):
    """A graph network fitted by the pairwise loss of ReNAS (Xu et al., CVPR 2021, equation 5).

    The loss is over all pairs of a batch: `log(1 + exp(-d))` (logistic) or `max(0, margin - d)` (hinge), where d is the
    difference of the outputs in the order of the scores; pairs of equal scores are left out. ReNAS reads fixed
    7 x 7 matrices with a small convolutional network; a graph network reads architectures of any size and
    whatever is settled on each operation. `squared` fits the standardised scores themselves, for comparison,
    and for noisy scores. The prediction has no unit.

    Args:
        space: see `Predictor`.
        seed: see `Predictor`.
        loss: see above.
        width: of the hidden layers.
        depth: how many graph convolutions.
        epochs: over the architectures.
        batch_size: how many architectures a step compares.
        learning_rate: of AdamW, which falls to zero along a half cosine.
        weight_decay: of AdamW.
        margin: of the hinge.

    Raises:
        ValueError: there is no such loss, or a number is out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        loss: Loss = "logistic",
        width: int = 64,
        depth: int = 3,
        epochs: int = 150,
        batch_size: int = 64,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-2,
        margin: float = 0.1,
    ) -> None:
        if loss not in get_args(Loss):
            raise ValueError(f"loss is one of {', '.join(get_args(Loss))}; got {loss!r}")
        if min(width, depth, epochs) < 1 or batch_size < 2:
            raise ValueError("width, depth and epochs are at least 1, and batch_size at least 2")
        super().__init__(space, seed)
        self.loss = loss
        self.width = width
        self.depth = depth
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.margin = margin
        self._model: _Scorer | None = None

    def fit(self, architectures: Sequence[Architecture], scores: ArrayLike) -> None:
        target = torch.tensor(standardised(self._checked(architectures, scores)), dtype=torch.float32)
        graphs = graph_tensors(self.space, architectures)
        generator = torch.Generator().manual_seed(self.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            model = _Scorer(graphs[0].shape[-1], self.width, self.depth)
        optimizer = torch.optim.AdamW(model.parameters(), self.learning_rate, weight_decay=self.weight_decay)
        batches = max(1, round(len(target) / self.batch_size))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs * batches)
        for _ in range(self.epochs):
            for batch in torch.randperm(len(target), generator=generator).chunk(batches):
                outputs = model(tuple(part[batch] for part in graphs))
                loss = pairwise_loss(outputs, target[batch], self.loss, self.margin)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        self._model = model.eval()

    def predict(self, architectures: Sequence[Architecture]) -> np.ndarray:
        if self._model is None:
            raise not_fitted(self)
        chunks = [architectures[start : start + _CHUNK] for start in range(0, len(architectures), _CHUNK)]
        with torch.no_grad():
            outputs = [self._model(graph_tensors(self.space, chunk)) for chunk in chunks]
        return torch.cat(outputs).double().numpy() if outputs else np.zeros(0)


def pairwise_loss(outputs: Tensor, scores: Tensor, loss: Loss, margin: float = 0.1) -> Tensor:
    """The mean over all pairs whose scores differ; for `squared`, the mean over the architectures.

    Args:
        outputs: `[num_architectures]`.
        scores: `[num_architectures]`.
        loss: `logistic`, `hinge` or `squared`.
        margin: of the hinge.
    """
    if loss == "squared":
        return (outputs - scores).square().mean()
    order = torch.sign(scores[:, None] - scores[None, :])
    ahead = (outputs[:, None] - outputs[None, :]) * order
    each = nn.functional.softplus(-ahead) if loss == "logistic" else torch.relu(margin - ahead)
    pairs = order != 0
    return (each * pairs).sum() / pairs.sum().clamp(min=1)


class _Scorer(nn.Module):
    def __init__(self, features: int, width: int, depth: int) -> None:
        super().__init__()
        self.encoder = GraphEncoder(features, width, depth)
        self.head = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, graphs: Graphs) -> Tensor:
        return self.head(self.encoder(graphs))[:, 0]
