"""Where a study's trials are kept: a journal file in the run's folder, or any storage of Optuna's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


class KernelFileLock:
    """A journal's lock that the kernel releases when its holder dies.

    Optuna's own locks are files, which a killed process leaves behind for 30 seconds. This one
    also mends the journal: a last line that a killed process did not finish is cut off before
    the next one is written behind it.

    Args:
        journal: the journal file.
    """

    def __init__(self, journal: str) -> None:
        self._journal = journal
        self._lock = FileLock(journal + ".lock")

    def acquire(self) -> bool:
        self._lock.acquire()
        self._cut_unfinished_line()
        return True

    def release(self) -> None:
        self._lock.release()

    def _cut_unfinished_line(self) -> None:
        with Path(self._journal).open("rb+") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return
            file.seek(-1, os.SEEK_END)
            if file.read(1) == b"\n":
                return
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)


def open_storage(location: str) -> BaseStorage:
    """Open a storage.

    Args:
        location: a path ending in `.journal`, or a storage URL of Optuna's (`sqlite:///study.db`, `postgresql://...`).

    Raises:
        ValueError: neither of them.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    if location.endswith(".journal"):
        Path(location).parent.mkdir(parents=True, exist_ok=True)
        # Optuna asks a lock for no more than `acquire` and `release`; its base class for them is private.
        lock: Any = KernelFileLock(location)
        return JournalStorage(JournalFileBackend(location, lock_obj=lock))
    if "://" not in location:
        raise ValueError(
            f"storage is a file ending in .journal or a storage URL such as sqlite:///study.db; got {location!r}"
        )
    return optuna.storages.get_storage(location)
