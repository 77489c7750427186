"""Work whose result is a file: shared by workers, tried again a bounded number of times, never lost to one failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from automl_plugins.system.files import read_object, write_whole
from automl_plugins.system.finite import strict_json

MOST_ATTEMPTS = 3
"""The bound on attempts at work that fails each time."""


class Attempts:
    """The attempts at one result; those that failed are counted in a file beside it.

    Args:
        path: the result's file, JSON. It says `failure` where the work failed, and `settled` where trying again is of
            no use.
        since: when the run was started: failures before it are tried again. None: none is.
    """

    def __init__(self, path: Path, since: datetime | None = None) -> None:
        self.path = path
        self.since = since
        self._notes = path.with_suffix(".attempts")

    @contextmanager
    def taken(self) -> Iterator[bool]:
        """Keep other workers away meanwhile; gives whether there is anything to do.

        Raises:
            filelock.Timeout: another worker is at it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock"), timeout=0):
            yield self._is_due()

    def _is_due(self) -> bool:
        result = read_object(self.path)
        if result is None:
            return True
        if self.since is None or not result.get("failure") or result.get("settled"):
            return False
        attempts, ended = self._read()
        return attempts < MOST_ATTEMPTS and ended is not None and ended < self.since

    def make(self, work: Callable[[], Mapping[str, Any]]) -> None:
        """Do the work and write its result; to be called while it is taken.

        Args:
            work: gives the result, a failure among them; what it raises is raised, and is no attempt.
        """
        result = work()
        attempts, _ = self._read()
        if result.get("failure"):
            notes = {"attempts": attempts + 1, "ended": datetime.now().isoformat()}
            write_whole(self._notes, strict_json(notes))
        write_whole(self.path, strict_json(result))
        if not result.get("failure"):
            self._notes.unlink(missing_ok=True)

    def _read(self) -> tuple[int, datetime | None]:
        """The number of failures, and the time of the last one."""
        notes = read_object(self._notes)
        if notes is None:
            return 0, None
        return notes["attempts"], datetime.fromisoformat(notes["ended"])
