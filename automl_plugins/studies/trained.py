"""The trained weights that a run has kept, found without reading them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from automl_plugins.studies.folder import RunFolder
from automl_plugins.system.files import read_object

Networks = Literal["all", "best", "ensemble"]
NETWORKS = get_args(Networks)
"""Those that predict: the winner's of all final seeds, that of the best seed, or the ensemble's members."""


def trained_in(folder: Path) -> RunFolder:
    """The folder in which a run keeps trained networks: its own, or that of its evaluation.

    Raises:
        FileNotFoundError: there are none (yet); the message says what trains some.
        NotADirectoryError: it is a file.
    """
    run = RunFolder(folder)
    if not run.path.exists():
        raise FileNotFoundError(f"{str(folder)!r}: there is no such folder")
    if not run.path.is_dir():
        raise NotADirectoryError(f"{str(folder)!r} is a file; name the folder of a run")
    for each in (run, run.evaluation):
        if _weights(each):
            return each
    raise FileNotFoundError(f"{str(folder)!r} {_why_none(run)}")


def weights_of(run: RunFolder, networks: Networks = "all") -> list[Path]:
    """The checkpoints of a run's winner, that of its best seed first; of an ensemble, the one of all members together.

    Args:
        run: with trained networks.
        networks: of all seeds, or of the best alone.

    Raises:
        FileNotFoundError: it has no ensemble.
        ValueError: it has several checkpoints, and none is the best.
    """
    if networks == "ensemble":
        ensemble = home_of(run).ensemble
        if not ensemble.members.is_file() or not ensemble.module.is_file():
            raise FileNotFoundError(f"{run.path} has no ensemble; a study with `ensemble` keeps one")
        return [ensemble.module]
    found = _weights(run)
    if len(found) > 1 and found[0].parent == run.checkpoint.parent:
        listed = ", ".join(path.name for path in found)
        raise ValueError(f"{run.path} has the checkpoints {listed}; name one with --ckpt_path")
    return found[:1] if networks == "best" else found


def home_of(run: RunFolder) -> RunFolder:
    """The run's own folder, which has its trainings and its ensemble, where one in it has what was found."""
    parent = RunFolder(run.path.parent)
    return parent if parent.found.path == run.path else run


def _weights(run: RunFolder) -> list[Path]:
    """The checkpoints of a winner's trainings, that of the best one first, or those of a fit."""
    told = read_object(run.winner) or {}
    names = told.get("all_weights")
    paths = [home_of(run).path / str(name) for name in (names if isinstance(names, list) else ())]
    if paths and all(path.is_file() for path in paths):
        return paths
    if told and run.module.is_file():
        return [run.module]
    is_of_fit = (told or run.architecture.is_file()) and not run.search.is_file()
    return sorted(run.checkpoint.parent.glob("*.ckpt")) if is_of_fit else []


def _why_none(run: RunFolder) -> str:
    """The reason for which a run has no trained network, and what can be done."""
    if run.description.is_file():
        return f"has no winner yet; `automl-plugins study --config {run.config}` goes on with the study"
    if run.evaluation.config.is_file():
        return f"has an evaluation that has not ended; `automl-plugins evaluate {run.path}` goes on with it"
    if run.architecture.is_file():
        return f"has an architecture and no trained network; `automl-plugins evaluate {run.path}` trains it"
    if run.checkpoint.is_file():
        return f"has a search that has not ended; `automl-plugins search --config {run.config}` goes on with it"
    return "is no folder of a study, a search, an evaluation or a fit"
