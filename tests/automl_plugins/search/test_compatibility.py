"""What users' projects have, and a search must live with."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from search_project import TASK, LitUser, UserData, differing, loader, samples, state
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torch_geometric.data import Data

from automl_plugins.errors import DivergedError
from automl_plugins.search import ArchitectureSearch
from automl_plugins.strategies import SingleLevel
from gnn_space import EGNASSpace
from gnn_space.data import ClusterData
from gnn_space.data.single import SingleGraphData
from gnn_space.modules import NodeClassification


def search(**given: Any) -> ArchitectureSearch:
    return ArchitectureSearch(**{"learning_rate": 0.1, **given})


def fitted(trainer: pl.Trainer, module: LitUser, **data: Any) -> LitUser:
    """Fit, and check that logits and weights were learned, each by its own optimizer."""
    before = state(module)
    held = []

    class Watch(pl.Callback):
        def on_before_optimizer_step(self, trainer: pl.Trainer, module: LitUser, optimizer: Any) -> None:
            logits = [each for group in optimizer.param_groups for each in group["params"] if each.shape == (4, 2)]
            held.extend(each.grad for each in logits)

    trainer.callbacks.append(Watch())
    trainer.fit(module, **(data or {"datamodule": UserData()}))
    moved = differing(before, state(module))
    assert "net.logits" in moved
    assert "net.supernet.output.weight" in moved
    assert all(grad is None for grad in held), "the user's optimizers never see a gradient of the logits"
    return module


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_precisions(trainer: Callable[..., pl.Trainer], precision: str) -> None:
    module = fitted(trainer(search(), precision=precision), LitUser())
    assert module.net.logits.dtype == (torch.float64 if precision == "64-true" else torch.float32)
    assert module.net.logits.isfinite().all()


def half() -> pl.plugins.MixedPrecision:
    """Lightning makes none on the CPU by itself."""
    return pl.plugins.MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=2.0**10))


class PlainDescent(SingleLevel):
    """Adam does not notice how large a gradient is."""

    def optimizer(self, logits: Any, **_: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(logits, lr=0.5)


def test_losses_in_half_precision_are_scaled_for_the_logits_and_scaled_back(
    trainer: Callable[..., pl.Trainer],
) -> None:
    ends = []
    for options in ({}, {"plugins": [half()]}):
        callback = search(strategy=PlainDescent())
        pl.seed_everything(1, verbose=False)
        ends.append(fitted(trainer(callback, **options), LitUser()).net.logits)
    assert callback.run is not None
    assert callback.run.learner is not None
    assert callback.run.learner.scaler is not None
    assert callback.run.learner.scaler.get_scale() > 1
    torch.testing.assert_close(*ends, atol=2e-3, rtol=2e-2)


@pytest.mark.parametrize("accumulate", [2, 3])
def test_gradient_accumulation_and_clipping(trainer: Callable[..., pl.Trainer], accumulate: int) -> None:
    callback = search()
    run = trainer(callback, accumulate_grad_batches=accumulate, gradient_clip_val=0.1)
    fitted(run, LitUser())
    data = -(-2 // accumulate)  # half of four batches, the last step of an epoch with what is left
    assert callback.steps == run.global_step == 2 * data


class LitPlateau(LitUser):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=1e9)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "val_loss"}}


class LitStepwise(LitUser):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def test_a_scheduler_that_waits_for_a_plateau(trainer: Callable[..., pl.Trainer]) -> None:
    run = trainer(search(), max_epochs=4)
    fitted(run, LitPlateau())
    assert run.optimizers[0].param_groups[0]["lr"] < 0.01


def test_a_scheduler_that_moves_at_every_step_counts_the_users_steps_alone(trainer: Callable[..., pl.Trainer]) -> None:
    run = trainer(search())
    fitted(run, LitStepwise())
    assert run.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.01 * 0.5**run.global_step)


class LitManual(LitUser):
    """Two optimizers, stepped by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        loss = functional.mse_loss(self(batch[0]), batch[1])
        for optimizer in self.optimizers():
            optimizer.zero_grad()
        self.manual_backward(loss)
        for optimizer in self.optimizers():
            optimizer.step()

    def on_train_epoch_end(self) -> None:
        pass

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(part.parameters(), lr=0.1, weight_decay=0.1) for part in (self.stem, self.net)]


