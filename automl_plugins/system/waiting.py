"""Waits that say what they wait for."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

SECONDS_IN_SILENCE = 10.0
"""A wait that is longer says what it waits for."""
_SECONDS_BETWEEN = 600.0
_POLL_SECONDS = 1.0


def say(line: str) -> None:
    """Write one line to standard error."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


class Waiting:
    """Says what is waited for: after ten seconds, and then every ten minutes or when it is something else."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._said: str | None = None
        self._when = 0.0

    def __call__(self, what: str) -> None:
        """Say it, if it is time to; to be called at every turn of a loop that waits.

        Args:
            what: is waited for, one line; empty: nothing that has a name.
        """
        now = time.monotonic()
        if (
            not what
            or now - self._began < SECONDS_IN_SILENCE
            or (what == self._said and now - self._when < _SECONDS_BETWEEN)
        ):
            return
        self._said, self._when = what, now
        say(f"waiting for {what}")


@contextmanager
def patient_lock(path: Path, what: str) -> Iterator[None]:
    """Hold a lock that the kernel releases when its holder dies; a long wait for it is told.

    Args:
        path: the lock's file; its folder is made where it is missing.
        what: is done under it, for the line.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock, waiting = FileLock(path), Waiting()
    while True:
        try:
            lock.acquire(timeout=_POLL_SECONDS)
            break
        except Timeout:
            waiting(f"another process, which {what} (it holds {path})")
    try:
        yield
    finally:
        lock.release()
