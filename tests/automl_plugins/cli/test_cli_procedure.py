"""`automl-plugins search --strategy few-shot` on a real space: what it keeps, and what a refusal leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from automl_plugins.cli import main

PROJECT = ["--space=agnn", "--space.layers=1", "--space.heads=[1,2]", "--data=cluster", "--data.num_train=4"]
PROJECT += ["--data.num_val=2", "--data.num_test=2", "--trainer.max_epochs=1", "--trainer.accelerator=cpu"]
FEW_SHOT = [*PROJECT, "--strategy=few-shot", "--strategy.strategy=darts"]


def test_a_procedure_keeps_all_that_it_found_and_the_best_for_the_other_commands(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert main(["search", *FEW_SHOT, "--strategy.choice=layer0.heads", f"--folder={folder}"]) == 0
    found = json.loads((folder / "found.json").read_text())
    assert sorted(each["architecture"]["choices"]["layer0.heads"] for each in found) == [1, 2]
    assert json.loads((folder / "architecture.json").read_text()) == found[0]["architecture"]
    # Another command takes the folder, and the same one takes its config.
    assert main(["evaluate", str(folder), "--seeds=1", "--references=[]"]) == 0
    assert main(["search", "--config", str(folder / "config.yaml")]) == 0
    assert json.loads((folder / "found.json").read_text()) == found


def test_a_procedure_that_refuses_leaves_the_folder_to_a_mended_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["search", *FEW_SHOT, f"--folder={tmp_path / 'run'}"]
    assert main([*command, "--strategy.choice=layer0.head"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "there is no choice 'layer0.head' to split the supernet by; did you mean 'layer0.heads'?" in line
    assert main([*command, "--strategy.choice=layer0.heads"]) == 0
    assert main([*command, "--strategy.choice=layer0.attention"]) in (1, 2)
    assert "layer0.attention" in capsys.readouterr().err
