"""Failures of users' code, in one line."""

from __future__ import annotations

import traceback

_MOST_CHARACTERS = 500


def failure_of(error: BaseException) -> str:
    """Kind, message and place of an error, in one line that equal failures share."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    message = str(error).strip()
    if "Traceback (most recent call last)" in message:
        # What failed in a process of `ddp_spawn` or `ddp_fork` comes as text, the error itself last.
        message = message.splitlines()[-1]
    return f"{type(error).__name__}: {' '.join(message.split())[:_MOST_CHARACTERS]}{place}"


def full_traceback(error: BaseException) -> str:
    """The traceback of an error, with those that it came from."""
    return "".join(traceback.format_exception(error))
