"""The closing words of a study: its table and verdict, its winner, and where all is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from automl_plugins.report.summary import Summary

_WIDTH = 160


def print_table(summary: Summary) -> None:
    """Print a study's table and verdict to standard output."""
    console = _output()
    console.print(summary.table())
    for line in summary.lines():
        console.out(line, highlight=False)


def print_closing(summary: Summary, drawing: str, files: Sequence[Path]) -> None:
    """Print a study's table, verdict and winner, and the files that are kept of it.

    Args:
        summary: the table and verdict.
        drawing: of what was found, under its title; "": there is none.
        files: that may be there.
    """
    print_table(summary)
    console = _output()
    if drawing:
        console.out(f"\n{drawing}", highlight=False)
    console.out("\nkept: " + " ".join(str(path) for path in files if path.exists()), highlight=False)


def _output() -> Console:
    """Standard output; a file or a pipe is wide enough for the tables."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH)
