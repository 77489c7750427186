"""A project is what a training needs but the network: plain to make, frozen, and ready for other processes."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from perceptron_space.data import WavesData
from perceptron_space.module import PixelRegression
from perceptron_space.space import PerceptronSpace
from torch import nn

import automl_plugins
from automl_plugins import Project, Task
from automl_plugins.errors import StudyError
from gnn_space import AGNNSpace
from gnn_space.data import ClusterData


class ManyReads(WavesData):
    def __init__(self) -> None:
        super().__init__()
        self.setups: list[str | None] = []

    def setup(self, stage: str | None = None) -> None:
        self.setups.append(stage)
        super().setup(stage)


class NoTask(pl.LightningDataModule):
    def setup(self, stage: str | None = None) -> None:
        WavesData().setup(stage)


class Accuracy(PixelRegression):
    monitor = "val_accuracy"
    direction = "maximize"

    def validation_step(self, batch: Any, batch_index: int) -> None:
        self.log("val_accuracy", 0.75 if batch_index == 0 else 0.25)


def project(**arguments: Any) -> Project:
    given = {"module": PixelRegression, "trainer": {"max_epochs": 2, "accelerator": "cpu"}, **arguments}
    return Project(given.pop("space", PerceptronSpace()), given.pop("data", WavesData()), **given)


def drawn(project: Project) -> nn.Module:
    return project.build(project.space.sample(np.random.default_rng(0)))


def weights(network: nn.Module) -> torch.Tensor:
    return torch.cat([each.detach().flatten() for each in network.parameters()])


def test_one_line_makes_one_and_task_module_and_metric_follow_from_the_data() -> None:
    made = Project(AGNNSpace(layers=2), ClusterData(3, 2, 2), trainer={"accelerator": "cpu"})
    assert made.task.level == "node"
    assert made.module.__name__ == "NodeClassification"
    assert (made.monitor, made.direction) == ("val_accuracy", "maximize")
    assert made.device == torch.device("cpu")
    assert made.folder == Path("runs/ClusterData")


def test_nothing_is_read_before_it_is_needed_and_then_once() -> None:
    data = ManyReads()
    made = project(data=data)
    assert data.setups == []
    assert made.task == WavesData().task
    made.read_data()
    assert data.setups == ["fit", "test"]
    made.replace(folder="elsewhere").read_data()
    assert data.setups == ["fit", "test"]
    made.replace(seed=1).read_data()
    assert data.setups == ["fit", "test"] * 2


def test_what_is_given_comes_before_what_data_and_module_say() -> None:
    task = Task("pixel", "regression", in_channels=3, out_channels=2)
    made = project(data=NoTask(), task=task, module=Accuracy, monitor="loss", direction="minimize")
    assert (made.task, made.monitor, made.direction, made.sign) == (task, "loss", "minimize", -1.0)
    assert (project(module=Accuracy).monitor, project(module=Accuracy).sign) == ("val_accuracy", 1.0)


def test_it_is_frozen_and_replace_makes_another() -> None:
    made = project(seed=3)
    for name in ("seed", "space", "task", "anything"):
        with pytest.raises(AttributeError, match=rf"project\.replace\({name}=\.\.\.\)"):
            setattr(made, name, 4)
    with pytest.raises(AttributeError, match="does not change"):
        del made.seed
    other = made.replace(seed=4, trainer={"max_epochs": 7})
    assert (made.seed, made.options()["max_epochs"]) == (3, 2)
    assert (other.seed, other.options()["max_epochs"], other.module) == (4, 7, PixelRegression)
    assert other.space is made.space


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"space": PerceptronSpace},
            TypeError,
            "space is a search space, .*; got the class Per",
        ),
        ({"data": [1]}, TypeError, "data is a LightningDataModule"),
        ({"module": nn.Linear(1, 1)}, TypeError, "module makes a LightningModule"),
        ({"module": "dice"}, TypeError, "module is a class or function"),
        ({"task": "node"}, TypeError, "task is an automl_plugins.Task"),
        ({"trainer": 5}, TypeError, "trainer is a mapping"),
        ({"trainer": {"max_epoch": 5}}, ValueError, "did you mean 'max_epochs'"),
        ({"trainer": {"accumulate_grad_batches": 0}}, ValueError, "at least 1; got 0"),
        ({"direction": "up"}, ValueError, "minimize or maximize; got 'up'"),
        ({"seed": -1}, ValueError, "seed is at least 0"),
        ({"seed": 2**32}, ValueError, "seed is at most"),
    ],
)
def test_a_wrong_argument_is_refused_when_it_is_made(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        project(**arguments)


def test_data_without_a_task_and_modules_without_a_metric_are_refused_with_the_cure() -> None:
    with pytest.raises(StudyError, match="NoTask has no `task`; give"):
        _ = project(data=NoTask()).task
    with pytest.raises(ValueError, match="task is of level 'pixel'"):
        _ = project(space=AGNNSpace(layers=1)).task
    with pytest.raises(StudyError, match="does not say what to select by"):
        _ = project(module=lambda network, task: nn.Identity()).monitor
    with pytest.raises(StudyError, match="makes a Identity, which is no LightningModule"):
        project(module=lambda network, task: nn.Identity()).make_module(nn.Identity())


def test_another_process_reads_the_data_for_itself() -> None:
    data = ManyReads()
    made = project(data=data)
    _ = made.task, made.device
    sent: Project = pickle.loads(pickle.dumps(made))
    assert isinstance(sent.data, ManyReads)
    sent.read_data()
    assert sent.data.setups == ["fit", "test"] * 2
    assert sent.task == made.task
    assert sent.train(drawn(sent), epochs=1).score == made.train(drawn(made), epochs=1).score


def test_equal_seeds_give_equal_networks_and_trainings_and_move_no_generator() -> None:
    made = project()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second = drawn(made), drawn(made)
    results = [made.train(network, epochs=1) for network in (first, second)]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(weights(first), weights(second))
    assert results[0].score == results[1].score
    other = made.build(made.space.sample(np.random.default_rng(0)), seed=9)
    assert not torch.equal(weights(other), weights(drawn(made)))


def test_a_training_ends_with_the_weights_that_its_score_is_of(capfd: pytest.CaptureFixture[str]) -> None:
    made = project()
    network = drawn(made)
    untrained = made.score(network)
    result = made.train(network)
    assert result.score < untrained
    assert made.score(network) == pytest.approx(result.score, rel=1e-6)
    assert made.validate(network)["val_loss"] == made.score(network)
    assert made.test(network).keys() == {"test_loss"}
    assert capfd.readouterr() == ("", "")


def test_a_training_without_an_end_is_refused_and_so_is_a_metric_that_is_not_logged() -> None:
    endless = project(trainer={"accelerator": "cpu"})
    with pytest.raises(ValueError, match=r"trainer\.max_epochs is missing"):
        endless.train(drawn(endless))
    with pytest.raises(ValueError, match="epochs is at least 1; got 0"):
        endless.train(drawn(endless), epochs=0)
    assert math.isfinite(endless.train(drawn(endless), epochs=1).score)
    unlogged = project(monitor="val_los")
    with pytest.raises(ValueError, match="did you mean 'val_loss'"):
        unlogged.score(drawn(unlogged))


def test_a_score_that_is_no_number_is_nan_and_never_infinite() -> None:
    made = project()
    network = drawn(made)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(math.inf)
    assert math.isnan(made.score(network))


def test_it_hands_out_batches_and_the_calls_of_a_network() -> None:
    made = project()
    images, targets = made.batches()[0]
    assert images.shape == (8, 3, *images.shape[2:])
    assert len(made.batches(5)) == 2  # 16 training images in batches of 8
    assert [torch.equal(*pair) for pair in zip(made.batches()[0], (images, targets), strict=True)] == [True, True]
    (call,) = made.calls(drawn(made))
    assert torch.equal(call.args[0], made.batches(split="val")[0][0])
    with pytest.raises(ValueError, match="no tests_dataloader; splits: train, val, test"):
        made.batches(split="tests")


def test_the_face_of_the_package_is_light_until_it_is_asked_for_more() -> None:
    script = (
        "import sys, automl_plugins\n"
        "print([name for name in ('torch', 'pytorch_lightning', 'lightning', 'optuna') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"
    assert automl_plugins.Project is Project
    assert [getattr(automl_plugins, name).__name__ for name in automl_plugins.__all__] == automl_plugins.__all__
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = automl_plugins.nothing
