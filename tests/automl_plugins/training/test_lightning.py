from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_lightning

from automl_plugins.training import distribution as _distribution
from automl_plugins.training import lightning as _lightning
from automl_plugins.training.lightning import VARIABLE, check_distribution

# Stands in for the `lightning` distribution, which is a class tree of its own.
FAKE_LIGHTNING = {
    "lightning/__init__.py": "import lightning.pytorch",
    "lightning/pytorch/__init__.py": "class LightningModule: pass",
}


def built_on(package: str) -> object:
    """An instance of a user's class whose base is of one of the two distributions."""
    base = type("LightningModule", (), {"__module__": f"{package}.core.module"})
    return type("LitUser", (base,), {"__module__": "project.models"})()


def decided(code: str, tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh process where a fake `lightning` is installed."""
    for name, content in FAKE_LIGHTNING.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    inherited = {name: value for name, value in os.environ.items() if name != VARIABLE}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**inherited, "PYTHONPATH": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


SHOW = "from automl_plugins.training.lightning import DISTRIBUTION, pl; print(DISTRIBUTION, pl.__name__)"


def test_this_process_runs_on_pytorch_lightning() -> None:
    assert _lightning.DISTRIBUTION == "pytorch_lightning"
    assert _lightning.pl is pytorch_lightning


@pytest.mark.parametrize("kind", ["LightningModule", "LightningDataModule", "Callback", "Trainer"])
def test_ones_own_distribution_is_accepted(kind: str) -> None:
    base = getattr(pytorch_lightning, kind)
    check_distribution(object.__new__(type("User", (base,), {"__module__": "project.models"})))


def test_the_other_distribution_is_refused_and_told_what_to_do() -> None:
    with pytest.raises(TypeError) as caught:
        check_distribution(built_on("lightning.pytorch"))
    message = str(caught.value)
    assert "LitUser is built on `lightning.pytorch`" in message
    assert f"Set {VARIABLE}=lightning" in message
    assert "import Lightning from `pytorch_lightning`" in message


@pytest.mark.parametrize("package", ["lightning_fabric", "lightning_utilities", "lightningish", "project"])
def test_what_is_of_neither_is_not_our_business(package: str) -> None:
    check_distribution(built_on(package))


def test_a_class_of_both_worlds_is_accepted() -> None:
    mixed = type("Mixed", (pytorch_lightning.Callback, type(built_on("lightning.pytorch"))), {})
    check_distribution(mixed())


def test_the_mixing_error_works_the_other_way_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_lightning, "DISTRIBUTION", "lightning")
    check_distribution(built_on("lightning.pytorch"))
    with pytest.raises(TypeError, match=f"is built on `pytorch_lightning`.*Set {VARIABLE}=pytorch_lightning"):
        check_distribution(pytorch_lightning.LightningModule())


def test_the_variable_settles_it(tmp_path: Path) -> None:
    assert decided(SHOW, tmp_path, **{VARIABLE: "lightning"}).stdout.split() == ["lightning", "lightning.pytorch"]


def test_what_the_project_imported_settles_it(tmp_path: Path) -> None:
    assert decided(f"import lightning; {SHOW}", tmp_path).stdout.split() == ["lightning", "lightning.pytorch"]


def test_the_variable_has_two_values(tmp_path: Path) -> None:
    run = decided(SHOW, tmp_path, **{VARIABLE: "ligthning"})
    assert run.returncode == 1
    assert f"{VARIABLE} is one of pytorch_lightning, lightning; got 'ligthning'" in run.stderr


STUDY = """
import sys
import lightning.pytorch
from automl_plugins.studies.study import Study
from gnn_space import AGNNSpace
from gnn_space.data import ClusterData

study = Study(
    AGNNSpace(layers=1, max_parameters=20_000), ClusterData(6, 2, 2), folder=sys.argv[1],
    trials=1, trainer={"max_epochs": 1}, seeds=1, finalists=1, random_search=False, references=["gcn"],
)
print(isinstance(study.project.data, lightning.pytorch.LightningDataModule), len(study.run().rows))
print("pytorch_lightning" in sys.modules)
"""


def test_a_whole_study_runs_on_the_other_distribution(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STUDY, str(tmp_path / "run")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.split()[-3:] == ["True", "2", "False"], ran.stderr


def test_a_wanted_distribution_that_is_not_installed_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "lightning")
    monkeypatch.setattr(_distribution.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install lightning"):
        _distribution._decide()
