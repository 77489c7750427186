"""The configuration that a run keeps: in a file of ours, never over one that somebody else wrote or changed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from automl_plugins.cli.errors import UsageError, told_briefly
from automl_plugins.cli.settings import read_yaml
from automl_plugins.studies.folder import OWN_CONFIG, RunFolder
from automl_plugins.system.files import write_whole

_FIRST_LINE = "# Kept by automl-plugins; a file that is changed is left alone. Checksum: "


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


def is_ours(path: Path) -> bool:
    """Whether a file is as we wrote it; one that is empty, as after a power cut, is nobody's."""
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
    exists = folder.config.is_file() and folder.config.stat().st_size > 0
    if exists and (_begun(folder) or _is_marked(folder.config)):
        return read_yaml(folder.config)
    results = (folder.architecture, folder.network, folder.module, folder.trials, folder.summary, folder.winner)
    for each in results:
        if each.exists() and not _begun(folder):
            raise UsageError(
                f"folder={str(folder.path)!r}: {each.name} in it is of no run of ours and would be written over; "
                "give this one another --folder"
            )
    return None


def _begun(folder: RunFolder) -> bool:
    """Whether a folder holds what only a run of ours leaves, whichever version it was."""
    left = (folder.description, folder.journal, folder.search, folder.checkpoint, folder.path / "contenders")
    return any(each.exists() for each in left)


def _is_marked(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline().startswith(_FIRST_LINE)
