"""Errors as a person reads them: one line, and an exit code."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from automl_plugins.errors import StudyError

_LONGEST = 60
"""Characters of a given value that a message shows."""


INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it, and after SIGTERM."""


class UsageError(Exception):
    """A mistake in what was asked for.

    Args:
        message: one line that names the key, what was given and what is accepted.
        code: the exit code: 2 where the arguments are wrong, 1 where the data, or what is installed, do not fit them.
    """

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(one_line(message))
        self.code = code


def one_line(message: object) -> str:
    """A message without line breaks or repeated blanks."""
    return " ".join(str(message).split())


def say(message: str, command: str | None = None) -> None:
    """Write one line to standard error."""
    name = "automl-plugins" if command is None else f"automl-plugins {command}"
    sys.stderr.write(f"{name}: {one_line(message)}\n")


def shown(value: object) -> str:
    """A given value as a message shows it, cut short."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


@contextmanager
def told_briefly(key: str = "", code: int = 2, *kinds: type[Exception]) -> Iterator[None]:
    """Turn errors that speak to the user already into a `UsageError`, after the key that they are about.

    Args:
        key: what the message begins with, if anything.
        code: the exit code.
        kinds: the errors; ValueError and TypeError where left out.
    """
    caught = kinds or (ValueError, TypeError)
    try:
        yield
    except UsageError:
        raise
    except caught as error:
        speaks = isinstance(error, ValueError | OSError | StudyError)
        reason = str(error) if speaks else f"{type(error).__name__}: {error}"
        raise UsageError(f"{key}: {reason}" if key else reason, code) from error


@contextmanager
def without_deprecations() -> Iterator[None]:
    """Keep to ourselves what libraries say of one another while they are imported."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
        yield
