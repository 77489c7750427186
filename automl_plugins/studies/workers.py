"""Worker processes that share one study."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from multiprocessing.connection import wait
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

from automl_plugins.errors import StudyError
from automl_plugins.studies.deaths import Deaths
from automl_plugins.studies.worker_process import DONE, ERROR, RAISED, READY, run_worker
from automl_plugins.system.processes import is_stopped
from automl_plugins.system.waiting import SECONDS_IN_SILENCE, say
from automl_plugins.training.lightning import DISTRIBUTION, VARIABLE

_POLL_SECONDS = 0.5
_SECONDS_TO_END = 5.0
_MOST_REPLACEMENTS = 100
STOPPED_SECONDS = 600.0
"""A worker that is stopped (SIGSTOP) for so long, while its parent runs, is given up."""


class NoWorkersError(StudyError):
    """A study that cannot be handed to other processes."""


def run_workers(work: Callable[[datetime], None], workers: int, since: datetime) -> None:
    """Do work that can be shared with several processes. A process that dies is replaced by another.

    Args:
        work: one worker's share, `Study.work`; it is pickled. A dead worker's trials are taken over by the others.
        workers: how many processes.
        since: when the study was started, for `work`.

    Raises:
        NoWorkersError: the work cannot be pickled, or no new process can read it.
        StudyError: a worker found that the study cannot go on, or all of them failed.
    """
    crew = [_Worker(number, work, workers, since) for number in range(1, workers + 1)]
    replacements = 0
    try:
        for worker in crew:
            worker.start()
        while not all(worker.has_ended for worker in crew):
            wait([worker.process.sentinel for worker in crew if not worker.has_ended], _POLL_SECONDS)
            for worker in crew:
                worker.look_after()
                if worker.died and replacements < _MOST_REPLACEMENTS:
                    replacements += 1
                    say(f"worker {worker.number} died ({_cause(worker.code)}); another one takes its place")
                    worker.start()
    finally:
        _end(crew)
    if not any(worker.done for worker in crew):
        reasons = [worker.reason for worker in crew if worker.reason and not worker.ready]
        if reasons:
            raise NoWorkersError(reasons[0])
        codes = ", ".join(str(worker.code) for worker in crew)
        raise StudyError(f"all {workers} workers died (exit codes {codes}); the same command goes on from here")


def share_out(work: Callable[[datetime], None], workers: int, since: datetime, deaths: Deaths, apart: bool) -> None:
    """Do work in worker processes; where one is enough, in this process, unless a training may end it.

    Args:
        work: see `run_workers`.
        workers: see `run_workers`.
        since: see `run_workers`.
        deaths: what has killed its process before.
        apart: have a single worker be another process too, where one can be started.

    Raises:
        StudyError: the work cannot go on.
    """
    pending = bool(deaths.pending)
    try:
        if workers > 1:
            run_workers(work, workers, since)
            return
        if (pending or apart) and can_start_workers():
            if pending:
                say("a training has killed its process: the study goes on in a process of its own")
            with contextlib.suppress(NoWorkersError):
                run_workers(work, 1, since)
                return
        work(since)
    except BaseException:
        # Ended in good order: what was being trained has killed nothing.
        deaths.forgive()
        raise


def can_start_workers() -> bool:
    """True where a new process can do this one's work: one that imports a script without a guard would run it again."""
    main = sys.modules.get("__main__")
    if main is None or getattr(main, "__spec__", None) is not None:
        return main is not None
    path = getattr(main, "__file__", None)
    try:
        return path is not None and "__name__" in Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


class _Worker:
    """One place in the crew, and the process that fills it.

    Args:
        number: from 1.
        work: see `run_workers`.
        workers: how many there are.
        since: see `run_workers`.
    """

    def __init__(self, number: int, work: Callable[[datetime], None], workers: int, since: datetime) -> None:
        self.number = number
        self.ready = self.done = False
        self.reason = ""
        self._work, self._workers, self._since = work, workers, since
        self._stopped = 0.0
        self._looked = time.monotonic()

    def start(self) -> None:
        # Spawned, not forked: torch's threads and the accelerator's driver do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self.ready, self.done, self.reason, self._raised = False, False, "", False
        # A pipe each: a process that is killed while it writes to a queue leaves the lock of all of them held.
        self._messages, theirs = context.Pipe(duplex=False)
        try:
            content = bytes(ForkingPickler.dumps(self._work))
        except Exception as error:
            raise NoWorkersError(
                f"the study cannot be handed to another process ({type(error).__name__}: {error}); have its classes "
                "and functions at the top of a module, or give workers=1"
            ) from error
        arguments = (content, self._workers, self._since, theirs)
        self.process = context.Process(target=run_worker, args=arguments, name=f"worker {self.number}", daemon=False)
        with _same_distribution(), _deaf_to_interrupts():
            self.process.start()
        theirs.close()

    @property
    def has_ended(self) -> bool:
        return not self.process.is_alive()

    @property
    def code(self) -> int:
        return self.process.exitcode or 0

    @property
    def died(self) -> bool:
        """True where it ended while it worked, whatever its exit code, and has told of no error."""
        if not self.has_ended:
            return False
        self._hear()  # what it said last
        return self.ready and not self.done and not self._raised

    def _hear(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while self._messages.poll():
                kind, self.reason = self._messages.recv()
                self.ready |= kind == READY
                self.done |= kind == DONE
                self._raised |= kind == RAISED
                if kind == ERROR:
                    raise StudyError(self.reason)

    def look_after(self) -> None:
        """Hear what it has to say, and whether it is stopped.

        Raises:
            StudyError: it found that the study cannot go on.
        """
        self._hear()
        now = time.monotonic()
        # Where the parent itself was suspended, that is no time of the worker's.
        passed, self._looked = min(now - self._looked, 5 * _POLL_SECONDS), now
        process = self.process.pid
        if process is None or self.has_ended or not is_stopped(process):
            self._stopped = 0.0
            return
        before, self._stopped = self._stopped, self._stopped + passed
        if before < SECONDS_IN_SILENCE <= self._stopped:
            say(
                f"worker {self.number} (process {process}) is stopped; `kill -CONT {process}` lets it go on, and in "
                f"{STOPPED_SECONDS / 60:g} minutes another one takes its place"
            )
        if self._stopped >= STOPPED_SECONDS:
            self.process.kill()


def _cause(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"{name}: the kernel sends it when memory runs out" if name == "SIGKILL" else name


def _end(crew: list[_Worker]) -> None:
    processes = [worker.process for worker in crew if hasattr(worker, "process")]
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _SECONDS_TO_END
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        # Lightning hears a signal between batches, and one that is stopped hears none.
        process.kill()
        process.join()


@contextmanager
def _same_distribution() -> Iterator[None]:
    """Have the workers use this process's Lightning, whichever of the two they happen to import first."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = DISTRIBUTION
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Start processes that do not hear Ctrl-C, which reaches all of a terminal: the parent reports it and ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
