"""The built wheel, installed alone: all of the packages and nothing else, its metadata and its entry points."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from email import message_from_string
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("automl_plugins", "gnn_space", "seg_space")
OFFLINE = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "-qq")


def pip(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "pip", *arguments], check=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the wheel is installed into, built from what git would carry."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip("wheel", *OFFLINE, "--wheel-dir", folder / "wheels", source)
    (wheel,) = (folder / "wheels").glob("*.whl")
    pip("install", *OFFLINE, "--target", folder / "site", wheel)
    return folder / "site"


def python(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in an empty folder, which finds the packages in the installed wheel and nowhere else."""
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-Wignore", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_holds_every_file_of_the_packages_and_says_that_they_are_typed(site: Path) -> None:
    def files(folder: Path) -> set[str]:
        found = (path for package in PACKAGES for path in (folder / package).rglob("*"))
        return {str(path.relative_to(folder)) for path in found if path.is_file() and "__pycache__" not in path.parts}

    assert files(site) == files(ROOT)
    assert all((site / package / "py.typed").is_file() for package in PACKAGES)


def test_it_brings_no_other_package(site: Path) -> None:
    assert {path.name for path in site.iterdir() if (path / "__init__.py").is_file()} == set(PACKAGES)


def test_its_metadata_name_the_license_and_bring_it(site: Path) -> None:
    (information,) = site.glob("automl_plugins-*.dist-info")
    metadata = message_from_string((information / "METADATA").read_text(encoding="utf-8"))
    assert metadata["License-Expression"] == "MIT"
    assert (information / "licenses" / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert metadata["Requires-Python"] == ">=3.11"


def test_all_its_entry_points_lead_into_it(site: Path) -> None:
    (installed,) = distributions(path=[str(site)])
    entries = [entry for entry in installed.entry_points if entry.group.startswith("automl_plugins.")]
    assert len(entries) > 50
    for entry in entries:
        module = site.joinpath(*entry.module.split("."))
        file = module.with_suffix(".py") if module.with_suffix(".py").is_file() else module / "__init__.py"
        assert re.search(rf"\b{entry.attr}\b", file.read_text(encoding="utf-8")), entry


def test_its_command_lists_what_is_installed(site: Path, tmp_path: Path) -> None:
    ran = python(site, tmp_path, str(site / "bin" / "automl-plugins"), "list")
    assert ran.returncode == 0, ran.stderr
    for name in ("agnn", "egnas", "auto-deeplab", "smp", "evolution", "darts"):
        assert name in ran.stdout
