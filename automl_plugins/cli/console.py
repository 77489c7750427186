"""The console that results are printed on."""

from __future__ import annotations

from rich.console import Console

_WIDTH = 160


def output() -> Console:
    """Standard output; a file or a pipe is wide enough for the tables."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH)
