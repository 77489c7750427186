"""A study in Python leaves and prints what the command line does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import optuna
import pytest
import yaml
from perceptron_space.data import WavesData
from perceptron_space.module import PixelRegression
from pytorch_lightning.callbacks import EarlyStopping

from automl_plugins.cli import main
from automl_plugins.studies.study import Study
from automl_plugins.studies.study_config import config_text
from gnn_space import AGNNSpace, NodeClassification
from gnn_space.data import ClusterData

MakeStudy = Callable[..., Study]


def test_show_evaluate_and_study_work_on_the_folder_of_a_study_in_python(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = Study(
        AGNNSpace(layers=1, max_parameters=3_000),
        ClusterData(3, 2, 2, batch_size=3),
        tmp_path / "run",
        module=partial(NodeClassification, learning_rate=0.01),
        trials=2,
        finalists=1,
        seeds=1,
        references=["gcn"],
        random_search=False,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
        trainer={"max_epochs": 1, "accelerator": "cpu", "callbacks": [EarlyStopping("val_loss", patience=3)]},
    )
    study.run()
    printed = capsys.readouterr().out
    assert "the winner:" in printed
    assert "kept: " in printed
    assert str(study.folder.config) in printed
    assert main(["show", str(study.folder.path)]) == 0
    shown = capsys.readouterr().out
    table = [line for line in printed.splitlines() if line.startswith("│")]
    assert table == [line for line in shown.splitlines() if line.startswith("│")]
    assert main(["study", "--config", str(study.folder.config)]) == 0
    again = capsys.readouterr().out
    assert [line for line in again.splitlines() if line.startswith("│")] == table
    assert main(["evaluate", str(study.folder.path), "--seeds", "1"]) == 0


def test_what_cannot_be_written_is_said_at_the_top(make_study: MakeStudy) -> None:
    study = make_study(module=lambda network, task: PixelRegression(network, task))
    text = config_text(study.project, study.plan, None)
    notes = [line for line in text.splitlines() if line.startswith("#")]
    assert notes[0] == "# Written by Study.run in Python."
    assert any(
        note.startswith("# module: ") and note.endswith("give it again with --module or in Python") for note in notes
    )
    assert any("widest of PerceptronSpace cannot be seen" in note for note in notes)
    settings = yaml.safe_load(text)
    assert settings["data"] == {
        "class_path": "perceptron_space.data.WavesData",
        "init_args": {"images": 32, "batch_size": 8, "seed": 0},
    }
    assert "module" not in settings


def test_a_config_that_somebody_wrote_stays(make_study: MakeStudy) -> None:
    study = make_study(trials=1)
    study.folder.path.mkdir()
    study.folder.config.write_text("# mine\ntrials: 1\n")
    study.run()
    assert study.folder.config.read_text() == "# mine\ntrials: 1\n"


def test_more_trials_are_written(make_study: MakeStudy) -> None:
    for trials in (1, 2):
        study = make_study(trials=trials, data=WavesData())
        study.run()
        assert yaml.safe_load(study.folder.config.read_text())["trials"] == trials


def test_what_the_data_report_is_a_file_of_the_run(make_study: MakeStudy) -> None:
    class Reporting(WavesData):
        def report_files(self) -> dict[str, str]:
            return {"skipped.csv": "row,smiles\n3,C(C\n"}

    study = make_study(trials=1, data=Reporting())
    study.run()
    assert (study.folder.path / "skipped.csv").read_text() == "row,smiles\n3,C(C\n"