class LitManualAsked(LitManual):
    def architecture_loss(self, batch: Any) -> Tensor:
        self.log("asked", 1.0)
        return functional.mse_loss(self(batch[0]), batch[1])


def test_manual_optimization_with_two_optimizers(trainer: Callable[..., pl.Trainer]) -> None:
    callback = search()
    run = trainer(callback)
    fitted(run, LitManualAsked())
    assert callback.steps == 4
    assert "asked" not in run.callback_metrics


def test_manual_optimization_without_a_loss_to_ask_for_is_refused(trainer: Callable[..., pl.Trainer]) -> None:
    with pytest.raises(ValueError, match=r"LitManual optimizes manually.*add a method `architecture_loss"):
        trainer(search()).fit(LitManual(), datamodule=UserData())


@pytest.mark.parametrize("first", [True, False])
def test_an_average_of_weights_is_not_one_of_the_logits(trainer: Callable[..., pl.Trainer], first: bool) -> None:
    alone, averaged = LitUser(), LitUser()
    both = [pl.callbacks.EMAWeightAveraging(decay=0.5), search()]
    for module, callbacks in ((alone, [search()]), (averaged, both if first else both[::-1])):
        pl.seed_everything(1, verbose=False)
        fitted(trainer(*callbacks), module)
    moved = differing(state(alone), state(averaged))
    assert "net.supernet.output.weight" in moved
    assert "net.logits" not in moved


def test_stochastic_weight_averaging_and_its_epoch_for_batch_norm(trainer: Callable[..., pl.Trainer]) -> None:
    ends: list[Tensor] = []

    class Watch(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, module: LitUser) -> None:
            ends.append(module.net.logits.detach().clone())

    callback = search()
    averaging = pl.callbacks.StochasticWeightAveraging(swa_lrs=0.05, swa_epoch_start=1, annealing_epochs=1)
    module = fitted(trainer(callback, Watch(), averaging, max_epochs=3), LitUser())
    assert len(ends) == 4, "an epoch was appended"
    assert callback.steps == 3 * 2, "in which the architecture stays"
    assert torch.equal(module.net.logits, ends[2])
    assert not torch.equal(ends[1], ends[2])


def test_bare_loaders(trainer: Callable[..., pl.Trainer]) -> None:
    fitted(
        trainer(search(search_data=loader(8, seed=3))),
        LitUser(),
        train_dataloaders=loader(16, shuffle=True),
        val_dataloaders=loader(8),
    )


def test_a_frozen_part(trainer: Callable[..., pl.Trainer]) -> None:
    module = LitUser()
    module.stem.requires_grad_(False)
    before = state(module.stem)
    fitted(trainer(search()), module)
    assert all(name.startswith("1.") for name in differing(before, state(module.stem))), "BatchNorm's statistics"
    assert not any(parameter.requires_grad for parameter in module.stem.parameters())


# torch's compiler asks intermediate tensors for their gradients, and steps aside where noise is drawn.
@pytest.mark.filterwarnings("ignore:Dynamo does not know how to trace")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("strategy", ["darts", "gdas"])
def test_compiled_parts(trainer: Callable[..., pl.Trainer], strategy: str) -> None:
    ends = []
    for compiled in (False, True):
        module = LitUser()
        if compiled:
            module.net = torch.compile(module.net, backend="aot_eager")
        pl.seed_everything(1, verbose=False)
        trainer(search(strategy=strategy)).fit(module, datamodule=UserData())
        ends.append(module.net.logits)
        assert isinstance(module.net.derive(), nn.Module)
    torch.testing.assert_close(*ends)


@pytest.mark.parametrize(
    "limit", [{"max_epochs": -1, "max_steps": 3}, {"max_epochs": 1}, {"max_epochs": 5, "max_steps": 3}]
)
def test_limits_of_steps_and_of_epochs(trainer: Callable[..., pl.Trainer], limit: dict[str, int]) -> None:
    callback = search(strategy="snas")
    module = LitUser()
    trainer(callback, **limit).fit(module, datamodule=UserData())
    assert callback.steps == limit.get("max_steps", 4)
    last = {3: 1 - (1 - 0.03) * 2 / 3, 4: 1 - (1 - 0.03) * 3 / 4}[callback.steps]
    assert module.net.relaxation.temperature == pytest.approx(last)


