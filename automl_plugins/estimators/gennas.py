"""GenNAS: a regression of synthetic signals in place of the task (Li et al., NeurIPS 2021, arXiv 2108.01899)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from automl_plugins.estimators.activations import Recorder, live
from automl_plugins.estimators.base import Estimate, Estimator, rank
from automl_plugins.estimators.context import Candidate, Context
from automl_plugins.spaces.probe import Inputs
from automl_plugins.system.arguments import at_least, positive

_DEPTH_WEIGHTS = (0.25, 0.5, 1.0)
"""Of the losses at a third, two thirds, and the end of a network."""
_LEVELS = (0.0, 0.5, 1.0, 2.0)
_TRIES = 400
"""Tasks that are compared, as many as the paper's mutations."""


class GennasEstimator(Estimator):
    """The negative error of a short regression of synthetic signals, from features at three depths of a network.

    The signals are those of the context's probe: waves, dots, edges and the like over images; smooth, rough, diffused
    and spectral functions over graphs, and some that the features of edges settle. Features after the activations at a
    third, two thirds and the end of the network go through a batch normalisation and a linear map; the losses weigh
    0.25, 0.5 and 1. No labels are needed. Features are read at 8 x 8 places of an image, at nodes, edges, or graphs.

    Departures: Adam, since SGD at the paper's 0.1 diverges in networks without batch normalisation; no noise on the
    inputs; the error is measured with the batch's own statistics, which running ones lag behind after so few steps;
    all kinds of signals are learned at once, each with channels of its own, and then weighed by `levels`, so that the
    search of the task (section 3.3, see `tuned`) trains nothing again.

    Args:
        steps: of the regression; the paper has 100.
        channels: of each kind of signal.
        learning_rate: of Adam.
        levels: kind -> the weight of its error; 1 for all where left out, and 0 for those left out of it.
        labels: how many trained architectures the levels were chosen by; they belong to the cost.

    Raises:
        ValueError: a number out of range.
    """

    def __init__(
        self,
        steps: int = 30,
        channels: int = 16,
        learning_rate: float = 1e-2,
        levels: Mapping[str, float] | None = None,
        labels: int = 0,
    ) -> None:
        self.steps = at_least("steps", steps, 1)
        self.channels = at_least("channels", channels, 1)
        self.learning_rate = positive("learning_rate", learning_rate)
        self.levels = None if levels is None else {name: positive(name, each, True) for name, each in levels.items()}
        self.labels = at_least("labels", labels, 0)

    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        """The score; its figures are the errors of each kind of signal, and `labels`.

        Raises:
            ValueError: no features of the network belong to what the signals are over, or the levels leave none.
        """
        network = context.network(candidate)
        inputs = context.inputs
        signals = context.probe.signals(inputs, self.channels, context.generator(5))
        told = {name: each for name, each in signals.items() if each.any()}
        is_map = any(each.dim() > 2 for each in told.values())
        rows_of = context.probe.positions if is_map else context.probe.units
        targets = torch.cat([_rows(each, rows_of, inputs) for each in told.values()], dim=1).float()
        heads = _Heads(network, rows_of, inputs, targets.shape[1])
        optimizer = torch.optim.Adam([*network.parameters(), *heads.parameters()], self.learning_rate)
        network.requires_grad_(True)
        for _ in range(self.steps):
            optimizer.zero_grad()
            heads.errors(targets).mean().backward()
            optimizer.step()
        for module in (*network.modules(), *heads.modules()):
            module.train(isinstance(module, nn.modules.batchnorm._BatchNorm))
        with torch.no_grad():
            errors = heads.errors(targets).unflatten(0, (len(told), -1)).mean(1).tolist()
        figures = dict(zip(told, errors, strict=True))
        return Estimate(self._score(figures), figures={**figures, "labels": self.labels})

    def _score(self, errors: Mapping[str, float]) -> float:
        levels = dict.fromkeys(errors, 1.0) if self.levels is None else self.levels
        weights = {name: levels.get(name, 0.0) for name in errors}
        if not any(weights.values()):
            raise ValueError(
                f"levels of {', '.join(levels)} leave none of the signals that there are: {', '.join(errors)}"
            )
        return -sum(weights[name] * errors[name] for name in errors) / sum(weights.values())

    def tuned(self, estimates: Sequence[Estimate], scores: ArrayLike, seed: int = 0) -> GennasEstimator:
        """The same with the levels whose order of some trained architectures is nearest to the true one.

        The correlation is Spearman's. The paper takes its absolute value; a task that the worst networks solve best
        would then do as well.

        Args:
            estimates: of these architectures, by this estimator; invalid ones are left out.
            scores: `[num_estimates]`, the higher the better; the paper has 20.
            seed: of the levels that are tried.

        Raises:
            ValueError: fewer than three of them are valid.
        """
        truth = np.asarray(scores, dtype=np.float64)
        kept = [place for place, each in enumerate(estimates) if each.valid and math.isfinite(truth[place])]
        if len(kept) < 3:
            raise ValueError(f"a task is chosen by at least 3 valid architectures with scores; got {len(kept)}")
        names = [name for name in estimates[kept[0]].figures if name != "labels"]
        errors = np.array([[estimates[place].figures[name] for name in names] for place in kept])
        generator = np.random.default_rng(seed)
        tried = np.vstack([np.ones(len(names)), generator.choice(_LEVELS, size=(_TRIES, len(names)))])
        tried = tried[tried.any(axis=1)]
        wanted = _places(truth[kept])
        correlations = [np.corrcoef(_places(-(errors @ levels)), wanted)[0, 1] for levels in tried]
        best = tried[int(np.argmax(correlations))]
        levels = dict(zip(names, best.tolist(), strict=True))
        return GennasEstimator(self.steps, self.channels, self.learning_rate, levels, self.labels + len(kept))


