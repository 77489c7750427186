"""A distribution of somebody else: installed by its entry points, proven by the contracts, used in all three ways."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from automl_plugins import ArchitectureSearch, SearchSpace, Task, registry
from automl_plugins.cli import main
from automl_plugins.estimators import Context, make_estimator
from automl_plugins.testing import EstimatorContract, SamplerContract, StrategyContract, SupernetContract

SOURCE = Path(__file__).parents[2] / "examples" / "third_party_plugin"
KINDS = {
    "spaces": "conv-chain",
    "strategies": "discretization-aware",
    "estimators": "snip",
    "samplers": "local-search",
}
TASK = Task("pixel", "regression", 2, 1)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the distribution is installed into, without a network and without touching the environment."""
    folder = tmp_path_factory.mktemp("third_party_plugin")
    # The build writes beside its sources.
    source = shutil.copytree(SOURCE, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "-qq")
    subprocess.run([sys.executable, "-m", "pip", "install", *offline, "--target", folder / "site", source], check=True)
    return folder / "site"


@pytest.fixture(autouse=True)
def _installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(site)
    registry._entries.cache_clear()
    yield
    registry._entries.cache_clear()


def images() -> DataLoader[Any]:
    inputs = torch.randn(8, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(inputs, inputs.mean(dim=1, keepdim=True)), batch_size=4)


class Images(pl.LightningDataModule):
    task = TASK

    def train_dataloader(self) -> DataLoader[Any]:
        return images()

    val_dataloader = test_dataloader = train_dataloader


class LitImages(pl.LightningModule):
    """A project's own module."""

    def __init__(self, net: nn.Module, task: Task | None = None) -> None:
        super().__init__()
        self.net = net

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return functional.mse_loss(self.net(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val_loss", self.training_step(batch, batch_idx))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-2)


def test_it_is_under_150_lines_with_its_entry_points() -> None:
    files = [SOURCE / "pyproject.toml", *SOURCE.rglob("conv_chain/*.py")]
    assert sum(len(path.read_text().splitlines()) for path in files) < 150


@pytest.mark.parametrize("group", KINDS)
def test_it_is_found_by_its_entry_points(group: str, site: Path) -> None:
    found = registry.load(group, KINDS[group])
    assert Path(sys.modules[found.__module__].__file__).is_relative_to(site)


class TestConvChainSpace(SupernetContract):
    def space(self) -> Any:
        return registry.load("spaces", "conv-chain")()

    def tasks(self) -> list[Task]:
        return [TASK, Task("pixel", "classes", 3, 4)]

    def loss(self, network: nn.Module, task: Task) -> Tensor:
        return network(torch.randn(2, task.in_channels, 5, 5)).square().mean()


class TestDiscretizationAware(StrategyContract):
    def strategy(self) -> Any:
        return registry.load("strategies", "discretization-aware")()

    def space(self, max_parameters: int | None) -> Any:
        return registry.load("spaces", "conv-chain")(layers=2, channels=4, max_parameters=max_parameters)

    def task(self) -> Task:
        return TASK

    def module(self, searchable: nn.Module) -> LitImages:
        return LitImages(searchable)

    def data(self) -> Images:
        return Images()


class TestSnip(EstimatorContract):
    def estimator(self) -> Any:
        return registry.load("estimators", "snip")()

    def context(self) -> Context:
        return Context(registry.load("spaces", "conv-chain")(), TASK)


class TestLocalSearchSampler(SamplerContract):
    def sampler(self, space: SearchSpace, seed: int) -> Any:
        return registry.load("samplers", "local-search")(space, seed)


def test_an_optuna_script_uses_its_space_its_sampler_and_its_estimator() -> None:
    space = registry.load("spaces", "conv-chain")()
    estimator = make_estimator("snip", space)

    def objective(trial: optuna.Trial) -> float:
        (estimate,) = estimator.estimate_all([space.suggest(trial)], Context(space, TASK))
        return estimate.score

    study = optuna.create_study(direction="maximize", sampler=registry.load("samplers", "local-search")(space))
    study.optimize(objective, n_trials=12)
    assert len({frozenset(trial.params.items()) for trial in study.trials}) == 12


def test_a_lightning_project_uses_its_strategy(tmp_path: Path) -> None:
    module = LitImages(registry.load("spaces", "conv-chain")().searchable(TASK))
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(
        max_epochs=2,
        enable_model_summary=False,
        accelerator="cpu",
        callbacks=[ArchitectureSearch("discretization-aware", search_data="training", learning_rate=0.1)],
        **quiet,
    )
    trainer.fit(module, Images())
    module.net = module.net.derive()
    assert isinstance(module.net, nn.Sequential)


FEW = ("num_train", "num_val", "num_test")
DATA = ("--data", "darcy-flow", *(text for name in FEW for text in (f"--data.{name}", "4")), "--data.resolution", "9")


def test_the_command_line_searches_its_space_with_its_sampler_its_estimator_and_its_strategy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    common = ("--space", "conv-chain", "--space.layers", "2", *DATA, "--trainer.max_epochs", "1")
    trials = ("--trials", "2", "--seeds", "1", "--finalists", "1", "--random_search", "false", "--references", "[]")
    assert main(["study", *common, *trials, "--sampler", "local-search", "--folder", "study"]) == 0
    evolution = {"population": "1", "tournament": "1", "proxy": "snip", "proxy_pool": "3"}
    sampler = ("--sampler", "evolution", *(text for key in evolution for text in (f"--sampler.{key}", evolution[key])))
    assert main(["study", *common, *trials, *sampler, "--folder", "with_estimator"]) == 0
    strategy = ("--search.strategy", "discretization-aware", "--search.strategy.weight", "0.5")
    assert main(["search", *common, *strategy, "--folder", "search"]) == 0
    assert "class_path: discretization-aware" in Path("search/config.yaml").read_text()
    assert '"space": "conv-chain"' in Path("search/architecture.json").read_text()


def test_the_command_line_lists_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in KINDS.values())
