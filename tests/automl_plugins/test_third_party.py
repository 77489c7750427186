"""Somebody else's space, installed as a real distribution, found by its entry points alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "third_party"
Run = Callable[..., "subprocess.CompletedProcess[str]"]

CONTRACT = """
import pytest, torch
from automl_plugins import registry
pytest.register_assert_rewrite("automl_plugins.testing")
from automl_plugins import Task
from automl_plugins.testing import SupernetContract
from perceptron_space.space import PerceptronSpace

def test_it_is_found_by_its_entry_points():
    space = registry.load("spaces", "perceptron")()
    assert (space.name, space.size) == ("perceptron", 40)
    assert callable(registry.load("data", "waves"))
    assert registry.load("modules", "squared-error").__name__ == "PixelRegression"
    assert "agnn" in registry.names("spaces")

class TestPerceptronSpace(SupernetContract):
    def space(self):
        return PerceptronSpace()

    def tasks(self):
        return [Task("pixel", "regression", 3, 1), Task("pixel", "classes", 1, 5)]

    def loss(self, network, task):
        return network(torch.randn(2, task.in_channels, 4, 4)).square().mean()
"""


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that `perceptron-space` is installed into, without a network and without touching the environment."""
    folder = tmp_path_factory.mktemp("third_party")
    # The build writes beside its sources.
    source = shutil.copytree(SOURCE, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    target = folder / "site"
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "-qq")
    subprocess.run([sys.executable, "-m", "pip", "install", *offline, "--target", target, source], check=True)
    return target


@pytest.fixture
def run(installed: Path, tmp_path: Path) -> Run:
    """Run Python in an empty folder, with the third party's distribution installed."""

    def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
        inherited = os.environ.get("PYTHONPATH")
        path = os.pathsep.join([str(installed), *([inherited] if inherited else [])])
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    return run_python


def test_it_is_found_by_its_entry_points_and_keeps_the_contract(run: Run, tmp_path: Path) -> None:
    (tmp_path / "test_perceptron.py").write_text(CONTRACT)
    ran = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_perceptron.py")
    assert ran.returncode == 0, ran.stdout
    assert "passed" in ran.stdout
    assert "skipped" not in ran.stdout


def test_it_is_studied_from_the_command_line(run: Run, tmp_path: Path) -> None:
    module = ("--module", "squared-error", "--module.learning_rate", "0.02")
    flags = ("--trials", "2", "--seeds", "1", "--finalists", "1", "--trainer.max_epochs", "1", "--folder", "runs/waves")
    ran = run("-m", "automl_plugins", "study", "--space", "perceptron", "--data", "waves", *module, *flags)
    assert ran.returncode == 0, ran.stderr
    assert "perceptron on WavesData" in ran.stdout
    assert '"space": "perceptron"' in (tmp_path / "runs/waves/architecture.json").read_text()
