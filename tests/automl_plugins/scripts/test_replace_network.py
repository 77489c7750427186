"""A LightningModule that knows nothing of a search is searched, and trained with what was found."""

from __future__ import annotations

import copy
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from perceptron_space.data import WavesData
from perceptron_space.space import PerceptronSpace
from torch import nn

from automl_plugins import Task
from automl_plugins.cli import attached
from automl_plugins.scripts.infer_task import find_task
from automl_plugins.scripts.places import find_target
from automl_plugins.scripts.replace_network import ReplaceNetwork
from automl_plugins.search import ArchitectureSearch
from automl_plugins.supernets.searchable import Searchable

SPACE = PerceptronSpace(widest=4)
TASK = {"level": "pixel", "target": "regression", "in_channels": 3, "out_channels": 1}


class LitUser(pl.LightningModule):
    """Written by someone who never heard of us."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 7, 1), nn.ReLU(), nn.Conv2d(7, 1, 1))
        self.parts = nn.ModuleDict({"encoder": nn.ModuleList([nn.Identity()])})

    def training_step(self, batch: Any, batch_index: int) -> torch.Tensor:
        image, target = batch
        return nn.functional.mse_loss(self.net(image), target)

    def validation_step(self, batch: Any, batch_index: int) -> None:
        self.log("val_loss", self.training_step(batch, batch_index))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Unnamed(WavesData):
    """A datamodule as there are many: it has no `task`."""

    task = None  # type: ignore[assignment]


def trainer(*callbacks: pl.Callback, epochs: int = 1) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
    )


def fit(module: pl.LightningModule, **given: Any) -> pl.LightningModule:
    settings = {"target": "net", "make": SPACE.searchable, **given}
    trainer(ReplaceNetwork(**settings)).fit(module, datamodule=WavesData(images=16))
    return module


# The target.


@pytest.mark.parametrize(
    ("target", "parent", "name"),
    [
        ("net", "", "net"),
        ("model.net", "", "net"),
        ("net.2", "net", "2"),
        ("parts.encoder", "parts", "encoder"),
        ("model.parts.encoder.0", "parts.encoder", "0"),
    ],
)
def test_a_target_is_an_attribute_path_below_the_module(target: str, parent: str, name: str) -> None:
    module = LitUser()
    assert find_target(module, target) == (module.get_submodule(parent), name)


def test_a_module_called_model_comes_before_the_name_for_the_whole() -> None:
    module = LitUser()
    module.model = nn.ModuleDict({"net": nn.Identity()})
    assert find_target(module, "model.net") == (module.model, "net")


@pytest.mark.parametrize("target", ["nett", "model", "model.model.net", "parts.decoder", "", "training_step"])
def test_a_wrong_target_is_told_what_it_could_have_been(target: str) -> None:
    with pytest.raises(ValueError, match=f"target='{target}': LitUser has no such module.*all: net, parts, net.0"):
        find_target(LitUser(), target)


def test_the_nearest_target_is_named() -> None:
    with pytest.raises(ValueError, match="did you mean 'net'"):
        find_target(LitUser(), "nett")


# The task.


def test_the_datamodule_names_the_task_and_what_was_given_comes_over_it() -> None:
    assert find_task({}, WavesData()) == WavesData().task
    assert find_task({"out_channels": 2}, WavesData()).out_channels == 2
    assert find_task(TASK, None) == Task(**TASK)


def test_a_task_that_is_not_whole_is_told_what_is_missing() -> None:
    with pytest.raises(ValueError, match=r"there is no datamodule, and task.level, task.target, .* are not given"):
        find_task({}, None)
    with pytest.raises(ValueError, match=r"Unnamed has no `task`, and task.level is not given"):
        find_task({name: value for name, value in TASK.items() if name != "level"}, Unnamed())


# The replacement.


def test_the_network_is_replaced_and_trained() -> None:
    module = LitUser()
    torch.manual_seed(0)
    fresh = SPACE.supernet(WavesData().task).state_dict()
    torch.manual_seed(0)
    fit(module)
    assert isinstance(module.net, Searchable)
    trained = module.net.supernet.state_dict()
    assert any(not torch.equal(fresh[name], trained[name]) for name in fresh)


def test_the_network_that_was_found_takes_its_place() -> None:
    architecture = SPACE.sample(torch.Generator().manual_seed(3))
    module = fit(LitUser(), make=partial(SPACE.network, architecture))
    assert [type(layer) for layer in module.net] == [type(layer) for layer in SPACE.network(architecture, Task(**TASK))]


def test_a_second_trainer_goes_on_with_what_the_first_one_has_trained() -> None:
    architecture = SPACE.sample(torch.Generator().manual_seed(3))
    module = fit(LitUser(), make=partial(SPACE.network, architecture))
    for again in (module, copy.deepcopy(module)):
        trained = {name: value.clone() for name, value in again.net.state_dict().items()}
        callback = ReplaceNetwork("net", partial(SPACE.network, architecture))
        trainer(callback, epochs=0).fit(again, datamodule=WavesData(images=16))
        assert all(torch.equal(value, trained[name]) for name, value in again.net.state_dict().items())


@pytest.mark.parametrize("hook", ["setup", "configure_model"])
@pytest.mark.parametrize("anew", [True, False])
def test_a_network_that_is_made_after_init_is_replaced_too(hook: str, anew: bool) -> None:
    class Late(LitUser):
        def __init__(self) -> None:
            super().__init__()
            if not anew:
                del self.net

        def _make(self, stage: str | None = None) -> None:
            self.net = nn.Conv2d(3, 1, 1)

    setattr(Late, hook, Late._make)
    module = Late()
    replace = ReplaceNetwork("net", SPACE.searchable)
    search = ArchitectureSearch()
    trainer(replace, search).fit(module, datamodule=WavesData(images=16))
    assert isinstance(module.net, Searchable)
    assert search.searchables == {"net": module.net}
    assert search.steps > 0
    assert "configure_model" not in vars(module)


def test_a_network_that_is_made_anew_when_the_optimizers_are_is_told_so() -> None:
    class Later(LitUser):
        def configure_optimizers(self) -> torch.optim.Optimizer:
            self.net = nn.Conv2d(3, 1, 1)
            return super().configure_optimizers()

    with pytest.raises(ValueError, match="Later makes this network anew after its `configure_model`"):
        fit(Later())


def test_all_networks_of_a_list_and_all_names_of_one_are_replaced() -> None:
    class Several(LitUser):
        def __init__(self) -> None:
            super().__init__()
            self.nets = nn.ModuleList([nn.Conv2d(3, 1, 1) for _ in range(2)])
            self.first = self.nets[0]

        def training_step(self, batch: Any, batch_index: int) -> torch.Tensor:
            image, target = batch
            return sum(nn.functional.mse_loss(net(image), target) for net in (*self.nets, self.net))

    module = fit(Several(), target=["nets", "net"])
    assert all(isinstance(net, Searchable) for net in (*module.nets, module.net))
    assert module.first is module.nets[0] is not module.nets[1]


def test_an_optimizer_of_the_replaced_network_is_refused() -> None:
    class Early(LitUser):
        def __init__(self) -> None:
            super().__init__()
            self.kept = [torch.optim.SGD(self.parameters(), lr=0.1)]

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return self.kept[0]

    with pytest.raises(ValueError, match="an optimizer of Early holds parameters of the network that was replaced"):
        fit(Early())


def test_processes_that_would_be_changed_alone_are_refused() -> None:
    callback = ReplaceNetwork("net", SPACE.searchable)
    ours = trainer(callback)
    ours.strategy._start_method = "spawn"
    with pytest.raises(ValueError, match="use the strategy 'ddp' instead"):
        callback.setup(ours, LitUser(), "fit")


class Widths(nn.Sequential):
    """A network whose training reads what it says of itself."""

    classes = ("a", "b")

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 7, 1), nn.Conv2d(7, 1, 1))
        self.hidden = 7
        self.table = {"sizes": [3, 7]}
        self.weight = torch.zeros(2)

    @property
    def output_dim(self) -> int:
        return 3 * self.hidden

    @property
    def later(self) -> int:
        raise RuntimeError("not fitted yet")

    def encode(self) -> None: ...


def test_plain_attributes_that_a_project_reads_of_its_network_are_there() -> None:
    class LitReading(LitUser):
        def __init__(self) -> None:
            super().__init__()
            self.net = Widths()

        def training_step(self, batch: Any, batch_index: int) -> torch.Tensor:
            assert (self.net.output_dim, self.net.hidden, self.net.classes) == (21, 7, ("a", "b"))
            assert self.net.table == {"sizes": [3, 7]}
            return super().training_step(batch, batch_index)

    architecture = SPACE.sample(torch.Generator().manual_seed(3))
    for make in (SPACE.searchable, partial(SPACE.network, architecture)):
        module = fit(LitReading(), make=make)
        assert not isinstance(module.net, Widths)
        assert not any(hasattr(module.net, name) for name in ("encode", "weight", "later"))
        copy.deepcopy(module.net)


def test_what_cannot_be_there_is_told_with_the_cure() -> None:
    searchable = SPACE.searchable(Task(**TASK))
    with pytest.raises(AttributeError, match=r"a searchable has no attribute 'encode' of the network .* set it on"):
        searchable.encode()
    assert not hasattr(searchable, "encode")
    assert copy.deepcopy(searchable).logits.shape == searchable.logits.shape


# The entry points.


def test_lightning_is_given_nothing_unless_a_script_was_started_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(attached.VARIABLE, raising=False)
    assert attached.for_pytorch_lightning() == attached.for_lightning() == []


def test_the_callbacks_of_the_environment_are_on_every_new_trainer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    architecture = SPACE.sample(torch.Generator().manual_seed(1))
    (tmp_path / "architecture.json").write_text(architecture.to_json())
    space = {"class_path": "perceptron_space.space.PerceptronSpace", "init_args": {"widest": 4}}
    settings = {"target": "net", "space": space, "task": {}, "architecture": str(tmp_path / "architecture.json")}
    monkeypatch.setenv(attached.VARIABLE, json.dumps(settings))
    module = LitUser()
    trainer().fit(module, datamodule=WavesData(images=16))
    assert [type(layer) for layer in module.net] == [type(layer) for layer in SPACE.network(architecture, Task(**TASK))]
    with pytest.raises(RuntimeError, match="AUTOML_PLUGINS_LIGHTNING=lightning"):
        attached.for_lightning()


def test_asking_for_callbacks_leaves_the_environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(attached.VARIABLE, "{}")
    monkeypatch.delenv("AUTOML_PLUGINS_LIGHTNING", raising=False)
    with pytest.raises(RuntimeError, match="AUTOML_PLUGINS_LIGHTNING=lightning"):
        attached.for_lightning()
    assert "AUTOML_PLUGINS_LIGHTNING" not in os.environ


class LitCompiled(LitUser):
    """Compiles its network in `setup`, as a public template does with `compile: true`."""

    def setup(self, stage: str) -> None:
        self.net = torch.compile(self.net, backend="aot_eager")


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_network_that_is_compiled_after_it_was_replaced_is_the_same_one() -> None:
    module = fit(LitCompiled())
    assert isinstance(module.net._orig_mod, Searchable)
