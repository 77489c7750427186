from __future__ import annotations

from pathlib import Path

import pytest

from automl_plugins.cli.record import absolute_paths


def test_a_kept_config_names_its_files_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {
        "folder": "runs/x",
        "storage": "trials.journal",
        "data": {"class_path": "smiles", "init_args": {"path": "a.csv", "root": None, "smiles_column": "a.csv"}},
    }
    kept = absolute_paths(settings)
    assert kept["folder"] == f"{tmp_path}/runs/x"
    assert kept["storage"] == f"{tmp_path}/trials.journal"
    assert kept["data"]["init_args"] == {"path": f"{tmp_path}/a.csv", "root": None, "smiles_column": "a.csv"}
    assert settings["folder"] == "runs/x"
    monkeypatch.chdir("/")
    assert absolute_paths(kept) == kept


@pytest.mark.parametrize("storage", [None, "sqlite:///trials.db", "postgresql://host/name"])
def test_what_is_no_path_stays(storage: str | None) -> None:
    settings = {"storage": storage, "data": {"class_path": "cora"}}
    assert absolute_paths(settings) == settings


def test_a_kept_config_names_the_files_of_a_space_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pth").touch()
    arguments = {"encoder_weights": "x.pth", "other": {"file": "x.pth", "mean": [0.5]}, "name": "imagenet"}
    kept = absolute_paths({"space": {"class_path": "smp", "init_args": arguments}})
    path = f"{tmp_path}/x.pth"
    expected = {"encoder_weights": path, "other": {"file": path, "mean": [0.5]}, "name": "imagenet"}
    assert kept["space"]["init_args"] == expected
