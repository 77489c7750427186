"""Worker processes that share one study."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from automl_plugins._lightning import DISTRIBUTION, VARIABLE
from automl_plugins.errors import StudyError

_POLL_SECONDS = 0.5


def run_workers(work: Callable[[datetime], None], workers: int, since: datetime) -> None:
    """Do work that can be shared with several processes, and outlive the death of all but one.

    Args:
        work: one worker's share, `Study.work`; it is pickled. What a worker that dies has taken, the others take over.
        workers: how many processes.
        since: when the study was started, for `work`.

    Raises:
        StudyError: a worker found that the study cannot go on, or all of them died.
    """
    # Spawned, not forked: torch's threads and the accelerator's driver do not survive a fork.
    context = multiprocessing.get_context("spawn")
    messages = context.SimpleQueue()
    processes = [
        context.Process(target=_work, args=(work, workers, since, messages), name=f"worker {number}", daemon=False)
        for number in range(workers)
    ]
    with _same_distribution():
        for process in processes:
            process.start()
    try:
        while any(process.is_alive() for process in processes):
            if not messages.empty():
                raise StudyError(messages.get())
            time.sleep(_POLL_SECONDS)
        if not messages.empty():
            raise StudyError(messages.get())
    finally:
        for process in processes:
            process.terminate()
            process.join()
    if all(process.exitcode != 0 for process in processes):
        codes = ", ".join(str(process.exitcode) for process in processes)
        raise StudyError(f"all {workers} workers died (exit codes {codes}); the same command goes on from here")


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


def _work(
    work: Callable[[datetime], None], workers: int, since: datetime, messages: multiprocessing.SimpleQueue[str]
) -> None:
    import optuna
    import torch

    # Optuna announces every study that it opens, in the midst of our own progress.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Each worker is one of several, so it takes its share of the cores, unless the user has said otherwise.
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work(since)
    except StudyError as error:
        messages.put(str(error))
    except KeyboardInterrupt:
        # The terminal interrupts all processes at once; the parent has the word.
        os._exit(130)


def _end_with_parent() -> None:
    """Do not work on unseen when the process that started this one was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
