"""Files that are written whole, or not at all."""

from __future__ import annotations

import glob
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from automl_plugins.errors import StudyError
from automl_plugins.system.processes import is_alive


class WriteError(StudyError, OSError):
    """A result that could not be written: the disk is full, say. The file that was there before is whole.

    Args:
        path: the file.
        cause: what the operating system said.
    """

    def __init__(self, path: Path, cause: OSError) -> None:
        super().__init__(
            f"{path} cannot be written: {cause.strerror or cause}; what was kept so far is whole, so make room there "
            "(or the folder writable), and the same command goes on from here"
        )
        self.errno = cause.errno


def read_object(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is no file, or a power cut has left nothing that can be read."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def write_whole(path: Path, content: str) -> None:
    """Write a text file so that a reader, a kill, a power cut or a full disk never leaves half of it.

    Raises:
        WriteError: it cannot be written; what was there before is whole.
    """
    with whole_file(path) as file:
        file.write(content.encode())


def save_whole(path: Path, content: object) -> None:
    """`torch.save`, so that a reader, a kill, a power cut or a full disk never leaves half of the file.

    Raises:
        WriteError: it cannot be written; what was there before is whole.
    """
    import torch

    with whole_file(path) as file:
        watched: Any = _Watched(file)  # torch asks no more of a file than `write` and `flush`
        try:
            torch.save(content, watched)
        except RuntimeError:
            # torch's own words for a full disk are "unexpected pos 64 vs 0".
            if watched.error is not None:
                raise watched.error from None
            raise


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A binary file to write, beside `path`; it takes the place of `path` once the block has ended without an error.

    It is on the disk before it is renamed, and so is the folder when this returns: after a power cut there is the old
    content or the new one, never a file of no length. Files that killed processes have left beside it are removed.

    Raises:
        WriteError: it cannot be written; what was there before is whole.
    """
    unfinished = path.with_name(f"{path.name}.{platform.node()}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise WriteError(path, error) from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    """Remove what dead processes of this machine have begun to write in the place of a file."""
    for leftover in path.parent.glob(f"{glob.escape(path.name)}.*.part"):
        host, _, process = leftover.name[len(path.name) + 1 : -len(".part")].rpartition(".")
        if host in ("", platform.node()) and process.isdecimal() and not is_alive(int(process)):
            leftover.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Have the names in a folder written to the disk; some network file systems cannot be asked to."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class _Watched:
    """A file for `torch.save` that remembers why writing failed.

    Args:
        file: what is written to.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, content: Any) -> int:
        try:
            return self.file.write(content)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()
