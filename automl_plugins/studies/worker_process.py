"""A worker's own process: it does its share of a study, tells its parent, and never outlives it."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler

from automl_plugins.errors import StudyError

READY, ERROR, RAISED, DONE = "ready", "error", "raised", "done"
"""Words to the parent: it can read the work; the study cannot go on; anything else was raised; all is done."""
_PR_SET_PDEATHSIG = 1


def run_worker(content: bytes, workers: int, since: datetime, messages: Connection) -> None:
    """Do the work of one worker, in the process that was started for it.

    Args:
        content: the work, pickled.
        workers: how many share it.
        since: when the study was started, for the work.
        messages: takes what the parent is told: one of the words above, and a reason.
    """
    _die_with_parent()
    import optuna
    import torch

    # Optuna announces every study that it opens, in the midst of our own progress.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Each worker is one of several, so it takes its share of the cores, unless the user has said otherwise.
    if workers > 1 and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    try:
        work: Callable[[datetime], None] = ForkingPickler.loads(content)
    except Exception as error:  # noqa: BLE001 - whatever a user's classes raise when they are made anew
        messages.send(
            (
                RAISED,
                f"a worker process cannot read the study ({type(error).__name__}: {error}); have its classes and "
                "functions at the top of a module that can be imported, or give workers=1",
            )
        )
        sys.exit(1)
    messages.send((READY, ""))
    try:
        work(since)
    except StudyError as error:
        messages.send((ERROR, str(error)))
    except KeyboardInterrupt:
        # Ctrl-C reaches every process, and the parent reports it.
        os._exit(130)
    except Exception as error:
        messages.send((RAISED, f"{type(error).__name__}: {error}"))
        raise
    messages.send((DONE, ""))


def _die_with_parent() -> None:
    """Do not work on unseen when the process that started this one was killed."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
