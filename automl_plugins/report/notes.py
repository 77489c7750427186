"""Lines that a study says beside its progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer

from rich.console import Console

SLOW = 5.0
"""Seconds after which a silence is explained."""


@contextmanager
def told_when_slow(line: str) -> Iterator[None]:
    """Write a line to standard error if the `with` block takes longer than `SLOW`; a refusal at once stays alone."""
    timer = Timer(SLOW, tell, (line,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def tell(line: str, who: str = "study") -> None:
    """Write one line to standard error."""
    Console(stderr=True, soft_wrap=True).print(f"{who}: {line}", highlight=False, markup=False)
