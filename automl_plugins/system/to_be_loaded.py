"""Networks that are built to be given weights at once, so that none need be read or downloaded for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_TO_BE_LOADED = ContextVar("to_be_loaded", default=False)


@contextmanager
def to_be_loaded() -> Iterator[None]:
    """Around the building of a network whose weights do not count: pretrained ones need not be read or downloaded.

    Its whole `state_dict` is loaded next, or it is only counted.
    """
    token = _TO_BE_LOADED.set(True)
    try:
        yield
    finally:
        _TO_BE_LOADED.reset(token)


def is_to_be_loaded() -> bool:
    """True within `to_be_loaded`."""
    return _TO_BE_LOADED.get()
