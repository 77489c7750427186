"""A limit on how long a training may take, also where it hangs."""

from __future__ import annotations

import ctypes
import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from automl_plugins.system.waiting import say

GRACE_SECONDS = 30.0
"""The time that a training that hangs has to heed its limit before its process is killed."""
_SECONDS_BETWEEN_CALLS = 3.0
_LONGEST_POLL = 1.0


class TimeLimitError(RuntimeError):
    """A training that took longer than it may."""


class _TimeIsUp(BaseException):
    """Raised in the midst of a training; no `except Exception` of a user's swallows it."""


@contextmanager
def time_limit(minutes: float | None, name: str, give_up: Callable[[str], None]) -> Iterator[None]:
    """End the block with an error once it has taken too long.

    A thread keeps the time. It has an exception raised in the thread of the block, again and again: a signal ends
    waits for a lock, a loader or a pipe as well. If that is not heard for half a minute, in native code that does
    not return, the process is killed, with its children.

    Args:
        minutes: the limit; None: there is none.
        name: the argument that it was given by, for the message.
        give_up: is called with the reason before the process is killed.

    Raises:
        TimeLimitError: the block took longer.
    """
    if minutes is None:
        yield
        return
    children = set(multiprocessing.active_children())
    watch = _Watch(60 * minutes, f"it took longer than {name}={minutes:g}", give_up)
    try:
        with watch.on():
            yield
    except _TimeIsUp:
        raise TimeLimitError(watch.reason) from None
    except Exception as error:
        # What a training makes of being interrupted is no error of its own.
        if watch.expired:
            raise TimeLimitError(watch.reason) from error
        raise
    finally:
        if watch.expired:
            _end(set(multiprocessing.active_children()) - children)


class _Watch:
    """Keeps the time of one block.

    Args:
        seconds: the limit.
        reason: what is told when it is over.
        give_up: see `time_limit`.
    """

    def __init__(self, seconds: float, reason: str, give_up: Callable[[str], None]) -> None:
        self.seconds = seconds
        self.reason = reason
        self.give_up = give_up
        self.expired = False
        self._over = threading.Event()
        self._block = threading.get_ident()
        self._by_signal = hasattr(signal, "pthread_kill") and threading.current_thread() is threading.main_thread()
        self._former: Any = None

    @contextmanager
    def on(self) -> Iterator[None]:
        if self._by_signal:
            self._former = signal.signal(signal.SIGALRM, self._interrupt)
        # The last resort is a thread that needs no interpreter: native code may hold it for ever.
        with Path(os.devnull).open("w") as nowhere:
            faulthandler.dump_traceback_later(self.seconds + 2 * GRACE_SECONDS, exit=True, file=nowhere)
            threading.Thread(target=self._keep_time, daemon=True).start()
            try:
                yield
            finally:
                self._off()

    def _off(self) -> None:
        while True:
            try:
                self._over.set()
                faulthandler.cancel_dump_traceback_later()
                if self._by_signal:
                    signal.signal(signal.SIGALRM, self._former)
            except _TimeIsUp:
                continue  # a last call, which came between the end of the block and here
            return

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.expired and not self._over.is_set():
            raise _TimeIsUp
        if callable(self._former):
            self._former(number, frame)

    def _keep_time(self) -> None:
        elapsed = 0.0
        while elapsed < self.seconds:
            began = time.monotonic()
            if self._over.wait(min(_LONGEST_POLL, self.seconds - elapsed)):
                return
            # A process that was suspended meanwhile has not used that time.
            elapsed += min(time.monotonic() - began, 5 * _LONGEST_POLL)
        self.expired = True
        for _ in range(int(GRACE_SECONDS / _SECONDS_BETWEEN_CALLS)):
            self._call()
            if self._over.wait(_SECONDS_BETWEEN_CALLS):
                return
        self.give_up(self.reason)
        say(f"{self.reason} and does not end ({self._place()}), so process {os.getpid()} is killed")
        _end(multiprocessing.active_children())
        os._exit(1)

    def _call(self) -> None:
        if self._by_signal:
            signal.pthread_kill(self._block, signal.SIGALRM)
        else:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._block), ctypes.py_object(_TimeIsUp))

    def _place(self) -> str:
        frame = sys._current_frames().get(self._block)
        return "no longer there" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _end(children: Any) -> None:
    for child in children:
        child.kill()
    for child in children:
        child.join(1)
