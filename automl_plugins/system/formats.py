"""The format of what runs keep, and the version that wrote it: a later version reads it, or names one that does."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from automl_plugins.errors import FormatError

FORMAT = 2
"""Of folders and checkpoints of runs. It counts up when an earlier version's are not read any more."""
_READERS = {1: "automl-plugins<0.2"}
"""The version that reads the earlier formats, as pip takes it; files of format 1 do not name their format."""


def stamp() -> dict[str, Any]:
    """The stamp of every kept file: who wrote it."""
    try:
        written_by = version("automl-plugins")
    except PackageNotFoundError:  # run from its sources
        written_by = "unknown"
    return {"format": FORMAT, "version": written_by}


def unstamped(content: Mapping[str, Any], place: object) -> dict[str, Any]:
    """The content of a kept file without its stamp.

    Args:
        content: what `stamp` was written into.
        place: of the content, for the message.

    Raises:
        FormatError: it is of another format; the message names a version that reads it.
    """
    found = content.get("format", 1)
    if found != FORMAT:
        written_by = content.get("version", "0.1")
        reader = _READERS.get(found, f"automl-plugins=={written_by}")
        raise FormatError(
            f"{place} was written by automl-plugins {written_by} (format {found}), and this version reads format "
            f"{FORMAT} alone; go on with `pip install '{reader}'`, or begin anew in another folder"
        )
    return {name: value for name, value in content.items() if name not in ("format", "version")}
