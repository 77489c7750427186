"""One search at a time in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from filelock import FileLock, Timeout

from automl_plugins.cli.errors import UsageError, told_briefly
from automl_plugins.studies.folder import RunFolder
from automl_plugins.training.lightning import pl


@contextmanager
def running_alone(folder: RunFolder) -> Iterator[None]:
    """Hold the lock of a folder inside; the kernel lets go of it when this process dies.

    Raises:
        UsageError: another process holds it; its code is 1.
    """
    if not is_first_process():
        yield
        return
    if folder.path.exists() and not folder.path.is_dir():
        raise UsageError(f"folder={str(folder.path)!r}: there is a file of that name; a search needs a folder")
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
    """Whether this is not one that Lightning has started for another device."""
    rank_zero: Any = pl.utilities.rank_zero
    return bool(rank_zero.rank_zero_only.rank == 0)
