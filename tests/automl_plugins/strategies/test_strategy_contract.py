"""Every registered strategy on every real space: within a cap, with closed options, and on two processes."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader as GraphLoader

from automl_plugins import ParameterCapError, Task, registry
from automl_plugins.decoders.best_sampled import BestSampled
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.strategies import RandomSearch, SearchStep, SingleLevel, Strategy
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.testing import StrategyContract
from gnn_space import AGNNSpace, EGNASSpace
from seg_space import AutoDeepLabSpace

GRAPH = Task("graph", "regression", 3, 1, edge_channels=2)
PIXEL = Task("pixel", "regression", 3, 1)


class LitGraphs(pl.LightningModule):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        output = self.net(batch.x, batch.edge_index, batch.edge_attr, batch.batch, batch.num_graphs)
        return functional.mse_loss(output, batch.y)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.training_step(batch, batch_idx), batch_size=2)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-2)


class LitImages(LitGraphs):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return functional.mse_loss(self.net(batch[0]), batch[1])


class Graphs(pl.LightningDataModule):
    def train_dataloader(self) -> Any:
        generator = torch.Generator().manual_seed(0)
        graphs = []
        for _ in range(8):
            x, edge_attr = torch.randn(4, 3, generator=generator), torch.randn(8, 2, generator=generator)
            edges = torch.randint(4, (2, 8), generator=generator)
            graphs.append(Data(x=x, edge_index=edges, edge_attr=edge_attr, y=x.mean().view(1, 1)))
        return GraphLoader(graphs, batch_size=4)

    val_dataloader = train_dataloader


class Images(pl.LightningDataModule):
    def train_dataloader(self) -> Any:
        image = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(image, image.mean(dim=1, keepdim=True)), batch_size=4)

    val_dataloader = train_dataloader


class OnSpace(StrategyContract):
    """A strategy by its registered name."""

    name: ClassVar[str]

    def strategy(self) -> Strategy:
        made: Strategy = registry.load("strategies", self.name)()
        return RandomSearch(BestSampled(samples=6)) if isinstance(made, RandomSearch) else made


class OnAGNN(OnSpace):
    def space(self, max_parameters: int | None) -> SupernetSpace:
        return AGNNSpace(
            layers=1, hidden_channels=(2, 4), heads=(1, 2), batch_norm=True, dropout=0.0, max_parameters=max_parameters
        )

    def task(self) -> Task:
        return GRAPH

    def module(self, searchable: Searchable) -> Any:
        return LitGraphs(searchable)

    def data(self) -> Any:
        return Graphs()


class OnEGNAS(OnAGNN):
    def space(self, max_parameters: int | None) -> SupernetSpace:
        return EGNASSpace(cells=1, nodes=2, node_channels=4, edge_channels=3, max_parameters=max_parameters)


class OnAutoDeepLab(OnSpace):
    multi_path: ClassVar[bool] = False

    def space(self, max_parameters: int | None) -> SupernetSpace:
        return AutoDeepLabSpace(
            layers=2, blocks=1, filters=2, stem=(2, 4), multi_path=self.multi_path, max_parameters=max_parameters
        )

    def task(self) -> Task:
        return PIXEL

    def module(self, searchable: Searchable) -> Any:
        return LitImages(searchable)

    def data(self) -> Any:
        return Images()


class OnSeveralPaths(OnAutoDeepLab):
    multi_path: ClassVar[bool] = True


SUITES: dict[str, type[OnSpace]] = {
    f"{strategy}, {space.__name__.removeprefix('On')}": type(
        f"Test{strategy.title()}{space.__name__}", (space,), {"name": strategy, "__module__": __name__}
    )
    for strategy in registry.names("strategies")
    # DiNTS needs independent connections, and refuses other spaces.
    for space in ((OnSeveralPaths,) if strategy == "dints" else (OnAGNN, OnEGNAS, OnAutoDeepLab))
}
globals().update({suite.__name__.replace("-", ""): suite for suite in SUITES.values()})


class Fair(SingleLevel):
    """Two paths in each step of the weights, and a distance to the initial ones: a loss, a beginning and a state."""

    def begin(self, step: SearchStep) -> None:
        weights = [weight for each in step.searchables.values() for weight in each.weight_parameters()]
        self.initial = torch.cat([weight.detach().flatten() for weight in weights])
        self.seen = 0

    def architecture_loss(self, step: SearchStep) -> Tensor:
        self.seen += 1
        weights = [weight for each in step.searchables.values() for weight in each.weight_parameters()]
        distance = (torch.cat([weight.detach().flatten() for weight in weights]) - self.initial).norm()
        return super().architecture_loss(step) * (1 + self.seen + distance)

    def weight_gates(self, searchable: Searchable, step: SearchStep) -> Any:
        return searchable.sample(step.generator)

    def weight_loss(self, step: SearchStep) -> Tensor:
        paths = [{name: self.sample(each, step) for name, each in step.searchables.items()} for _ in range(2)]
        return step.mean_loss(paths)

    def sample(self, searchable: Searchable, step: SearchStep) -> Architecture:
        return searchable.sample(step.generator)

    def single_path(self, progress: float) -> bool:
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"initial": self.initial, "seen": self.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.initial, self.seen = state["initial"], state["seen"]


class TestFairOnAGNN(OnAGNN):
    made: ClassVar[type[Strategy]] = Fair

    def strategy(self) -> Strategy:
        return self.made()


class Forgetful(Fair):
    """A part of what it remembers is not in the checkpoint."""

    def state_dict(self) -> dict[str, Any]:
        return {"initial": self.initial}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.initial, self.seen = state["initial"], 0


class NeverForgets(Fair):
    """What the fit before has left is still there."""

    def begin(self, step: SearchStep) -> None:
        seen = getattr(self, "seen", 0)
        super().begin(step)
        self.seen = seen


class NotPlain(Fair):
    """Its state is an object, which would have to be unpickled."""

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "counter": Counter(self.initial)}


class Counter:
    def __init__(self, values: Tensor) -> None:
        self.values = values


class BeyondLimits(Fair):
    """Trains paths that the searchable would not draw."""

    def sample(self, searchable: Searchable, step: SearchStep) -> Architecture:
        return searchable.space.sample(step.generator)


def assert_fails(strategy: type[Strategy], test: Callable[[TestFairOnAGNN], None], error: Any, match: str) -> None:
    suite = TestFairOnAGNN()
    suite.made = strategy  # type: ignore[misc]
    with pytest.raises(error, match=match):
        test(suite)


def test_faults_that_are_planted_are_found(tmp_path: Path) -> None:
    """The contract can fail, each part of it."""
    resume = partial(TestFairOnAGNN.test_a_search_goes_on_from_a_checkpoint_to_the_last_bit, tmp_path=tmp_path)
    settled = partial(
        TestFairOnAGNN.test_a_search_is_settled_moves_logits_and_gives_the_searchable_back, tmp_path=tmp_path
    )
    within = partial(
        TestFairOnAGNN.test_what_is_closed_or_beyond_the_cap_is_neither_trained_nor_found, tmp_path=tmp_path
    )
    assert_fails(Forgetful, resume, AssertionError, "the search ends differently where it was interrupted")
    assert_fails(NotPlain, resume, pickle.UnpicklingError, "Counter")
    assert_fails(NeverForgets, settled, AssertionError, "two equal searches end differently")
    assert_fails(BeyondLimits, partial(within, limits="cap"), AssertionError, "beyond the cap was trained")
    assert_fails(BeyondLimits, partial(within, limits="closed"), ValueError, "closed")


# One for each kind of step: a mixture, drawn gates, a held architecture, gates of the strategy's own.
@pytest.mark.filterwarnings("ignore:It is recommended to use `self.log")
@pytest.mark.parametrize(
    ("suite", "limits"),
    [
        ("darts, AGNN", "cap and closed"),
        ("random, EGNAS", "cap and closed"),
        ("gdas, AutoDeepLab", "closed"),
        ("unas, AGNN", "closed"),
    ],
)
def test_two_processes_agree_bit_for_bit_within_limits(suite: str, limits: str, tmp_path: Path) -> None:
    SUITES[suite]().assert_ranks_agree(limits, tmp_path)


@pytest.mark.filterwarnings("ignore:It is recommended to use `self.log")
def test_two_processes_agree_where_the_strategy_gives_the_weights_loss(tmp_path: Path) -> None:
    TestFairOnAGNN().assert_ranks_agree("cap and closed", tmp_path)


def test_a_cap_that_nothing_keeps_is_refused_before_training(tmp_path: Path) -> None:
    suite = SUITES["darts, AGNN"]()
    searchable = suite.space(10).searchable(suite.task())
    before = searchable.logits.detach().clone()
    with pytest.raises(ParameterCapError, match="max_parameters=10 admits no network of the space 'agnn'"):
        suite.search(searchable, tmp_path)
    assert torch.equal(before, searchable.logits)
