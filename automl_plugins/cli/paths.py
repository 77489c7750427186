"""Paths in a configuration that is kept: absolute, so that a run can be gone on with from any folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_OF_DATA = ("path", "root")
"""By convention these arguments of data are files and folders."""


def absolute_paths(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings whose paths do not depend on the folder that the command was given in.

    Args:
        settings: a whole configuration, as plain values.
    """
    made = dict(settings)
    if isinstance(made.get("folder"), str):
        made["folder"] = _absolute(made["folder"])
    storage = made.get("storage")
    if isinstance(storage, str) and "://" not in storage:
        made["storage"] = _absolute(storage)
    data = made.get("data")
    if isinstance(data, Mapping) and isinstance(data.get("init_args"), Mapping):
        arguments = {
            name: _absolute(value) if name in _OF_DATA and isinstance(value, str) else value
            for name, value in data["init_args"].items()
        }
        made["data"] = {**data, "init_args": arguments}
    return made


def _absolute(path: str) -> str:
    # Without `resolve`: a link may be put to another place later.
    return str(Path(path).expanduser().absolute())
