"""The versions of a run's files, against those that are read here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from automl_plugins import registry
from automl_plugins.cli.classes import KINDS, registered
from automl_plugins.cli.errors import UsageError
from automl_plugins.cli.finding import Finding
from automl_plugins.cli.look import looked_at
from automl_plugins.cli.settings import Given, Item, read_yaml
from automl_plugins.errors import FormatError
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.studies.folder import RunFolder
from automl_plugins.system.formats import unstamped

_STAMPED = ("study.json", "summary.json", "search.json", "preprocessing.json")


def versions_of(path: Path) -> Iterator[Finding]:
    """Lines on the files of a run, its configuration and its architecture: whether they are read here.

    Args:
        path: the run's folder.
    """
    folder = RunFolder(path)
    files = [path / name for name in _STAMPED if (path / name).is_file()]
    if not files and not folder.config.is_file() and not folder.architecture.is_file():
        yield Finding("BROKEN", "run", f"{path} holds none of {', '.join((*_STAMPED, 'config.yaml'))}: it is no run")
        return
    yield from map(_stamped, files)
    if folder.config.is_file():
        yield _config(folder.config)
    if folder.architecture.is_file():
        yield _architecture(folder.architecture, _space_of(folder.config))


def _stamped(path: Path) -> Finding:
    try:
        content = json.loads(path.read_text("utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object")
        unstamped(content, path)
    except FormatError as error:
        return Finding("BROKEN", path.name, str(error))
    except (OSError, ValueError) as error:
        return Finding("BROKEN", path.name, f"it cannot be read: {error}")
    return Finding("ok", path.name, f"written by automl-plugins {content.get('version', '?')}")


def _config(path: Path) -> Finding:
    try:
        given = looked_at(Given((Item("", read_yaml(path)),)))
    except UsageError as error:
        return Finding("BROKEN", path.name, str(error))
    named = [f"{key} {given.get(f'{key}.class_path', given.get(key))}" for key in ("space", "data") if key in given]
    return Finding("ok", path.name, f"all that it names is there: {', '.join(named)}")


def _space_of(config: Path) -> str | None:
    """The name of the registered space that a configuration has; None: it has none."""
    try:
        given = looked_at(Given((Item("", read_yaml(config)),)))
    except UsageError:
        return None
    named = KINDS["space"].short(str(given.get("space.class_path", given.get("space"))))
    return named if named in registered("spaces") else None


def _architecture(path: Path, expected: str | None) -> Finding:
    try:
        found = Architecture.from_json(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        return Finding("BROKEN", path.name, f"it cannot be read: {error}")
    if found.space not in registered("spaces"):
        told = f"no space {found.space!r} is installed; one of your own is named by its class path"
        return Finding("mind", path.name, told)
    if expected not in (None, found.space):
        return Finding("BROKEN", path.name, f"it is of the space {found.space}, and the run's is {expected}")
    space: Any = registry.load("spaces", found.space)
    if found.version != space.version:
        told = f"version {found.version} of {found.space}; here is {space.version}, of which it is another network"
        return Finding("BROKEN", path.name, told)
    return Finding("ok", path.name, f"version {found.version} of the space {found.space}")
