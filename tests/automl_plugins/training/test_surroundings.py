"""A module around a trained network judges it with what was trained around it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins import ArchitectureSearch, Project, Task
from automl_plugins.estimators.context import Context
from automl_plugins.estimators.inherited import InheritedEstimator
from automl_plugins.procedures.few_shot import few_shot
from automl_plugins.training.fit import seeded
from automl_plugins.training.lightning import pl
from automl_plugins.training.surroundings import carry_over, outside
from gnn_space import AGNNSpace, GraphRegression
from gnn_space.data import ClusterData
from gnn_space.data.molecules import SmilesTable

TRAINER = {"max_epochs": 2, "accelerator": "cpu"}
SPACE = AGNNSpace(layers=1, hidden_channels=(8,), heads=(1, 2), dropout=0.0)


@pytest.fixture
def energies(tmp_path: Path) -> Project:
    pytest.importorskip("rdkit")
    table = tmp_path / "energies.csv"
    rows = [f"{'C' * size}{end},{1000 + 30 * size}" for size in range(1, 16) for end in ("O", "N")]
    table.write_text("\n".join(["smiles,energy", *rows]), encoding="utf-8")
    data = SmilesTable(table, "smiles", "energy", fractions=(0.6, 0.2, 0.2), batch_size=8)
    return Project(SPACE, data, trainer=TRAINER, folder=tmp_path / "run")


class WithHead(pl.LightningModule):
    """A user's module that learns a layer of its own behind the network."""

    monitor, direction = "val_loss", "minimize"

    def __init__(self, network: nn.Module, task: Task) -> None:
        super().__init__()
        self.network, self.head = network, nn.Linear(task.out_channels, task.out_channels)

    def _step(self, batch: Any) -> Tensor:
        outputs = self.network(batch.x, batch.edge_index, batch.edge_attr, batch.batch, batch.num_graphs)
        return functional.cross_entropy(self.head(outputs), batch.y)

    def training_step(self, batch: Any, batch_index: int) -> Tensor | None:
        return self._step(batch)

    def validation_step(self, batch: Any, batch_index: int) -> None:
        self.log("val_loss", self._step(batch), batch_size=1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.05)


class WithoutLoss(WithHead):
    def training_step(self, batch: Any, batch_index: int) -> None:
        self._step(batch)


@pytest.fixture
def clusters(tmp_path: Path) -> Project:
    data = ClusterData(4, 2, 2, batch_size=2)
    return Project(SPACE, data, module=WithHead, trainer=TRAINER, folder=tmp_path)


def drawn(project: Project, seed: int = 0) -> nn.Module:
    return project.build(project.space.sample(torch.Generator().manual_seed(seed)))


def test_a_network_of_real_values_is_judged_in_the_targets_units(energies: Project) -> None:
    network = drawn(energies)
    trained = energies.train(network)
    assert energies.score(network) == pytest.approx(trained.score, rel=1e-5)
    assert energies.test(network)["test_rmse"] < 700  # about the values themselves, of 1,000 and more


def test_a_module_that_learns_more_is_judged_as_it_was_trained_or_not_at_all(clusters: Project) -> None:
    network = drawn(clusters)
    module = clusters.make_module(network)
    trained = clusters.fit(module, keep_weights=True)
    assert clusters.score(module) == pytest.approx(trained.score, rel=1e-6)
    with pytest.raises(ValueError, match=r"WithHead learns more than its network.*project\.score\(module\)"):
        clusters.score(network)


def test_a_head_is_carried_to_another_network(clusters: Project) -> None:
    networks = drawn(clusters), drawn(clusters, seed=1)
    modules = [clusters.make_module(network) for network in networks]
    before = [parameter.clone() for parameter in networks[1].parameters()]
    assert set(outside(modules[0], networks[0])) == {"head.weight", "head.bias"}
    carry_over(modules[0], networks[0], modules[1], networks[1])
    assert torch.equal(modules[0].head.weight, modules[1].head.weight)
    assert all(torch.equal(one, other) for one, other in zip(before, networks[1].parameters(), strict=True))


def test_weights_that_are_inherited_come_with_those_around_them(clusters: Project) -> None:
    with seeded(0):
        searchable = clusters.space.searchable(clusters.task)
        module = clusters.make_module(searchable)
    clusters.fit(module, callbacks=[ArchitectureSearch("random")])
    architecture = clusters.space.sample(torch.Generator().manual_seed(0))
    network = clusters.space.inherited(searchable.supernet, architecture, clusters.task)
    by_hand = WithHead(network, clusters.task)
    by_hand.head.load_state_dict(module.head.state_dict())
    estimate = InheritedEstimator(module, batches=0).estimate(architecture, Context.of(clusters))
    assert -estimate.score == pytest.approx(clusters.score(by_hand), rel=1e-6)
    with pytest.raises(ValueError, match="learns more than its network"):
        InheritedEstimator(searchable, batches=0).estimate(architecture, Context.of(clusters))


def test_few_shot_trains_and_judges_with_what_is_around_the_supernet(clusters: Project, energies: Project) -> None:
    assert all(torch.isfinite(torch.tensor(each.figures["val_loss"])) for each in few_shot(clusters, "layer0.heads"))
    (best, *_) = few_shot(energies, "layer0.heads")
    assert best.figures["val_rmse"] < 700


def test_a_loaded_module_keeps_the_scale_that_it_learned(energies: Project) -> None:
    module = energies.make_module(drawn(energies))
    assert isinstance(module, GraphRegression)
    module.mean.fill_(5.0)
    energies.score(module)
    assert module.mean.item() == 5.0


@pytest.mark.filterwarnings("ignore:.training_step. returned .None.")
def test_a_search_without_a_loss_finds_nothing(clusters: Project) -> None:
    project = clusters.replace(module=WithoutLoss)
    searchable = project.space.searchable(project.task)
    with pytest.raises(ValueError, match=r"WithoutLoss\.training_step returned no loss in a whole epoch"):
        project.fit(project.make_module(searchable), callbacks=[ArchitectureSearch("darts")])


def test_a_training_without_a_validation_has_no_score(clusters: Project) -> None:
    project = clusters.replace(trainer={**TRAINER, "check_val_every_n_epoch": 3})
    with pytest.raises(ValueError, match="ended after 4 steps without a validation"):
        project.train(drawn(project))


@pytest.mark.parametrize("arguments", [{"folder": 3}, {"monitor": 3}], ids=str)
def test_arguments_of_another_kind_are_named(clusters: Project, arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=f"{next(iter(arguments))} is the .*; got 3"):
        clusters.replace(**arguments)
