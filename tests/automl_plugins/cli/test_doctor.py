"""`automl-plugins doctor`: what is missing and what brings it, and whether a run's versions fit."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from automl_plugins.cli import doctor_packages, main
from automl_plugins.cli.doctor_machine import machine
from automl_plugins.cli.doctor_run import versions_of
from automl_plugins.system.formats import stamp
from gnn_space import AGNNSpace

ARCHITECTURE = {
    "space": "agnn",
    "version": AGNNSpace.version,
    "choices": {"layer0.hidden_channels": 4, "layer0.attention": "gcn", "layer0.heads": 1},
}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """Versions in place of those that are installed; None: it is not."""
    versions: dict[str, str | None] = {}

    def answer(name: str) -> str:
        found = versions.get(name, "")
        if found is None:
            raise PackageNotFoundError(name)
        return found or version(name)

    monkeypatch.setattr(doctor_packages, "version", answer)
    return versions


@pytest.mark.filterwarnings("ignore")
def test_all_chapters_are_told_and_nothing_is_broken_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    for expected in ("packages", "extras", "plugins", "this machine", "ok      torch ", "processors", "GiB free of"):
        assert expected in told, told
    assert told.endswith("nothing is broken\n")


def test_an_extra_that_is_missing_is_named_with_the_line_that_brings_it(installed: dict[str, str | None]) -> None:
    installed["onnx"] = None
    found = {each.what: each for each in doctor_packages.extras()}
    assert found["onnx"].state == "-"
    assert found["onnx"].told == 'onnx: pip install "automl-plugins[onnx]"'
    assert "dev" not in found


@pytest.mark.parametrize(
    ("name", "there", "state", "told"),
    [
        ("optuna", "4.1", "BROKEN", "pip install 'optuna>=5'"),
        ("optuna", None, "BROKEN", "it is not installed: pip install 'optuna>=5'"),
        ("torchvision", None, "-", "needed for images: pip install torchvision"),
        ("torch", "99.0", "ok", ""),
    ],
)
def test_a_package_is_broken_where_nothing_works_without_it(
    name: str, there: str | None, state: str, told: str, installed: dict[str, str | None]
) -> None:
    installed[name] = there
    (found,) = (each for each in doctor_packages.packages() if each.what.split()[0] == name)
    assert (found.state, told in found.told) == (state, True)


def test_an_old_torch_breaks_the_whole(installed: dict[str, str | None], capsys: pytest.CaptureFixture[str]) -> None:
    installed["torch"] = "1.13"
    assert main(["doctor"]) == 1
    assert "1 broken, the first: torch 1.13: >=2.6 is needed" in capsys.readouterr().err


def test_a_disk_without_room_is_worth_a_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("automl_plugins.cli.doctor_machine._LEAST_FREE", 2**60)
    found = {each.what: each for each in machine(tmp_path)}
    assert found["disk of runs"].state == "mind"
    assert "make room" in found["disk of runs"].told


@pytest.mark.parametrize(
    ("files", "state", "told"),
    [
        ({"study.json": {**stamp()}}, "ok", "written by automl-plugins"),
        ({"study.json": {"trials": 3}}, "BROKEN", "automl-plugins<0.2"),
        ({"summary.json": []}, "BROKEN", "it is no JSON object"),
        ({"architecture.json": ARCHITECTURE}, "ok", "of the space agnn"),
        ({"architecture.json": {**ARCHITECTURE, "version": 1}}, "BROKEN", "version 1 of agnn; here is"),
        ({"architecture.json": {**ARCHITECTURE, "space": "mine"}}, "mind", "no space 'mine' is installed"),
        ({"config.yaml": {"space": "agnn", "data": "cluster"}}, "ok", "ClusterData"),
        ({"config.yaml": {"space": "nosuch"}}, "BROKEN", "nosuch"),
        ({}, "BROKEN", "it is no run"),
    ],
)
def test_a_run_fits_or_the_file_is_named_that_does_not(
    files: dict[str, object], state: str, told: str, tmp_path: Path
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    (found,) = versions_of(tmp_path)
    assert (found.state, told in found.told) == (state, True), found
