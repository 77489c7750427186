"""Ctrl-C and SIGTERM, heard alike in every phase."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from automl_plugins.errors import Terminated


@contextmanager
def terminated_in_order() -> Iterator[None]:
    """Have SIGTERM raise `Terminated` in the block, unless the program has a handler of its own."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(number: int, frame: FrameType | None) -> None:
    # Only once: what ends in good order is not to be interrupted again.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated


@contextmanager
def interrupts_as_such() -> Iterator[None]:
    """Around a user's code, and Lightning, which turns Ctrl-C into `sys.exit(1)` and SIGTERM into a silent exit.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM was heard in the block.
        RuntimeError: the block called `sys.exit` by itself, which would end everything around it.
    """
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise error.__context__ from None
        if type(error).__name__ == "SIGTERMException":
            raise Terminated from None
        raise RuntimeError(f"it called sys.exit({error.code!r})") from error
