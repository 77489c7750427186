"""The training of a graph hypernetwork on a space's own architectures, by Lightning, through the user's module."""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from automl_plugins.errors import DivergedError
from automl_plugins.estimators.ghn.graph import NetworkGraph, matrix_shape
from automl_plugins.estimators.ghn.hypernetwork import GraphHypernetwork
from automl_plugins.estimators.ghn.predicted import PredictedNetwork, graph_for
from automl_plugins.search.checkpoint_files import read_checkpoint
from automl_plugins.system.files import save_whole
from automl_plugins.system.interruption import interrupts_as_such
from automl_plugins.system.randomness import seed_from
from automl_plugins.system.to_be_loaded import to_be_loaded
from automl_plugins.system.waiting import say
from automl_plugins.training.fit import LEAN, quiet_lightning, seeded
from automl_plugins.training.lightning import pl
from automl_plugins.training.project import Project

SEGMENT = 20
"""Steps that a kill may lose."""
_RATE, _DECAY, _CLIP = 1e-3, 1e-5, 5.0
_MOST_SIDE = 11
_SECONDS_BETWEEN = 30.0
"""Lines that tell how far a training is."""
_LOOKED = 16
"""Architectures that the side of the largest kernel is looked for in."""
_POOL, _START, _SEGMENTS, _DRAWS = range(4)
"""Purposes of the seed."""


@dataclass(frozen=True)
class Budget:
    """The length of a hypernetwork's training.

    Args:
        steps: of its optimizer.
        meta_batch: architectures of a step.
        architectures: that are drawn, once, to be trained on.
    """

    steps: int
    meta_batch: int
    architectures: int

    def to_dict(self) -> dict[str, int]:
        """Plain data."""
        return asdict(self)


class Pool:
    """The architectures that a hypernetwork is trained on, and their graphs, each made when it is first asked for.

    Args:
        project: whose narrowed space they are drawn from.
        count: how many are drawn; equal ones are one.
        seed: of the draws.
    """

    def __init__(self, project: Project, count: int, seed: int) -> None:
        generator = np.random.default_rng(seed_from(seed, _POOL))
        space = project.narrowed
        self.project = project
        self.architectures = list(dict.fromkeys(space.sample(generator) for _ in range(count)))
        self._graphs: dict[int, NetworkGraph] = {}

    def network(self, place: int) -> nn.Module:
        """A new network of an architecture, on the CPU, in training mode."""
        with to_be_loaded():
            return self.project.space.network(self.architectures[place], self.project.task).train()

    def graph(self, place: int) -> NetworkGraph:
        """The graph of an architecture's network."""
        if place not in self._graphs:
            self._graphs[place] = graph_for(self.network(place), self.project.task)
        return self._graphs[place]

    def largest_side(self) -> int:
        """The side of the largest kernel of some architectures."""
        graphs = [self.graph(place) for place in range(min(_LOOKED, len(self.architectures)))]
        sides = [max(matrix_shape(each.shape)[2:]) for graph in graphs for each in graph.weights if len(each.shape) > 3]
        return min(max(sides, default=1), _MOST_SIDE)


def train_hypernetwork(project: Project, budget: Budget, seed: int, path: Path | None = None) -> GraphHypernetwork:
    """A hypernetwork that was trained on random architectures of a project's space, in the project's module.

    A step predicts the parameters of several architectures and takes the mean of their losses on one training batch;
    Adam's learning rate of 0.001 falls to a tenth after two thirds and again after five sixths of the steps, and
    gradients are clipped at 5. A loss that is not finite is left out. Of the project's Trainer, accelerator, device,
    precision and `limit_train_batches` count.

    Trainings are made of segments of 20 steps, each of them a fit of its own with an order of batches of its own, which
    depends on the seed and its number alone: one that was killed and is called again ends as one that was not.

    Args:
        project: space, data and module.
        budget: of the training.
        seed: of all draws.
        path: of a file that is written after each segment and removed by nobody; None: none is.

    Raises:
        ValueError: the module optimizes manually, or learns more than its network; before anything is trained.
        DivergedError: a weight of the hypernetwork is not finite.
    """
    project.read_data()
    with seeded(seed_from(seed, _START)):
        pool = Pool(project, budget.architectures, seed)
        predicted = PredictedNetwork(GraphHypernetwork(kernel=pool.largest_side()))
        check_module(project, predicted)
    hypernetwork = predicted.hypernetwork
    optimizer = torch.optim.Adam(hypernetwork.parameters(), _RATE, weight_decay=_DECAY)
    begin = 0
    if path is not None and path.exists():
        begin = _go_on(read_checkpoint(path), hypernetwork, optimizer)
    told = time.monotonic()
    for start in range(begin, budget.steps, SEGMENT):
        stop = min(start + SEGMENT, budget.steps)
        draws = [_drawn(pool, budget.meta_batch, seed, step) for step in range(start, stop)]
        with seeded(seed_from(seed, _SEGMENTS, start)):
            _fit(project, predicted, optimizer, pool, draws, _rate(start / budget.steps))
        _check_finite(hypernetwork, stop)
        if path is not None:
            state = {"step": stop, "weights": hypernetwork.state_dict(), "optimizer": optimizer.state_dict()}
            save_whole(path, state)
        if time.monotonic() - told > _SECONDS_BETWEEN:
            told = time.monotonic()
            say(f"hypernetwork: {stop} of {budget.steps} steps")
    return hypernetwork.eval().requires_grad_(False)


