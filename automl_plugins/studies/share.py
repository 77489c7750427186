"""One worker's share of a study: it takes trials and trains them until there are none left."""

from __future__ import annotations

import gc
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from filelock import FileLock

from automl_plugins.studies.arm import Arm
from automl_plugins.studies.deaths import Deaths
from automl_plugins.studies.finals import Finals
from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.time_left import TimeLeft
from automl_plugins.studies.trial import TrialRunner
from automl_plugins.studies.trial_queue import Claim, NoTrial, TrialQueue
from automl_plugins.system.waiting import Waiting

_POLL_SECONDS = 0.3
_OTHERS = "other workers, which train the last of the finalists and references"


@contextmanager
def presence(folder: RunFolder) -> Iterator[str]:
    """Be known as alive in a folder, by a name that no other worker has, until the end."""
    worker = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
    path = folder.worker_lock(worker)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        folder.worker_mark(worker).touch()
        yield worker


def share(
    runner: TrialRunner,
    arms: Sequence[Arm],
    finals: Callable[[], Finals],
    since: datetime,
    left: TimeLeft | None = None,
) -> None:
    """Take trials and final trainings, and run them, until there are none left.

    Args:
        runner: of trials; its project's data have been read.
        arms: the searches that the trials are of.
        finals: the choice of finalists, from the trials as they are when it is asked.
        since: when the study was started; earlier failures are forgiven.
        left: of the time that the study has; None: it may take any.
    """
    folder = RunFolder(runner.project.folder)
    deaths = Deaths(folder.deaths, since.isoformat())
    with presence(folder) as worker:
        queues = [TrialQueue(runner.project, arm, worker, since) for arm in arms]
        waiting = Waiting()
        try:
            while not _work_through(queues, lambda queue, claim: runner.run(queue, claim, deaths), left):
                waiting("; ".join(filter(None, (queue.waits_for for queue in queues))))
                time.sleep(_POLL_SECONDS)
            chosen, waiting = finals(), Waiting()
            while not chosen.choose(since):
                waiting(_OTHERS)
                time.sleep(_POLL_SECONDS)
            if left is not None:
                left.settle_seeds()
                chosen = finals()
            while not chosen.work(since):
                waiting(_OTHERS)
                time.sleep(_POLL_SECONDS)
        finally:
            gc.unfreeze()


def _work_through(
    queues: Sequence[TrialQueue], run: Callable[[TrialQueue, Claim], None], left: TimeLeft | None
) -> bool:
    """Train what can be taken; False where other workers still run the last trials.

    After each trial of the search, which is the first arm, the others ask on until they have had its cost: where the
    time of a study ends the search, none is behind.
    """
    while True:
        if left is not None and queues and left.is_up():
            queues[0].end()
        trained, waits = False, False
        for place, queue in enumerate(queues):
            while isinstance(claim := queue.claim(), Claim):
                run(queue, claim)
                _free_memory()
                trained = True
                if place == 0:
                    break
            waits |= claim is NoTrial.WAIT
        if not trained:
            return not waits


def _free_memory() -> None:
    """Let go of the last training: a Trainer and its module refer to each other, so only the collector frees them.

    Going through all that the libraries have made takes longer than many a training, so what is
    still alive after the first one is left out from then on.
    """
    gc.collect()
    if gc.get_freeze_count() == 0:
        gc.freeze()
