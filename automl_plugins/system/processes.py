"""Processes of this machine, told apart even where the system has given a number twice."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def identity(process: int | None = None) -> str:
    """A name of a process that no other one has: machine, number, and when it was started.

    Args:
        process: its number; this one where left out.
    """
    number = os.getpid() if process is None else process
    return f"{platform.node()}/{number}/{_started(number)}"


def is_dead(name: str) -> bool | None:
    """True where a process has ended, by its `identity`; None where it is of another machine, or nameless."""
    machine, _, rest = name.rpartition("/")[0].rpartition("/")
    if machine != platform.node() or not rest.isdecimal():
        return None
    return not is_alive(int(rest)) or identity(int(rest)) != name


def is_alive(process: int) -> bool:
    """True where there is a process of this number."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def is_stopped(process: int) -> bool:
    """True where a process is suspended (SIGSTOP, Ctrl-Z); False where the system does not say."""
    return _state(process)[:1] in (["T"], ["t"])


def _started(process: int) -> str:
    # The start time is field 22 of /proc/*/stat, and `_state` begins with field 3.
    return next(iter(_state(process)[19:20]), "")


def _state(process: int) -> list[str]:
    """The fields that the system tells of a process, from its state on; nothing where there is no /proc."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    # The name in brackets before it may itself hold blanks and brackets.
    return text.rpartition(")")[2].split()
