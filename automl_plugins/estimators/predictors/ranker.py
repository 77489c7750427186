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
from automl_plugins.estimators.predictors.fitting import DEPTH, check_sizes, fit_network
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.system.arguments import one_of

Loss = Literal["logistic", "hinge", "squared"]
_CHUNK = 2048
_MARGIN = 0.1
"""Of the hinge."""


class RankerPredictor(Predictor):
    """A graph network fitted by the pairwise loss of ReNAS (Xu et al., CVPR 2021, equation 5).

    The loss is over all pairs of a batch: `log(1 + exp(-d))` (logistic) or `max(0, 0.1 - d)` (hinge), where d is the
    difference of the outputs in the order of the scores; pairs of equal scores are left out. ReNAS reads fixed
    7 x 7 matrices with a small convolutional network; a graph network reads architectures of any size and
    whatever is settled on each operation. `squared` fits the standardised scores themselves, for comparison,
    and for noisy scores. The prediction has no unit.

    Args:
        space: see `Predictor`.
        seed: see `Predictor`.
        loss: see above.
        width: of the hidden layers.
        epochs: over the architectures.
        weight_decay: of AdamW.

    Raises:
        ValueError: there is no such loss, or a number is out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        loss: Loss = "logistic",
        width: int = 64,
        epochs: int = 150,
        weight_decay: float = 1e-2,
    ) -> None:
        one_of("loss", loss, get_args(Loss))
        check_sizes(width, epochs)
        super().__init__(space, seed)
        self.loss = loss
        self.width = width
        self.epochs = epochs
        self.weight_decay = weight_decay
        self._model: _Scorer | None = None

    def fit(self, architectures: Sequence[Architecture], scores: ArrayLike) -> None:
        target = torch.tensor(standardised(self._checked(architectures, scores)), dtype=torch.float32)
        graphs = graph_tensors(self.space, architectures)

        def loss(model: _Scorer, batch: Tensor, generator: torch.Generator) -> Tensor:
            return pairwise_loss(model(tuple(part[batch] for part in graphs)), target[batch], self.loss)

        self._model = fit_network(
            lambda: _Scorer(graphs[0].shape[-1], self.width),
            len(target),
            loss,
            self.epochs,
            self.weight_decay,
            self.seed,
        )

    def predict(self, architectures: Sequence[Architecture]) -> np.ndarray:
        if self._model is None:
            raise not_fitted(self)
        chunks = [architectures[start : start + _CHUNK] for start in range(0, len(architectures), _CHUNK)]
        with torch.no_grad():
            outputs = [self._model(graph_tensors(self.space, chunk)) for chunk in chunks]
        return torch.cat(outputs).double().numpy() if outputs else np.zeros(0)


def pairwise_loss(outputs: Tensor, scores: Tensor, loss: Loss) -> Tensor:
    """The mean over all pairs whose scores differ; for `squared`, the mean over the architectures.

    Args:
        outputs: `[num_architectures]`.
        scores: `[num_architectures]`.
        loss: `logistic`, `hinge` or `squared`.
    """
    if loss == "squared":
        return (outputs - scores).square().mean()
    order = torch.sign(scores[:, None] - scores[None, :])
    ahead = (outputs[:, None] - outputs[None, :]) * order
    losses = nn.functional.softplus(-ahead) if loss == "logistic" else torch.relu(_MARGIN - ahead)
    pairs = order != 0
    return (losses * pairs).sum() / pairs.sum().clamp(min=1)


class _Scorer(nn.Module):
    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.encoder = GraphEncoder(features, width, DEPTH)
        self.head = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, graphs: Graphs) -> Tensor:
        return self.head(self.encoder(graphs))[:, 0]