def check_module(project: Project, predicted: PredictedNetwork) -> pl.LightningModule:
    """The project's module around predicted networks.

    Raises:
        ValueError: it optimizes manually, or learns more than its network.
    """
    module = project.make_module(predicted)
    if not module.automatic_optimization:
        raise ValueError(
            f"{type(module).__name__} optimizes manually, so no hypernetwork can be trained through its training_step; "
            "give a module with automatic_optimization, or take another estimator, such as inherited"
        )
    own = {id(each) for each in predicted.parameters()}
    if any(id(each) not in own for each in module.parameters()):
        raise ValueError(
            f"{type(module).__name__} learns more than its network, and a hypernetwork predicts no other weights; put "
            "them into the network, or take another estimator, such as inherited"
        )
    return module


def _rate(share: float) -> float:
    return _RATE * (0.1 if share >= 2 / 3 else 1.0) * (0.1 if share >= 5 / 6 else 1.0)


def _go_on(kept: Mapping[str, Any], hypernetwork: GraphHypernetwork, optimizer: torch.optim.Optimizer) -> int:
    hypernetwork.load_state_dict(kept["weights"])
    optimizer.load_state_dict(kept["optimizer"])
    return int(kept["step"])


def _drawn(pool: Pool, count: int, seed: int, step: int) -> list[int]:
    generator, there = np.random.default_rng(seed_from(seed, _DRAWS, step)), len(pool.architectures)
    places: list[int] = generator.choice(there, min(count, there), replace=False).tolist()
    for place in places:
        pool.graph(place)  # outside of the fit, whose precision would be in it
    return places


def _fit(
    project: Project,
    predicted: PredictedNetwork,
    optimizer: torch.optim.Optimizer,
    pool: Pool,
    draws: list[list[int]],
    rate: float,
) -> None:
    """Train for some steps, each on its own draw of architectures."""
    module = check_module(project, predicted)
    predicted.train().requires_grad_(True)
    for group in optimizer.param_groups:
        group["lr"] = rate
    own = module.training_step

    @functools.wraps(own)
    def training_step(*arguments: Any, **named: Any) -> Tensor | None:
        places, like = draws[module.global_step], predicted.hypernetwork.norm.weight
        networks = [pool.network(each).to(like.device, like.dtype) for each in places]
        predicted.predict(networks, [pool.graph(each) for each in places])
        losses = []
        for _ in places:
            losses.append(_loss(own(*arguments, **named)))
            predicted.next()
        finite = [loss for loss in losses if loss is not None and bool(loss.isfinite())]
        return torch.stack(finite).mean() if finite else None

    # Lightning asks the module for both; its own optimizer would be one for networks.
    module.training_step = training_step  # type: ignore[method-assign]
    module.configure_optimizers = lambda: optimizer  # type: ignore[method-assign]
    with quiet_lightning(), interrupts_as_such(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*`training_step` returned `None`.*")
        trainer = pl.Trainer(**_options(project), max_steps=len(draws), callbacks=[_WithoutNan()])
        trainer.fit(module, datamodule=project.data)


def _options(project: Project) -> dict[str, Any]:
    kept = ("accelerator", "precision", "limit_train_batches")
    options = {name: value for name, value in project.trainer.items() if name in kept}
    if isinstance(devices := project.trainer.get("devices"), list):
        options["devices"] = devices[:1]
    return {**LEAN, **options, "max_epochs": -1, "limit_val_batches": 0, "gradient_clip_val": _CLIP}


def _loss(output: Any) -> Tensor | None:
    """The loss that a training step gives: a tensor, or one in a mapping."""
    loss = output.get("loss") if isinstance(output, Mapping) else output
    return loss if isinstance(loss, Tensor) else None


def _check_finite(hypernetwork: GraphHypernetwork, step: int) -> None:
    for name, value in hypernetwork.named_parameters():
        if not bool(value.isfinite().all()):
            reason = f"the hypernetwork's {name} is not finite after step {step}"
            raise DivergedError(reason, f"{reason}; another seed may keep it from that")


class _WithoutNan(pl.Callback):
    """Leaves a step out whose gradients are not finite, of an architecture whose loss just was."""

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        gradients = [each.grad for each in pl_module.parameters() if each.grad is not None]
        if not all(bool(each.isfinite().all()) for each in gradients):
            optimizer.zero_grad()
