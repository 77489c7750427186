"""Every mistake is told in one line that names the key, before data are read or a folder is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from automl_plugins.cli import main

VALID = """
space: {class_path: agnn, init_args: {layers: 1}}
data: {class_path: cluster, init_args: {num_train: 4, num_val: 2, num_test: 2}}
trials: 1
trainer: {max_epochs: 1}
"""

FILES = {
    "valid.yaml": VALID,
    "broken.yaml": "space: [agnn\n",
    "list.yaml": "- agnn\n",
    "nodata.yaml": "space: agnn\n",
    "unknown.yaml": VALID + "epochs: 3\n",
    "data.yaml": VALID.replace("num_train", "batchsize"),
    "type.yaml": VALID.replace("layers: 1", "layers: [1]"),
    "sampler.yaml": VALID + "sampler: {class_path: TPESampler, init_args: {n_startup: 3}}\n",
    "empty.json": "{}",
    "other.json": json.dumps({"space": "agn", "version": 1, "choices": {}}),
    "old.json": json.dumps({"space": "agnn", "version": 0, "choices": {}}),
    "choice.json": json.dumps({"space": "agnn", "version": 2, "choices": {"layer0.atention": "gat"}}),
    "text.json": "nothing",
}


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)

    def read(*_: object) -> None:
        raise AssertionError("the data were read")

    for hook in ("_load", "_download"):
        monkeypatch.setattr(f"gnn_space.data.block_models.BlockModelData.{hook}", read)


def line(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    before = sorted(Path.cwd().iterdir())
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    assert sorted(Path.cwd().iterdir()) == before, "something was written"
    return captured.err.strip()


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        # keys
        ("--trails 3", ["trails=3", "'trials'"]),
        ("--confg x.yaml", ["confg='x.yaml'", "'config'"]),
        ("--space.layrs 2", ["space.layrs=2", "'layers'"]),
        ("--space.init_args.layrs 2", ["space.init_args.layrs=2", "'layers'"]),
        ("--data.batchsize 2", ["data.batchsize=2", "'batch_size'"]),
        ("--trainer.max_epoch 3", ["trainer.max_epoch=3", "'max_epochs'"]),
        ("--sampler.n_startup 3", ["sampler.n_startup=3", "'n_startup_trials'"]),
        ("--module NodeClassification --module.rate 1", ["module.rate=1", "learning_rate"]),
        ("--module NodeClassification --module.network 1", ["module.network=1"]),
        ("--task.level node", ["task.target is missing", "classes"]),
        ("--trials", ["--trials needs a value"]),
        ("surplus", ["'surplus'"]),
        # types
        ("--trials many", ["trials is an integer", "'many'"]),
        ("--trials 2.5", ["trials is an integer", "2.5"]),
        ("--trials true", ["trials is an integer", "True"]),
        ("--space.dropout high", ["space.dropout is a number", "'high'"]),
        ("--random_search perhaps", ["random_search is true or false", "'perhaps'"]),
        ("--direction up", ["direction is one of minimize, maximize", "'up'"]),
        ("--references gcn", ["references is a list", "'gcn'; write [gcn]"]),
        ("--trainer.max_epochs many", ["trainer.max_epochs is an integer", "'many'"]),
        ("--trainer 3", ["trainer is a mapping", "3"]),
        ("--sampler.n_startup_trials many", ["sampler.n_startup_trials is an integer", "'many'"]),
        # ranges
        ("--trials -1", ["trials is at least 0", "-1"]),
        ("--seeds 0", ["seeds is at least 1", "0"]),
        ("--space.layers 0", ["space.layers is at least 1", "0"]),
        ("--space.layers 1000000", ["space.layers is at most 200", "1000000"]),
        ("--space egnas --space.nodes 1000000", ["space.nodes is at most 50", "1000000"]),
        ("--space auto-deeplab --space.layers 1000000", ["space.layers is at most 100", "1000000"]),
        ("--space.dropout .nan", ["space.dropout is a number, and finite", "nan"]),
        ("--seed 4294967296", ["seed is at most 4,293,967,2"]),
        ("--trainer.max_epochs -1", ["trainer.max_epochs=-1 never ends"]),
        ("--space.dropout 1.5", ["space.dropout is at least 0 and less than 1", "1.5"]),
        ('--limits {"params":-1}', ["limits.params is above 0", "-1"]),
        ('--limits {"memory":1}', ["limits: there is no figure 'memory'", "'memory_mib'"]),
        ("--space.max_parameters 0", ["space.max_parameters is at least 1", "0"]),
        ("--data.batch_size 0", ["data.batch_size is at least 1", "0"]),
        (
            "--module NodeClassification --module.learning_rate -1",
            ["module.learning_rate is a number greater than 0", "-1"],
        ),
        ("--task.level nod --task.target classes --task.in_channels 1 --task.out_channels 2", ["task.level", "'nod'"]),
        # names
        ("--space agn", ["space='agn'", "'agnn'"]),
        ("--space AGNSpace", ["space='AGNSpace'", "'AGNNSpace'"]),
        ("--space gnn_space.agnn.AGNSpace", ["gnn_space.agnn has no 'AGNSpace'", "'AGNNSpace'"]),
        ("--space no_space.agnn.AGNNSpace", ["space='no_space.agnn.AGNNSpace'", "No module named 'no_space'"]),
        ("--space gnn_space.data.ClusterData", ["space='gnn_space.data.ClusterData'", "no SearchSpace"]),
        ("--data clustr", ["data='clustr'", "'cluster'"]),
        ("--module NodeClasification", ["module='NodeClasification'", "'NodeClassification'"]),
        ("--sampler TPESamplr", ["sampler='TPESamplr'", "'TPESampler'"]),
        ("--pruner MedianPrunr", ["pruner='MedianPrunr'", "'MedianPruner'"]),
        ("--references [gcm]", ["references", "'gcm'", "'gcn'"]),
        ("--trainer.callbacks+=EarlyStoping", ["trainer.callbacks[0]='EarlyStoping'", "'EarlyStopping'"]),
        ("--trainer.accelerator gpuu", ["trainer", "accelerator='gpuu'"]),
        ("--trainer.strategy ddp", ["trainer.strategy='ddp'", "ddp_spawn"]),
        ("--storage trials.db", ["storage='trials.db'", ".journal"]),
        # paths
        ("--config vald.yaml", ["config='vald.yaml'", "'valid.yaml'"]),
        ("--data npz-graph", ["data.path is missing"]),
        ("--data npz-graph --data.path nowhere.npz", ["data.path='nowhere.npz'", "no such file"]),
        ("--folder valid.yaml", ["folder='valid.yaml'", "there is a file of that name"]),
    ],
)
def test_flags_of_a_study(flags: str, named: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    told = line(capsys, "study", "--config", "valid.yaml", *flags.split())
    assert all(part in told for part in named), told


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("missing.yaml", ["config='missing.yaml'", "no such file"]),
        ("broken.yaml", ["config='broken.yaml', line 2", "no YAML"]),
        ("list.yaml", ["config='list.yaml'", "key: value"]),
        ("nodata.yaml", ["data is missing", "cluster"]),
        ("unknown.yaml", ["epochs=3", "'trial_epochs'"]),
        ("data.yaml", ["data.init_args.batchsize=4", "'batch_size'"]),
        ("type.yaml", ["space.init_args.layers is an integer", "[1]"]),
        ("sampler.yaml", ["sampler.init_args.n_startup=3", "'n_startup_trials'"]),
    ],
)
def test_files_of_a_study(file: str, named: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    told = line(capsys, "study", "--config", file)
    assert all(part in told for part in named), told


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("stuy", ["'stuy'", "'study'"]),
        ("list space", ["'space'", "'spaces'"]),
        ("list --x 1", ["--x"]),
        ("show", ["a run folder, an architecture.json or a space"]),
        ("show nowhere", ["'nowhere'", "agnn"]),
        ("show agn", ["'agn'", "'agnn'"]),
        ("show runs/nowhere", ["'runs/nowhere'", "no such file or folder"]),
        ("show .", ["'.'", "config.yaml"]),
        ("show agnn --space.layrs 2", ["space.layrs=2", "'layers'"]),
        ("show agnn --spce.layers 2", ["spce=", "'space'"]),
        ("show text.json", ["text.json", "an architecture is JSON"]),
        ("show empty.json", ["empty.json", "'space' is missing"]),
        ("show other.json", ["space='agn'", "'agnn'"]),
        ("show old.json", ["old.json", "version 0"]),
        ("show choice.json", ["choice.json", "'layer0.atention'", "'layer0.attention'"]),
        ("evaluate", ["a run folder or an architecture.json"]),
        ("evaluate nowhere.json", ["'nowhere.json'", "no such file"]),
        ("evaluate choice.json", ["config is missing", "--config"]),
        ("evaluate choice.json --config valid.yaml", ["'layer0.atention'", "'layer0.attention'"]),
        ("evaluate choice.json --config valid.yaml --seeds none", ["seeds is an integer", "'none'"]),
        ("fit", ["architecture is missing"]),
        ("fit --architecture nowhere.json", ["architecture='nowhere.json'", "no such file"]),
        ("fit --architecture choice.json --config valid.yaml", ["'layer0.atention'", "'layer0.attention'"]),
        ("fit --architecture choice.json --config valid.yaml --trainr.max_epochs 2", ["trainr=", "'trainer'"]),
        ("fit --architecture choice.json", ["data is missing"]),
    ],
)
def test_other_commands(command: str, named: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    told = line(capsys, *command.split())
    assert all(part in told for part in named), told


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("--trainer.max_epoch 3", ["trainer.max_epoch=3", "'max_epochs'"]),
        ("--trainer.max_epochs many", ["trainer.max_epochs is an integer", "'many'"]),
        ("--data.batchsize 3", ["data.batchsize=3", "'batch_size'"]),
        ("--data.batch_size 0", ["data.batch_size is at least 1"]),
        (
            "--module NodeClassification --module.learning_rate -1",
            ["module.learning_rate is a number greater than 0"],
        ),
        ("--ckpt_pth x", ["ckpt_pth='x'", "'ckpt_path'"]),
        ("--seed_everything many", ["seed_everything is an integer", "'many'"]),
        ("--optimizer Adamm", ["optimizer", "Adamm"]),
        ("--trainer.accelerator gpuu", ["trainer", "gpuu"]),
    ],
)
def test_flags_of_fit(flags: str, named: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    from gnn_space import AGNNSpace

    space = AGNNSpace(layers=1)
    choices = {choice.name: choice.options[0] for choice in space.choices}
    Path("found.json").write_text(space.architecture(choices).to_json())
    told = line(capsys, "fit", "--architecture", "found.json", "--config", "valid.yaml", *flags.split())
    assert all(part in told for part in named), told


def test_an_output_of_another_ending_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    from gnn_space import AGNNSpace

    choices = {choice.name: choice.options[0] for choice in AGNNSpace(layers=1).choices}
    Path("found.json").write_text(AGNNSpace(layers=1).architecture(choices).to_json())
    told = line(capsys, "export", "--architecture", "found.json", "--size", "32", "--space.layers", "1", "model.foo")
    assert "'model.foo' ends in none of .py, .onnx, .pt2" in told
