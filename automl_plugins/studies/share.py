"""One worker's share of a study: it takes trials and trains them until there are none left."""

from __future__ import annotations

import gc
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from filelock import FileLock

from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.trial_queue import Claim, NoTrial, TrialQueue
from automl_plugins.system.waiting import Waiting

_POLL_SECONDS = 0.3


@contextmanager
def presence(folder: RunFolder) -> Iterator[str]:
    """Be known as alive in a folder, by a name that no other worker has, until the end."""
    worker = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
    path = folder.worker_lock(worker)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        folder.worker_mark(worker).touch()
        yield worker


def run_trials(queues: Sequence[TrialQueue], run: Callable[[TrialQueue, Claim], None]) -> None:
    """Run what can be taken from queues, one after the other, until all of their trials have ended.

    Args:
        queues: of one worker.
        run: trains what was claimed, and tells the queue.
    """
    waiting = Waiting()
    try:
        while not _work_through(queues, run):
            waiting("; ".join(filter(None, (queue.waits_for for queue in queues))))
            time.sleep(_POLL_SECONDS)
    finally:
        gc.unfreeze()


def run_until_done(work: Callable[[], bool], others: str) -> None:
    """Call `work` until it says that nothing is left.

    Args:
        work: does what it can take; False where others are still at the rest.
        others: what is waited for then, in words.
    """
    waiting = Waiting()
    while not work():
        waiting(others)
        time.sleep(_POLL_SECONDS)


def _work_through(queues: Sequence[TrialQueue], run: Callable[[TrialQueue, Claim], None]) -> bool:
    """Train what can be taken; False where other workers still run the last trials."""
    waits = False
    for queue in queues:
        while isinstance(claim := queue.claim(), Claim):
            run(queue, claim)
            _free_memory()
        waits |= claim is NoTrial.WAIT
    return not waits


def _free_memory() -> None:
    """Let go of the last training: a Trainer and its module refer to each other, so only the collector frees them.

    Going through all that the libraries have made takes longer than many a training, so what is
    still alive after the first one is left out from then on.
    """
    gc.collect()
    if gc.get_freeze_count() == 0:
        gc.freeze()
