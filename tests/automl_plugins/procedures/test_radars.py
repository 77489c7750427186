"""RADARS: what is closed, that what is left fits, and that a killed one ends as one that was not."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from automl_plugins import ArchitectureSearch, Project
from automl_plugins.measures.memory import of_training, peak_bytes
from automl_plugins.procedures.exploration import Exploration
from automl_plugins.procedures.fits import Fits
from automl_plugins.procedures.radars import radars
from automl_plugins.strategies import DARTS, Strategy
from automl_plugins.strategies.step import SearchStep
from gnn_space import EGNASSpace, GNNPlusSpace
from gnn_space.data import ClusterData

EGNAS = EGNASSpace(cells=1, nodes=1, node_channels=8, edge_channels=4)
BOUND = 2_100_000
"""Bytes: twice what a single path takes, two thirds of what the mixture of all options does."""


def graphs(folder: Path, space: Any = EGNAS, **trainer: Any) -> Project:
    trainer = {"max_epochs": 2, "accelerator": "cpu", **trainer}
    return Project(space, ClusterData(4, 2, 2, batch_size=1), trainer=trainer, folder=folder)


class Measured(pl.Callback):
    """The peak of the bytes of whole steps of weights and of logits, and what lies beside them."""

    peaks: ClassVar[list[int]] = []
    """Of the class: each fit has copies of the project's callbacks."""

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        (search,) = [each for each in trainer.callbacks if isinstance(each, ArchitectureSearch)]
        if not isinstance(search.strategy, DARTS):
            return
        state = {name: each.clone() for name, each in pl_module.state_dict().items()}
        weights = [each for each in pl_module.parameters() if each.requires_grad]

        def step(present: Any) -> None:
            torch.autograd.grad(pl_module.training_step(present, 0), weights, allow_unused=True)

        log, pl_module.log = pl_module.log, lambda *_, **__: None
        learner = search.run.learner  # type: ignore[union-attr]
        optimizers = [*trainer.optimizers, learner.optimizer]  # type: ignore[union-attr]
        beside = of_training(type("None", (), {"fixed": 0, "of_batch": 0})(), pl_module, optimizers)
        self.peaks.append(peak_bytes(step, batch) + beside.total)
        pl_module.log = log
        pl_module.load_state_dict(state)


def needed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> float:
    """The bytes that a step of the whole mixture takes, as the exploration measures them."""
    seen: list[float] = []
    own = Exploration._needed

    def watched(self: Exploration, step: SearchStep) -> Any:
        needed = own(self, step)
        seen.append(needed.total)
        return needed

    with monkeypatch.context() as patch:
        patch.setattr(Exploration, "_needed", watched)
        radars(graphs(folder), 2**40, epochs=1)
    assert len(set(seen)) == 1, "options were closed although everything fits"
    return seen[0]


def test_options_are_closed_until_a_step_is_within_the_bound_and_so_are_the_steps_of_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = needed(tmp_path / "whole", monkeypatch)
    bound = BOUND
    assert whole > 1.3 * bound
    fits = Fits(graphs(tmp_path / "alone"), "radars", {})
    with pytest.raises(ValueError, match="memory_limit is"):
        fits.run("search", fits.searchable(), "darts", 1, memory_limit=bound)
    measured = Measured()
    (found,) = radars(graphs(tmp_path / "bound", callbacks=[measured]), bound)
    options = sum(len(choice.options) for choice in EGNAS.gate_choices)
    assert found.figures["open_options"] < options
    assert measured.peaks
    assert max(measured.peaks) <= bound


def test_a_bound_that_no_mixture_keeps_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("automl_plugins.search.run.check_memory", lambda *_: None)
    with pytest.raises(ValueError, match=r"memory_limit=1000 is 0 MiB, and a step takes .* give a larger limit"):
        radars(graphs(tmp_path), 1000)


@pytest.mark.parametrize("strategy", ["darts", "snas", "drnas"])
def test_any_strategy_of_mixtures_goes_on_in_what_is_left(strategy: str, tmp_path: Path) -> None:
    space = GNNPlusSpace(depths=(1, 2), channels=(8,), messages=("gcn", "gin", "sage"), norms=("none",), heads=1)
    project = graphs(tmp_path, space)
    (found,) = radars(project, 2**34, strategy, epochs=1)
    project.space.validate(found.architecture)


@pytest.mark.parametrize("strategy", ["gdas", "random", "single-path"])
def test_strategies_of_single_paths_need_no_bound(strategy: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"strategy={strategy!r} runs one option of each choice"):
        radars(graphs(tmp_path), 2**30, strategy)
    with pytest.raises(ValueError, match="memory_limit is missing"):
        radars(graphs(tmp_path))


class Killed(pl.Callback):
    """Interrupts the exploration in its second epoch, or the search in its first."""

    def __init__(self, kind: type[Strategy], epoch: int) -> None:
        self.kind, self.epoch = kind, epoch

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        (search,) = [each for each in trainer.callbacks if isinstance(each, ArchitectureSearch)]
        if isinstance(search.strategy, self.kind) and trainer.current_epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("kind", "epoch"), [(Exploration, 1), (DARTS, 1)])
def test_a_killed_one_that_is_called_again_ends_as_an_unbroken_one(
    kind: type[Strategy], epoch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: dict[str, Any] = {"memory_limit": BOUND, "exploration_epochs": 2, "epochs": 2}
    ends = []
    for name in ("unbroken", "killed"):
        killed = Killed(kind, epoch if name == "killed" else -1)
        project = graphs(tmp_path / name)
        with monkeypatch.context() as patch:
            patch.setattr(Project, "options", lambda self, epochs=None, own=killed: _with(self, epochs, own))
            with pytest.raises(KeyboardInterrupt) if name == "killed" else nullcontext():
                radars(project, **arguments)
        found = radars(project, **arguments)
        content = torch.load(tmp_path / name / "radars" / "search" / "last.ckpt", weights_only=True)
        ends.append((found, content["state_dict"]))
    assert ends[0][0] == ends[1][0]
    for key, value in ends[0][1].items():
        assert not isinstance(value, Tensor) or torch.equal(value, ends[1][1][key]), key


def _with(project: Project, epochs: int | None, callback: pl.Callback) -> dict[str, Any]:
    return {**project.trainer, **({} if epochs is None else {"max_epochs": epochs}), "callbacks": [callback]}