class _Heads(nn.Module):
    """Linear maps from a network's features at up to three depths to the targets."""

    def __init__(
        self,
        network: nn.Module,
        rows_of: Callable[[Tensor, Inputs], Tensor | None],
        inputs: Inputs,
        channels: int,
    ) -> None:
        super().__init__()
        self._network = [network]  # no part of this module
        self._rows_of, self._inputs = rows_of, inputs
        with Recorder(lambda features: None) as recorder:
            outputs = network.train()(*inputs)
        alive = {id(each.after) for each in live(recorder.bent, outputs)}
        widths: dict[int, int] = {}
        for place, each in enumerate(recorder.bent):
            rows = rows_of(each.after, inputs) if id(each.after) in alive else None
            if rows is not None:
                widths[place] = rows.shape[1]
        # Where nothing bends, the outputs are all that can be looked at.
        widths = widths or {-1: _rows(outputs, rows_of, inputs).shape[1]}
        usable = list(widths)
        self._places = [usable[math.ceil(len(usable) * depth / 3) - 1] for depth in (1, 2, 3)]
        self.maps = nn.ModuleList(
            nn.Sequential(nn.BatchNorm1d(widths[place]), nn.Linear(widths[place], channels)) for place in self._places
        ).to(outputs.device)

    def errors(self, targets: Tensor) -> Tensor:
        """The mean squared error of each channel, `[channels]`, weighted over depths."""
        with Recorder(lambda features: None) as recorder:
            outputs = self._network[0](*self._inputs)
        total = torch.zeros(targets.shape[1], device=targets.device)
        for place, head, weight in zip(self._places, self.maps, _DEPTH_WEIGHTS, strict=True):
            features = outputs if place < 0 else recorder.bent[place].after
            predicted = head(_rows(features, self._rows_of, self._inputs))
            total = total + weight * (predicted - targets).square().mean(0)
        return total / sum(_DEPTH_WEIGHTS)


def _rows(features: Tensor, rows_of: Callable[[Tensor, Inputs], Tensor | None], inputs: Inputs) -> Tensor:
    rows = rows_of(features, inputs)
    if rows is None:
        raise ValueError("the network's outputs do not belong to what the signals are over")
    return rows


def _places(scores: np.ndarray) -> np.ndarray:
    """The place of each score, the best first."""
    places = np.empty(len(scores))
    places[rank(scores.tolist())] = np.arange(len(scores))
    return places
