"""A prediction that was asked for, judged as far as it can be without importing anything heavy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from automl_plugins.cli.errors import UsageError, told_briefly
from automl_plugins.cli.settings import Given
from automl_plugins.cli.writable import check_home, check_out
from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.trained import NETWORKS, trained_in, weights_of
from automl_plugins.system.files import read_object
from automl_plugins.system.nearest import did_you_mean


@dataclass(frozen=True)
class Asked:
    """A prediction that was asked for.

    Args:
        run: with the trained networks.
        weights: their checkpoints; the run's where none was named.
        inputs: the file or folder of the inputs; None: the datamodule knows.
        options: arguments for reading them.
        out: a CSV file, or a folder.
        networks: those that predict.
        of_pixels: whether the predictions are images.
        probabilities: whether probabilities are kept beside them.
    """

    run: RunFolder
    weights: tuple[Path, ...]
    inputs: Path | None
    options: dict[str, Any]
    out: Path
    networks: Any
    of_pixels: bool
    probabilities: bool


def asked_for(given: Given) -> Asked:
    """The prediction that was asked for, as far as it can be judged before anything heavy is imported.

    Raises:
        UsageError: whatever is wrong with it.
    """
    networks = given.get("networks", "all")
    if networks not in NETWORKS:
        raise UsageError(f"networks={networks!r}: it is one of {', '.join(NETWORKS)}")
    weights = () if given.get("ckpt_path") is None else (Path(str(given.get("ckpt_path"))),)
    folder = _folder(given)
    with told_briefly("", 2, OSError, ValueError):
        run = RunFolder(folder) if weights else trained_in(folder)
        if not weights:
            weights_of(run, networks)
    for path in weights:
        if not path.is_file():
            raise UsageError(f"ckpt_path={str(path)!r}: there is no such file")
    kept = read_object(run.preprocessing)
    if kept is None:
        cure = "the command that made the run, given again, writes it and repeats no training"
        raise UsageError(f"{run.path} has no {run.preprocessing.name}, which says how its inputs were made; {cure}")
    task = kept.get("task")
    of_pixels = isinstance(task, dict) and task.get("level") == "pixel"
    probabilities = "probabilities" in given.switches
    if probabilities and not of_pixels:
        raise UsageError("--probabilities is for pixels; a table has them always")
    # A configuration has the arguments of the training's data.
    options = replace(given, items=tuple(item for item in given.items if item.key)).arguments("data")
    inputs = options.pop("path", None)
    if inputs is None and kept.get("reading"):
        raise UsageError("data.path is missing; it is the file, or the folder, of the inputs")
    if inputs is not None:
        _check_inputs(Path(str(inputs)))
    out = given.get("out")
    if out is None:
        raise UsageError(f"out is missing; it is {'a folder, such as masks' if of_pixels else 'predictions.csv, say'}")
    _check_out(Path(str(out)), of_pixels, "overwrite" in given.switches)
    _check_options(options, kept)
    found = None if inputs is None else Path(str(inputs))
    return Asked(run, weights, found, options, Path(str(out)), networks, of_pixels, probabilities)


def _folder(given: Given) -> Path:
    """The run's folder: it is named, or that of the configuration or of the architecture."""
    if given.targets:
        return Path(given.targets[0])
    named = given.get("architecture")
    if named is not None:
        return Path(str(named)).parent
    if not given.configs:
        raise UsageError("name the folder of a run, or its configuration with --config")
    return given.configs[-1].parent


def _check_inputs(path: Path) -> None:
    if not path.exists():
        siblings = [str(each) for each in path.parent.glob(f"*{path.suffix}")] if path.parent.is_dir() else []
        hint = f"; {did_you_mean(str(path), siblings)}" if siblings else ""
        raise UsageError(f"data.path={str(path)!r}: there is no such file or folder{hint}")
    if path.is_file() and path.stat().st_size == 0:
        raise UsageError(f"data.path={str(path)!r}: the file is empty")
    if path.is_dir() and not any(path.iterdir()):
        raise UsageError(f"data.path={str(path)!r}: the folder is empty")


def _check_out(path: Path, is_folder: bool, may_overwrite: bool) -> None:
    """Refuse what cannot be written, and what would replace something."""
    name = f"out={str(path)!r}"
    if not is_folder:
        check_out(path, may_overwrite, "predictions.csv")
        return
    if path.is_file() or path.suffix == ".csv":
        raise UsageError(f"{name}: predictions of pixels are images; name a folder")
    if path.exists() and not may_overwrite and any(path.iterdir()):
        raise UsageError(f"{name}: there is something already; name another place, or give --overwrite")
    check_home(path, name)


def _check_options(options: dict[str, Any], kept: dict[str, Any]) -> None:
    """Refuse other arguments of the data than such as depend on the file alone.

    By convention these are the names of columns; what inputs are made of is as in the training.
    """
    reading = kept.get("reading")
    known = [name for name in (reading if isinstance(reading, dict) else ()) if name.endswith("_column")]
    for name in options if reading else ():
        if name not in known and name != "batch_size":
            accepted = ", ".join(("path", "batch_size", *known))
            raise UsageError(f"data.{name}: inputs are made as in the training; what can be given is {accepted}")