def test_validation_in_mid_epoch(trainer: Callable[..., pl.Trainer]) -> None:
    fitted(trainer(search(strategy="gdas"), val_check_interval=1), LitUser())


class LitTwo(LitUser):
    """Two searchables, one of them in a part."""

    def __init__(self) -> None:
        super().__init__()
        from perceptron_space.space import PerceptronSpace

        self.head = nn.Sequential(PerceptronSpace(4).searchable(TASK, seed=1))

    def forward(self, image: Tensor) -> Tensor:
        return self.net(self.stem(image)) + self.head(image)


def test_several_searchables(trainer: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    module = LitTwo()
    before = state(module)
    callback = search(path=tmp_path / "found.json")
    run = trainer(callback)
    run.fit(module, datamodule=UserData())
    assert list(callback.searchables) == ["net", "head.0"]
    assert {"net.logits", "head.0.logits"} <= set(differing(before, state(module)))
    assert {"search_entropy_net", "search_entropy_head.0"} <= set(run.callback_metrics)
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["found-head.0.json", "found-net.json"]


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`")
def test_a_step_that_skips_its_batch(trainer: Callable[..., pl.Trainer]) -> None:
    class LitSkipping(LitUser):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
            return None if batch_idx == 0 else super().training_step(batch, batch_idx)

    fitted(trainer(search()), LitSkipping())


def test_a_step_that_takes_the_batch_alone_and_gives_a_dict(trainer: Callable[..., pl.Trainer]) -> None:
    class LitDict(LitUser):
        def training_step(self, batch: Any) -> dict[str, Tensor]:  # type: ignore[override]
            return {"loss": super().training_step(batch, 0)}

    fitted(trainer(search()), LitDict())


def test_a_gradient_that_is_not_finite_is_not_taken(trainer: Callable[..., pl.Trainer]) -> None:
    class LitBroken(LitUser):
        def architecture_loss(self, batch: Any) -> Tensor:
            return self(batch[0]).mean() * (float("nan") if self.trainer.global_step == 1 else 1.0)

    module = LitBroken()
    with pytest.warns(UserWarning, match="gradient of the architecture logits is not finite"):
        trainer(search()).fit(module, datamodule=UserData())
    assert module.net.logits.isfinite().all()


@pytest.mark.filterwarnings("ignore:Trying to infer the `batch_size`")
def test_a_step_that_changes_its_batch(trainer: Callable[..., pl.Trainer]) -> None:
    class LitDict(LitUser):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            batch["pair"].append("seen")
            assert batch["pair"].count("seen") == 1
            return super().training_step(batch["pair"][:2], batch_idx)

    def pairs(batch: list[Any]) -> dict[str, Any]:
        return {"pair": [torch.stack(part) for part in zip(*batch, strict=True)]}

    data = DataLoader(samples(8, 1), 4, collate_fn=pairs)
    module = LitDict()
    run = trainer(search(strategy="single-level"), max_epochs=1)
    run.fit(module, data, loader(8))
    assert module.seen == 2


@pytest.mark.parametrize("options", [{"fast_dev_run": True}, {"overfit_batches": 1}, {"limit_train_batches": 1}])
@pytest.mark.filterwarnings("ignore:You requested to overfit but enabled")
def test_short_runs(trainer: Callable[..., pl.Trainer], options: dict[str, Any]) -> None:
    fitted(trainer(search(), **options), LitUser())


def test_the_callback_can_be_sent_to_other_processes() -> None:
    callback = pickle.loads(pickle.dumps(search(strategy="random", search_data=loader(8))))
    assert callback.options.learning_rate == 0.1


def graph_module(task: Any) -> NodeClassification:
    space = EGNASSpace(cells=1, nodes=1, node_channels=4, edge_channels=2)
    return NodeClassification(space.searchable(task), task)


def test_batches_of_graphs(trainer: Callable[..., pl.Trainer]) -> None:
    data = ClusterData(6, 2, 2, batch_size=2)
    module = graph_module(data.task)
    before = module.network.logits.detach().clone()
    callback = search()
    trainer(callback).fit(module, datamodule=data)
    assert callback.run is not None
    assert callback.run.maker.batches is not None
    assert callback.run.maker.batches.samples == 3, "half of the graphs are held out"
    assert not torch.equal(before, module.network.logits)


class Ring(SingleGraphData):
    """Ten nodes, eight of which are trained on."""

    def _read(self) -> Data:
        node = torch.arange(10)
        masks = {"train_mask": node < 8, "val_mask": node == 8, "test_mask": node == 9}
        edge_index = torch.stack([node, (node + 1) % 10])
        return Data(x=torch.rand(10, 3), edge_index=edge_index, y=node % 2, **masks)


def test_one_graph(trainer: Callable[..., pl.Trainer]) -> None:
    data = Ring(steps_per_epoch=2, normalize_features=False, sparse_features=False, seed=0)
    masks: list[Tensor] = []

    class Node(NodeClassification):
        def training_step(self, batch: Any, batch_index: int) -> Tensor:
            masks.append(batch.train_mask)
            return super().training_step(batch, batch_index)

    space = EGNASSpace(cells=1, nodes=1, node_channels=4, edge_channels=2)
    trainer(search(), max_epochs=1).fit(Node(space.searchable(data.task), data.task), datamodule=data)
    searched, trained = masks[:2]
    assert not (searched & trained).any()
    assert torch.equal(searched | trained, next(iter(data.train_dataloader())).train_mask)


LIGHTNING = """
import sys
sys.path[:0] = sys.argv[1:3]
import {first}
import torch, lightning.pytorch as pl
from torch.utils.data import DataLoader
from automl_plugins.training.lightning import DISTRIBUTION
from automl_plugins.search import ArchitectureSearch
sys.modules["pytorch_lightning"] = pl  # the project is a copy of ours, built on the other distribution
from search_project import LitUser, UserData, make_trainer
module = LitUser()
before = module.net.logits.detach().clone()
assert type(module).__mro__[1].__module__.startswith("lightning.")
trainer = make_trainer(sys.argv[3], ArchitectureSearch(learning_rate=0.1))
trainer.fit(module, datamodule=UserData())
print(DISTRIBUTION, float(trainer.callback_metrics["seen"]), torch.equal(before, module.net.logits))
"""


@pytest.mark.parametrize(
    ("first", "distribution"), [("lightning.pytorch", "lightning"), ("pytorch_lightning", "pytorch_lightning")]
)
def test_a_project_on_the_other_distribution_of_lightning(tmp_path: Path, first: str, distribution: str) -> None:
    pytest.importorskip("lightning")
    here = Path(__file__).parent
    ran = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            LIGHTNING.format(first=first),
            here,
            here.parents[1] / "third_party",
            tmp_path,
        ],
        env={name: value for name, value in os.environ.items() if name != "AUTOML_PLUGINS_LIGHTNING"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.split() == [distribution, "4.0", "False"], ran.stderr


def test_a_search_that_has_ended_can_be_copied_and_sent_to_another_process(trainer: Callable[..., pl.Trainer]) -> None:
    callback = search()
    trainer(callback).fit(LitUser(), datamodule=UserData())
    for other in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):
        assert other.steps == callback.steps > 0
        trainer(other).fit(LitUser(), datamodule=UserData())


def test_a_search_that_has_ended_may_be_validated_by_another_trainer(trainer: Callable[..., pl.Trainer]) -> None:
    callback, module = search(strategy="gdas"), LitUser()
    trainer(callback).fit(module, datamodule=UserData())
    (before,) = trainer(callback).validate(module, datamodule=UserData(), verbose=False)
    with torch.no_grad():
        module.stem[0].weight.fill_(float("nan"))
    with pytest.raises(DivergedError, match="outputs in validation are not finite"):
        trainer(callback).validate(module, datamodule=UserData(), verbose=False)
    assert before["val_loss"] > 0
