"""The count of the processes that a training has killed, on the disk, so that retries are bounded."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from automl_plugins.system.files import write_whole
from automl_plugins.system.processes import identity, is_dead

_MOST_SEEN = 2
_MOST_UNSEEN = 8
_MOST_ALONE = 3


class KilledError(RuntimeError):
    """A training that has killed its process too often, and is not begun again."""


@dataclass(frozen=True)
class _Record:
    """The record of the earlier attempts at a training.

    Args:
        deaths: how many ended with the death of their process.
        seen: whether a process of the same start outlived one of them, so that it was not a kill of everything.
        hung: the time limit that the last one did not heed, so that its process had to be killed; else empty.
        process: the one that is at it now, see `automl_plugins.system.processes.identity`; empty: none.
        run: the start of the study that it belongs to.
    """

    deaths: int = 0
    seen: bool = False
    hung: str = ""
    process: str = ""
    run: str = ""


class Deaths:
    """Counts the attempts at a training that ended with the death of their process, as files.

    A count is on the disk before a training begins and is removed when it ends in any other way. The kernel that runs
    out of memory, or a fault in native code, kills only the process that trains: then a worker of the same start of
    the study lives to see it, and the second death is the last. If everything dies at once (`kill`, the machine
    itself) nobody is to blame, so that is forgiven more often; a study that works in the user's own process,
    because it cannot start another, cannot tell the two apart, and begins a training three times.

    Args:
        folder: where the counts are; made where it is missing.
        run: names this start of the study, the same in all of its workers.
    """

    def __init__(self, folder: Path, run: str) -> None:
        self.folder = folder
        self.run = run

    @contextmanager
    def attempt(self, training: str) -> Iterator[None]:
        """Count the block as an attempt at a training. Only one process at a time may be at the same one.

        Args:
            training: a name of it, fit for a file.

        Raises:
            KilledError: it has killed its process too often, and is not begun.
        """
        before = self._after_death(self._read(training))
        if before.hung:
            self._forget(training)
            raise KilledError(before.hung)
        alone = multiprocessing.parent_process() is None
        most = _MOST_SEEN if before.seen else _MOST_ALONE if alone else _MOST_UNSEEN
        if before.deaths >= most:
            self._forget(training)
            raise KilledError(
                f"it killed its process {before.deaths} times (the kernel does so when memory runs out; or a fault in "
                "native code), so it is not begun again"
            )
        self._write(training, _Record(before.deaths, before.seen, "", identity(), self.run))
        try:
            yield
        except Exception:
            self._forget(training)
            raise
        except BaseException:
            # Ctrl-C, say: what was counted before stays.
            self._restore(training, before)
            raise
        self._forget(training)

    def give_up(self, training: str, reason: str) -> None:
        """Note that this process is about to be killed because a training does not heed its time limit.

        Args:
            training: its name.
            reason: what the training is told to have failed with; it is not begun again.
        """
        self._write(training, _Record(hung=reason))

    def forgive(self) -> None:
        """Take back the attempts of this start of the study, whose workers have been ended in good order."""
        for path in self.folder.glob("*.json"):
            record = self._read(path.stem)
            if record.process and record.run == self.run:
                self._restore(path.stem, _Record(record.deaths, record.seen, record.hung))

    @property
    def pending(self) -> list[str]:
        """The trainings that have killed their process and have not been tried again."""
        records = {path.stem: self._read(path.stem) for path in sorted(self.folder.glob("*.json"))}
        return [
            name
            for name, record in records.items()
            if record.deaths or record.hung or (record.process and is_dead(record.process))
        ]

    def _after_death(self, record: _Record) -> _Record:
        """The record, once the process that was at the training is known to have died."""
        if not record.process:
            return record
        return _Record(record.deaths + 1, record.seen or record.run == self.run)

    def _path(self, training: str) -> Path:
        return self.folder / f"{training}.json"

    def _read(self, training: str) -> _Record:
        try:
            return _Record(**json.loads(self._path(training).read_text("utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return _Record()

    def _write(self, training: str, record: _Record) -> None:
        write_whole(self._path(training), json.dumps(asdict(record)))

    def _restore(self, training: str, record: _Record) -> None:
        if record == _Record():
            self._forget(training)
        else:
            self._write(training, record)

    def _forget(self, training: str) -> None:
        self._path(training).unlink(missing_ok=True)
