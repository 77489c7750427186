"""The callback on Auto-DeepLab's space: several processes, accumulated gradients, bfloat16, killed and gone on with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from search_project import differing, state
from test_ranks import two
from test_resume import check_resumes
from torch import Tensor
from torch.utils.data import DataLoader

from automl_plugins.search import ArchitectureSearch
from automl_plugins.search.isolation import evaluating
from seg_space import AutoDeepLabSpace
from seg_space.auto_deeplab.network import AutoDeepLabNetwork
from seg_space.data import DarcyFlowData
from seg_space.modules import DenseRegression

SPACE = AutoDeepLabSpace(layers=2, blocks=1, filters=1, stem=(2,), stem_stride=1)


def data(batch_size: int = 2) -> DarcyFlowData:
    return DarcyFlowData(8, 2, 1, resolution=8, root=None, batch_size=batch_size)


def search_data(batch_size: int) -> DataLoader[Any]:
    """Other samples, so that all of the training data are trained on."""
    other = DarcyFlowData(8, 2, 1, resolution=8, root=None, seed=1)
    other.setup("fit")
    return DataLoader(other.loaded.train, batch_size)


def module(kind: type[DenseRegression] = DenseRegression) -> DenseRegression:
    task = data().task
    return kind(SPACE.searchable(task), task, learning_rate=1e-2)


def seeded(kind: type[DenseRegression] = DenseRegression) -> DenseRegression:
    torch.manual_seed(0)
    return module(kind)


def search(strategy: str = "darts") -> ArchitectureSearch:
    return ArchitectureSearch(strategy, learning_rate=0.1)


class FixedStatistics(DenseRegression):
    """Normalises with running statistics, so that a sample's loss does not depend on who is in its batch."""

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        self.network.eval()
        return super().training_step(batch, batch_index)


def test_two_processes_find_what_one_finds_with_the_doubled_batch(trainer: Callable[..., pl.Trainer]) -> None:
    ends = []
    for batch_size, options in ((4, {}), (2, two())):
        fitted = seeded(FixedStatistics).double()
        # In double precision: Adam makes large steps of small differences.
        callback = ArchitectureSearch(learning_rate=0.1, search_data=search_data(batch_size))
        trainer(callback, precision="64-true", **options).fit(fitted, datamodule=data(batch_size))
        ends.append(state(fitted))
    moved = differing(state(seeded().double()), ends[0])
    assert "network.logits" in moved
    assert "network.supernet.nodes.layer1_stride1.cell.states.0.convolutions.atrous_3x3.stages.0.depthwise" in moved
    torch.testing.assert_close(ends[1], ends[0], rtol=1e-6, atol=1e-9)


class Keep(pl.Callback):
    """Writes what a process ends with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_end(self, trainer: pl.Trainer, module: DenseRegression) -> None:
        torch.save(dict(module.named_parameters()), self.folder / f"{trainer.global_rank}.pt")


@pytest.mark.parametrize("strategy", ["darts", "gdas"])
def test_both_processes_end_with_the_same_weights_and_logits(
    trainer: Callable[..., pl.Trainer], tmp_path: Path, strategy: str
) -> None:
    options = two(find_unused_parameters=strategy == "gdas")
    trainer(search(strategy), Keep(tmp_path), **options).fit(seeded(), datamodule=data())
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert differing(first, second) == []


class Watch(pl.Callback):
    """What the user's optimizer sees."""

    def __init__(self) -> None:
        self.weights: list[Tensor] = []

    def on_before_optimizer_step(self, trainer: pl.Trainer, module: DenseRegression, optimizer: Any) -> None:
        assert module.network.logits.grad is None
        self.weights.append(module.network.supernet.stem[0][0].weight.grad.clone())


def test_gradients_are_accumulated_as_without_a_search(trainer: Callable[..., pl.Trainer]) -> None:
    seen = []
    for callbacks in ([], [ArchitectureSearch(learning_rate=0.0, search_data=search_data(2))]):
        watch, fitted = Watch(), seeded()
        if not callbacks:
            fitted.network.logits.requires_grad_(False)
        trainer(*callbacks, watch, accumulate_grad_batches=3).fit(fitted, datamodule=data())
        seen.append((watch.weights, state(fitted)))
    (alone, alone_end), (watched, watched_end) = seen
    assert len(alone) == 4, "an epoch's four batches are two steps"
    assert all(torch.equal(*pair) for pair in zip(alone, watched, strict=True))
    assert differing(alone_end, watched_end) == []


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_bfloat16(trainer: Callable[..., pl.Trainer], precision: str) -> None:
    fitted = seeded()
    before = state(fitted)
    trainer(search(), precision=precision).fit(fitted, datamodule=data())
    moved = differing(
        {name: each.float() for name, each in before.items()},
        {name: each.float() for name, each in state(fitted).items()},
    )
    assert "network.logits" in moved
    assert fitted.network.logits.dtype == torch.float32
    assert all(tensor.isfinite().all() for tensor in fitted.state_dict().values())
    assert isinstance(fitted.network.derive(keep_weights=True), AutoDeepLabNetwork)


@pytest.mark.parametrize("strategy", ["darts", "gdas"])
def test_a_killed_search_goes_on_to_the_very_bits(
    trainer: Callable[..., pl.Trainer], tmp_path: Path, strategy: str
) -> None:
    check_resumes(
        trainer,
        tmp_path,
        module,
        {"datamodule": data},
        ("batch", "validation", "epoch"),
        {"strategy": strategy, "learning_rate": 0.1},
    )


def test_an_evaluation_uses_the_batchs_own_statistics() -> None:
    # The running ones are of a mixture of all paths.
    supernet = seeded().network
    other = seeded().network
    for buffer in other.supernet.buffers():
        buffer.add_(1)
    images = torch.randn(2, 3, 8, 8)
    gates = other.gates()
    with evaluating(supernet), evaluating(other):
        assert torch.equal(supernet.supernet(images, gates=gates), other.supernet(images, gates=gates))
    assert not torch.equal(*(each.eval().supernet(images, gates=gates) for each in (supernet, other)))
