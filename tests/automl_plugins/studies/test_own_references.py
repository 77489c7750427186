"""A user's own network in the race: a class or function that makes one of a task, by import path or as it is."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from perceptron_space.module import PixelRegression
from torch import nn

from automl_plugins import Task
from automl_plugins.cli import main
from automl_plugins.errors import StudyError
from automl_plugins.studies.study import Study

MakeStudy = Callable[..., Study]
OWN = """
from __future__ import annotations
import torch
from torch import nn
from automl_plugins import Task

class MyNet(nn.Sequential):
    def __init__(self, task: Task) -> None:
        super().__init__(nn.Conv2d(task.in_channels, 4, 1), nn.Tanh(), nn.Conv2d(4, task.out_channels, 1))

class Pooled(MyNet):
    levels = frozenset(("image",))

def narrow(task: Task) -> nn.Module:
    return nn.Conv2d(task.in_channels, task.out_channels, 1)

def unannotated(task):
    raise SystemExit("it was called")

def counts(task: Task) -> int:
    raise SystemExit("it was called")
"""


class Wide(nn.Sequential):
    def __init__(self, task: Task) -> None:
        super().__init__(nn.Conv2d(task.in_channels, 32, 1), nn.Tanh(), nn.Conv2d(32, task.out_channels, 1))


def straight(task: Task) -> nn.Module:
    return nn.Conv2d(task.in_channels, task.out_channels, 1)


def of_two(task: Task, width: int) -> nn.Module:
    raise AssertionError


def a_number(task: Task) -> int:
    return 3


def leaves(task: Task) -> nn.Module:
    sys.exit(3)


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of the user's own, in the folder that the command is given in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_networks.py").write_text(OWN)
    monkeypatch.delitem(sys.modules, "own_networks", raising=False)


def test_classes_and_functions_stand_beside_what_was_found(make_study: MakeStudy) -> None:
    study = make_study(
        trials=1, finalists=4, references=[Wide, straight, "own_networks.MyNet", "own_networks.narrow", Wide]
    )
    summary = study.run()
    assert [row.label for row in summary.rows] == ["search", "Wide", "straight", "MyNet", "narrow"]
    assert [row.params for row in summary.rows[1:]] == [161, 4, 21, 4]
    assert all(row.completed == 1 for row in summary.rows)
    kept = yaml.safe_load(study.folder.config.read_text())["references"]
    assert [name.rpartition(".")[2] for name in kept] == ["Wide", "straight", "MyNet", "narrow"]


def test_those_of_one_name_are_told_apart_by_their_modules(make_study: MakeStudy) -> None:
    other = type("MyNet", (Wide,), {"__module__": "another"})
    labels = [each.label for each in make_study(references=[other, "own_networks.MyNet"]).references]
    assert labels == ["another.MyNet", "own_networks.MyNet"]


def test_the_command_line_takes_them_and_shows_and_evaluates_a_winner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {
        "space": {"class_path": "perceptron_space.space.PerceptronSpace"},
        "data": {"class_path": "perceptron_space.data.WavesData"},
        "module": {"class_path": "perceptron_space.module.PixelRegression"},
        "references": ["own_networks.MyNet"],
        "trainer": {"max_epochs": 1, "accelerator": "cpu"},
        "trials": 0,
        "seeds": 1,
    }
    Path("mine.yaml").write_text(yaml.safe_dump(settings))
    assert main(["study", "--config", "mine.yaml"]) == 0
    assert "the winner by mean validation is MyNet, made by hand" in capsys.readouterr().out
    assert json.loads(Path("runs/mine/winner.json").read_text())["reference"] == "own_networks.MyNet"
    assert main(["evaluate", "runs/mine", "--seeds", "1", "--references", "[own_networks.narrow]"]) == 0
    assert "narrow" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "os.system",
            "'os.system': it is no Module; a reference is the import path of a class of torch.nn.Module, or ",
        ),
        ("subprocess.Popen", "'subprocess.Popen': it is no Module"),
        ("own_networks.unannotated", "it is a function that does not say that it makes a network"),
        ("own_networks.counts", "it is a function that does not say that it makes a network"),
        ("own_networks.MyNett", "own_networks has no 'MyNett'; did you mean 'MyNet'?"),
        ("no_networks.MyNet", "'no_networks.MyNet': no_networks cannot be imported"),
    ],
)
@pytest.mark.parametrize("place", ["config", "winner"])
def test_nothing_is_called_that_does_not_say_that_it_makes_networks(
    name: str, told: str, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["study", "--space", "agnn", "--data", "cluster", "--references", f"[{name}]"]
    if place == "winner":
        Path("run").mkdir()
        Path("run/winner.json").write_text(json.dumps({"reference": name}))
        Path("run/config.yaml").write_text("space: agnn\ndata: cluster\ntrainer: {max_epochs: 1}\n")
        command = ["evaluate", "run"]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1
    assert "own_networks" not in sys.modules


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["os.system"], "'os.system' is no class of nn.Module, nor a function that is annotated to return one"),
        (["own_networks.unannotated"], "nor a function that is annotated to return one"),
        (["own_networks.None_"], "'own_networks.None_' cannot be imported: AttributeError"),
        ([lambda task: Wide(task)], r"is no name; give a registered one, or a class or function .* my_package\.MyNet"),
        ([Wide(Task("pixel", "regression", 3, 1))], "is no name; give a registered one"),
        ([3], "3 is no name"),
        (Wide, "references is a list of names, classes or functions"),
    ],
)
def test_so_in_python_where_they_are_named(make_study: MakeStudy, given: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told) as refusal:
        make_study(references=given)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("own_networks.Pooled", "Pooled is for the level 'image'; the task's is 'pixel'"),
        (a_number, "it makes a int, which is no nn.Module"),
        (leaves, r"it asked to end the process: sys.exit\(3\)"),
        (of_two, "missing 1 required positional argument: 'width'"),
        (PixelRegression, "missing 1 required positional argument: 'task'"),
    ],
)
def test_what_makes_no_network_for_the_task_is_one_line_before_anything_is_trained(
    make_study: MakeStudy, given: Any, told: str
) -> None:
    study = make_study(references=[given])
    with pytest.raises(StudyError, match=told) as refused:
        study.prepare()
    assert "\n" not in str(refused.value)
    assert not study.folder.path.exists()
