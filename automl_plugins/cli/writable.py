"""Files that a command is to write, judged before it does anything."""

from __future__ import annotations

import os
from pathlib import Path

from automl_plugins.cli.errors import UsageError


def check_out(path: Path, may_overwrite: bool, example: str) -> None:
    """Refuse a file that cannot be written, and what would replace something.

    Args:
        path: of the file.
        may_overwrite: a file that is there may be replaced.
        example: of a file's name.

    Raises:
        UsageError: it cannot be written, or is there.
    """
    name = f"out={str(path)!r}"
    if path.is_dir():
        raise UsageError(f"{name}: it is a folder; name a file in it, such as {path / example}")
    if path.exists() and not may_overwrite:
        raise UsageError(f"{name}: there is something already; name another place, or give --overwrite")
    check_home(path, name)


def check_home(path: Path, name: str) -> None:
    """Refuse a path in which nothing can be made.

    Args:
        path: of a file or a folder.
        name: what the message calls it.

    Raises:
        UsageError: something above it is no folder, or no folder there can be written.
    """
    between = [each for each in path.absolute().parents if os.path.lexists(each) and not each.is_dir()]
    if between:
        raise UsageError(f"{name}: {between[0]} is a file, and no folder")
    home = next(each for each in (path.absolute(), *path.absolute().parents) if each.is_dir())
    if not os.access(home, os.W_OK):
        raise UsageError(f"{name}: the folder {home} is not writable")
