"""The configuration and data that a run was begun with, kept in files of ours, never over somebody else's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from automl_plugins.cli.console import output
from automl_plugins.cli.errors import UsageError, shown, told_briefly
from automl_plugins.cli.settings import Given, read_yaml
from automl_plugins.studies.folder import OWN_CONFIG, RunFolder
from automl_plugins.system.files import read_object, write_whole
from automl_plugins.training.description import first_difference
from automl_plugins.training.fingerprint import data_difference, data_fingerprint, datamodule_loaders
from automl_plugins.training.lightning import pl

_FIRST_LINE = "# Kept by automl-plugins; a file that is changed is left alone. Checksum: "
_OF_DATA = ("path", "root")
"""By convention these arguments of data are files and folders."""


def yaml_of(config: Mapping[str, Any]) -> str:
    """A configuration as YAML."""
    return str(yaml.safe_dump(dict(config), sort_keys=False))


def printed(given: Given, config: Mapping[str, Any]) -> bool:
    """Print a command's whole configuration where nothing else was asked for; True where it was not."""
    if "print_config" not in given.switches:
        return False
    output().out(yaml_of(config), end="")
    return True


def keep(path: Path, text: str) -> Path:
    """Write a configuration, in a file of another name where somebody else's is in the way.

    Args:
        path: where it belongs.
        text: YAML.

    Returns:
        Where it is.

    Raises:
        UsageError: it cannot be written, or both names are taken.
    """
    with told_briefly("folder", 2, OSError):
        marked = f"{_FIRST_LINE}{_checksum(text)}\n{text}"
        for each in (path, path.with_name(OWN_CONFIG)):
            if not each.exists() or is_ours(each):
                write_whole(each, marked)
                return each
        raise UsageError(f"folder: {path} and {OWN_CONFIG} were written or changed by somebody else; move one away")


def keep_config(folder: RunFolder, config: Mapping[str, Any]) -> None:
    """Write a run's whole configuration into its folder, with paths that hold from anywhere; see `keep`."""
    keep(folder.path / "config.yaml", yaml_of(absolute_paths(config)))


def is_ours(path: Path) -> bool:
    """True where a file is as we wrote it; one that is empty, as after a power cut, is nobody's."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    first, _, rest = text.partition("\n")
    return not text or first == f"{_FIRST_LINE}{_checksum(rest)}"


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def kept_settings(folder: RunFolder) -> dict[str, Any] | None:
    """The settings that a folder's run was begun with; None: there is no run in it yet.

    A config.yaml alone is no run: it may be what somebody has just written to begin one with.

    Raises:
        UsageError: the folder holds results, but no run of ours, so they would be written over.
    """
    left = (folder.description, folder.journal, folder.search, folder.checkpoint, folder.path / "contenders")
    begun = any(each.exists() for each in left)  # what only a run of ours leaves, whichever version it was
    if folder.config.is_file() and folder.config.stat().st_size > 0:
        with folder.config.open(encoding="utf-8", errors="replace") as file:
            if begun or file.readline().startswith(_FIRST_LINE):
                return read_yaml(folder.config)
    results = (folder.architecture, folder.network, folder.module, folder.trials, folder.summary, folder.winner)
    for each in results:
        if each.exists() and not begun:
            raise UsageError(
                f"folder={str(folder.path)!r}: {each.name} in it is of no run of ours and would be written over; "
                "give this one another --folder"
            )
    return None


def refuse_another(
    folder: RunFolder, kept: Mapping[str, Any], mine: Mapping[str, Any], what: str, harmless: Collection[str] = ()
) -> None:
    """Refuse to go on in a folder whose run was begun with other settings.

    Args:
        folder: the run's folder.
        kept: the settings that it was begun with.
        mine: those of now.
        what: `study` or `search`.
        harmless: keys with which it may go on otherwise.

    Raises:
        UsageError: they differ; the message names the first setting that does.
    """
    old, new = (absolute_paths({key: each[key] for key in each if key not in harmless}) for each in (kept, mine))
    difference = first_difference(old, new)
    if difference is not None:
        key, before, now = difference
        raise UsageError(
            f"{key}={shown(now)}: the {what} in {folder.path} was begun with {shown(before)}; "
            "two of them do not mix, so give this one another --folder"
        )


def data_file(folder: RunFolder) -> Path:
    """The fingerprint of the data of a search or an evaluation; a study keeps it in its study.json."""
    return folder.path / "data.json"


def keep_data(folder: RunFolder, data: pl.LightningDataModule) -> None:
    """Write the fingerprint of a run's data, which have been read, into its folder."""
    write_whole(data_file(folder), json.dumps(data_fingerprint(datamodule_loaders(data))))


def other_data(folder: RunFolder, data: pl.LightningDataModule) -> str | None:
    """The words for how data that have been read differ from those of a folder's run; None: they do not."""
    of_study = (read_object(folder.description) or {}).get("data")
    kept = of_study if isinstance(of_study, dict) else read_object(data_file(folder))
    return None if kept is None else data_difference(kept, data_fingerprint(datamodule_loaders(data)))


def refuse_other_data(folder: RunFolder, data: pl.LightningDataModule, what: str) -> None:
    """Refuse to go on in a folder whose search or evaluation was of other data than those that have been read.

    Raises:
        UsageError: it was; its code is 1.
    """
    difference = other_data(folder, data)
    if difference is not None:
        told = f"the {what} in {folder.path} was of other data: {difference}; give this one another --folder"
        raise UsageError(told, code=1)


@contextmanager
def running_alone(folder: RunFolder) -> Iterator[None]:
    """Hold the lock of a folder inside; the kernel lets go of it when this process dies.

    Raises:
        UsageError: another process holds it; its code is 1.
    """
    if not is_first_process():
        yield
        return
    with told_briefly("folder", 2, OSError):
        folder.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.path / "search.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UsageError(
                f"folder={str(folder.path)!r}: another search is running in it; wait for it, or give this one another "
                "--folder",
                code=1,
            ) from None
    try:
        yield
    finally:
        lock.release()


def is_first_process() -> bool:
    """False in a process that Lightning has started for another device."""
    rank_zero: Any = pl.utilities.rank_zero
    return bool(rank_zero.rank_zero_only.rank == 0)


def absolute_paths(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings whose paths do not depend on the folder that the command was given in.

    Args:
        settings: a whole configuration, as plain values.
    """
    made = dict(settings)
    if isinstance(made.get("folder"), str):
        made["folder"] = _absolute(made["folder"])
    if isinstance(storage := made.get("storage"), str) and "://" not in storage:
        made["storage"] = _absolute(storage)
    data = made.get("data")
    if isinstance(data, Mapping) and isinstance(data.get("init_args"), Mapping):
        arguments = {
            name: _absolute(value) if name in _OF_DATA and isinstance(value, str) else value
            for name, value in data["init_args"].items()
        }
        made["data"] = {**data, "init_args": arguments}
    space = made.get("space")
    if isinstance(space, Mapping) and isinstance(space.get("init_args"), Mapping):
        arguments = {name: _with_absolute_files(value) for name, value in space["init_args"].items()}
        made["space"] = {**space, "init_args": arguments}
    return made


def _with_absolute_files(value: Any) -> Any:
    """A value, or the values of a mapping; those that name a file that is there, absolutely."""
    if isinstance(value, Mapping):
        return {name: _with_absolute_files(part) for name, part in value.items()}
    return _absolute(value) if isinstance(value, str) and Path(value).expanduser().is_file() else value


def _absolute(path: str) -> str:
    # Without `resolve`: a link may be put to another place later.
    return str(Path(path).expanduser().absolute())
