"""A config that somebody sends runs nothing: only what is of the expected class is made, after all is checked."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from jsonargparse import ArgumentParser
from torch import nn

from automl_plugins.cli import main
from gnn_space import AGNNSpace

VALID = {
    "space": {"class_path": "agnn", "init_args": {"layers": 1}},
    "data": {"class_path": "cluster", "init_args": {"num_train": 4, "num_val": 2, "num_test": 2}},
    "trials": 1,
    "trainer": {"max_epochs": 1, "accelerator": "cpu"},
}
POPEN = {"class_path": "subprocess.Popen", "init_args": {"args": "touch owned", "shell": True}}
LAMBDA = {"class_path": "LambdaCallback", "init_args": {"on_fit_start": "os.abort"}}


@pytest.fixture(autouse=True)
def _watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside a folder with a module that would tell that it was imported, and with nothing to be called."""

    def called(*_: object, **__: object) -> None:
        raise AssertionError("a config has run code")

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "trap.py").write_text("open('owned', 'w').close()\nclass Trap: pass\ndef trap(*_): pass\n")
    for owner, name in ((os, "system"), (os, "abort"), (subprocess, "Popen"), (builtins, "breakpoint")):
        monkeypatch.setattr(owner, name, called)


def refused(capsys: pytest.CaptureFixture[str], settings: dict[str, object], *command: str) -> str:
    Path("sent.yaml").write_text(yaml.safe_dump(settings))
    assert main([*command, "--config", "sent.yaml"]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1, captured.err
    assert not Path("owned").exists()
    assert "trap" not in sys.modules
    return captured.err


@pytest.mark.parametrize("command", ["study", "search", "fit", "validate", "test", "predict"])
@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("callbacks", [POPEN], "trainer.callbacks[0]='subprocess.Popen': it is no Callback"),
        ("callbacks", POPEN, "trainer.callbacks='subprocess.Popen': it is no Callback"),
        ("callbacks", ["trap.Trap"], "trainer.callbacks[0]='trap.Trap': it is no Callback"),
        ("callbacks", [LAMBDA], "on_fit_start='os.abort'"),
        ("logger", [POPEN], "trainer.logger[0]='subprocess.Popen': it is no Logger"),
        ("logger", "trap.Trap", "trainer.logger='trap.Trap'"),
        ("strategy", "trap.Trap", "trainer.strategy='trap.Trap': it is no Strategy"),
        ("strategy", POPEN, "trainer.strategy='subprocess.Popen': it is no Strategy"),
        ("profiler", "os.system", "trainer.profiler='os.system'"),
        ("plugins", [POPEN], "trainer.plugins[0]='subprocess.Popen': it is no"),
        ("accelerator", {"class_path": "builtins.eval", "init_args": {"source": "1"}}, "'builtins.eval'"),
        ("limit_train_batches", POPEN, "trainer.limit_train_batches"),
        ("max_epochs", {"class_path": "trap.trap"}, "trainer.max_epochs"),
        ("default_root_dir", POPEN, "trainer.default_root_dir"),
    ],
)
def test_a_trainer_makes_what_lightning_takes_and_nothing_else(
    command: str, key: str, value: object, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {**VALID, "trainer": {**VALID["trainer"], key: value}}
    if command == "search":
        settings.pop("trials")
    elif command != "study":
        choices = {choice.name: choice.options[0] for choice in AGNNSpace(layers=1).choices}
        Path("found.json").write_text(AGNNSpace(layers=1).architecture(choices).to_json())
        settings["architecture"] = "found.json"
    assert named in refused(capsys, settings, command)


@pytest.mark.parametrize("key", ["space", "data", "module", "sampler", "pruner", "task", "references", "storage"])
@pytest.mark.parametrize("value", [POPEN, "trap.Trap", "trap.trap", "os.system", [POPEN], {"a": POPEN}])
def test_every_plugin_is_of_its_kind(key: str, value: object, capsys: pytest.CaptureFixture[str]) -> None:
    if key == "storage" and isinstance(value, str):
        value = [value]
    assert key in refused(capsys, {**VALID, key: value}, "study")


@pytest.mark.parametrize("key", ["space", "data", "module", "sampler", "pruner"])
def test_a_class_whose_source_does_not_tell_its_kind_is_looked_at(
    key: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("made.py").write_text("Made = type('Made', (), {'__init__': lambda *_, **__: open('owned', 'w').close()})\n")
    monkeypatch.delitem(sys.modules, "made", raising=False)
    assert f"{key}='made.Made': it is no " in refused(capsys, {**VALID, key: "made.Made"}, "study")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sampler", {"class_path": "TPESampler", "init_args": {"gamma": "os.abort"}}),
        ("sampler", {"class_path": "TPESampler", "init_args": {"constraints_func": "trap.trap"}}),
        ("space", {"class_path": "agnn", "init_args": {"layers": POPEN}}),
        ("data", {"class_path": "cluster", "init_args": {"seed": {"class_path": "trap.trap"}}}),
        ("module", {"class_path": "NodeClassification", "init_args": {"learning_rate": POPEN}}),
    ],
)
def test_so_is_every_argument_of_a_plugin(key: str, value: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"{key}.init_args" in refused(capsys, {**VALID, key: value}, "study")


def test_nothing_is_made_before_all_has_been_checked(capsys: pytest.CaptureFixture[str]) -> None:
    checkpoints = {"class_path": "ModelCheckpoint", "init_args": {"dirpath": "owned"}}
    logger = {"class_path": "CSVLogger", "init_args": {"save_dir": "owned"}}
    settings = {**VALID, "trainer": {"callbacks": [checkpoints], "logger": logger}, "trials": "many"}
    assert "trials is an integer" in refused(capsys, settings, "study")


@pytest.mark.parametrize(
    "text",
    [
        "space: !!python/object/apply:os.system ['touch owned']",
        "space: !!python/name:os.system",
        "space: !!python/module:trap",
        "space: !!binary aGVsbG8=",
        "space: &a [*a]",
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        "space: " + "[" * 5000,
        "space: agnn\nspace: egnas",
        "space:\n\t- agnn",
        "space: \x00",
    ],
)
def test_yaml_is_plain_and_small(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("sent.yaml").write_text(text)
    before = time.process_time()
    assert main(["study", "--config", "sent.yaml"]) == 2
    assert time.process_time() - before < 2
    told = capsys.readouterr().err
    assert told.startswith("automl-plugins study: config='sent.yaml'")
    assert told.count("\n") == 1
    assert len(told) < 300


def test_what_lightning_takes_is_still_taken(capsys: pytest.CaptureFixture[str]) -> None:
    trainer = {
        "max_epochs": 1,
        "callbacks": [
            {"class_path": "pytorch_lightning.callbacks.EarlyStopping", "init_args": {"monitor": "val_loss"}},
            "LearningRateMonitor",
            {"class_path": "ModelCheckpoint", "save_last": True},
        ],
        "logger": {"class_path": "CSVLogger", "init_args": {"save_dir": "logs"}},
        "profiler": "simple",
        "precision": "32-true",
        "max_time": "00:01:00:00",
        "limit_train_batches": 0.5,
        "gradient_clip_val": None,
        "strategy": {"class_path": "SingleDeviceStrategy", "init_args": {"device": "cpu"}},
    }
    Path("mine.yaml").write_text(yaml.safe_dump({**VALID, "trainer": trainer}))
    assert main(["study", "--config", "mine.yaml", "--print_config"]) == 0
    kept = yaml.safe_load(capsys.readouterr().out)["trainer"]
    assert kept["callbacks"][1]["class_path"] == "pytorch_lightning.callbacks.LearningRateMonitor"
    assert kept["callbacks"][2]["init_args"]["save_last"] is True


def test_other_parsers_of_the_process_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text(yaml.safe_dump(VALID))
    assert main(["study", "--config", "mine.yaml", "--print_config"]) == 0
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--network", type=nn.Module)
    assert parser.parse_args(["--network", "torch.nn.Identity"]).network.class_path == "torch.nn.Identity"
