"""The lock of a journal file, which plain Optuna and its dashboard respect and which no kill leaves behind."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path

from automl_plugins.system.waiting import Waiting, patient_lock

_STALE_SECONDS = 10.0
"""Optuna holds its lock for the milliseconds of one write; one that is older was left behind by a killed process."""
_POLL_SECONDS = 0.002


class JournalLock:
    """Keeps other processes from writing to a journal at the same time.

    Two locks: one of our own, that the kernel releases when its holder dies, and within it Optuna's file
    `<journal>.lock`, so that plain Optuna may write to the journal meanwhile. Left by a killed process of ours,
    the latter is known by its target and removed at once; what a killed process of Optuna's left, when it is ten
    seconds old (Optuna itself waits for thirty).

    This also mends the journal: a last line that a killed process, a power cut or a full disk did not finish is cut
    off before the next one is written behind it.

    Args:
        journal: the journal file.
    """

    def __init__(self, journal: str) -> None:
        self._journal = Path(journal)
        self._link = Path(f"{journal}.lock")
        self._own = self._journal.with_name(f"{self._journal.name}.kernel.lock")
        self._held = contextlib.ExitStack()
        # Another way to write the journal's path, which Optuna has no reason to use.
        self._target = f"././{self._journal.name}"

    def acquire(self) -> bool:
        with contextlib.ExitStack() as stack:
            stack.enter_context(patient_lock(self._own, f"writes to {self._journal}"))
            self._take_optunas()
            stack.callback(self._leave_optunas)
            self._cut_unfinished_line()
            self._held = stack.pop_all()
        return True

    def release(self) -> None:
        self._held.close()

    def _take_optunas(self) -> None:
        waiting, seen, since = Waiting(), None, time.monotonic()
        while not self._make():
            now = _mark(self._link)
            if now != seen:
                seen, since = now, time.monotonic()
            if now is None:
                continue
            age = max(time.monotonic() - since, time.time() - now[1])
            if self._is_ours() or age > _STALE_SECONDS:
                self._leave_optunas()
                continue
            waiting(f"another process, which writes to {self._journal} (it holds {self._link})")
            time.sleep(_POLL_SECONDS)

    def _make(self) -> bool:
        try:
            self._link.symlink_to(self._target)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            # A file system without symbolic links: Optuna's other lock is a file of the same name.
            try:
                os.close(os.open(self._link, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            except FileExistsError:
                return False
        return True

    def _is_ours(self) -> bool:
        # Our own lock is held, so whoever made it is dead.
        try:
            return os.readlink(self._link) == self._target  # noqa: PTH115 - a Path would write it in another way
        except OSError:
            return False

    def _leave_optunas(self) -> None:
        self._link.unlink(missing_ok=True)

    def _cut_unfinished_line(self) -> None:
        with self._journal.open("rb+") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return
            file.seek(-1, os.SEEK_END)
            if file.read(1) == b"\n":
                return
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)


def _mark(link: Path) -> tuple[int, float] | None:
    """The mark that tells one lock from the next, and its time."""
    try:
        status = link.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime
