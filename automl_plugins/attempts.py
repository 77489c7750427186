"""Work whose result is a file: shared by workers, tried again a bounded number of times, never lost to one failure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from automl_plugins.finite import strict_json
from automl_plugins.run_folder import write_whole

MOST_ATTEMPTS = 3
"""How often work is begun that fails each time, or that kills its process each time."""


class Attempts:
    """The attempts at one result, counted in a file beside it before each of them begins.

    So a process that is killed, by the system for its memory say, leaves its attempt behind. One that ends because
    it was asked to (Ctrl-C) takes it back.

    Args:
        path: the result's file, JSON. It says `failure` where the work failed.
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
        if not self.path.exists():
            return True
        if self.since is None or not json.loads(self.path.read_text("utf-8")).get("failure"):
            return False
        attempts, ended = self._read()
        return attempts < MOST_ATTEMPTS and ended is not None and ended < self.since

    def make(self, work: Callable[[], Mapping[str, Any]], failed: Callable[[str], Mapping[str, Any]]) -> None:
        """Do the work and write its result; to be called while it is taken.

        Args:
            work: gives the result, a failure among them; what it raises is raised, and is no attempt.
            failed: the result of work that kills its process, from a sentence that says so.
        """
        attempts, _ = self._read()
        if attempts >= MOST_ATTEMPTS:
            reason = (
                f"failed: its process was killed {attempts} times; delete {self._notes} and its result to try again"
            )
            write_whole(self.path, strict_json(failed(reason)))
            return
        self._write(attempts + 1)
        try:
            result = work()
        except BaseException:
            self._write(attempts)
            raise
        write_whole(self.path, strict_json(result))
        if result.get("failure"):
            self._write(attempts + 1, datetime.now())
        else:
            self._notes.unlink()

    def _read(self) -> tuple[int, datetime | None]:
        """How many there were, and when the last one ended with a result."""
        if not self._notes.exists():
            return 0, None
        notes = json.loads(self._notes.read_text("utf-8"))
        return notes["attempts"], notes["ended"] and datetime.fromisoformat(notes["ended"])

    def _write(self, attempts: int, ended: datetime | None = None) -> None:
        write_whole(self._notes, strict_json({"attempts": attempts, "ended": ended and ended.isoformat()}))
