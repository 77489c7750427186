"""What is printed when a study has ended: its table and verdict, its winner, and where all is kept."""

from __future__ import annotations

from rich.console import Console

from automl_plugins.report.summary import Summary
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.studies.folder import RunFolder

_WIDTH = 160


def print_table(summary: Summary) -> None:
    """Print a study's table and verdict to standard output."""
    console = _output()
    console.print(summary.table())
    for line in summary.lines():
        console.out(line, highlight=False)


def print_closing(space: SearchSpace, folder: RunFolder, summary: Summary) -> None:
    """Print a study's table, verdict and winner, and the files that are kept of it."""
    print_table(summary)
    console = _output()
    for path, title in (
        (folder.architecture, "the winner:"),
        (folder.found.architecture, f"the winner was made by hand; the best that was found, in {folder.found.path}:"),
    ):
        if path.exists():
            drawing = space.drawing(Architecture.from_json(path.read_text("utf-8")))
            console.out(f"\n{title}\n{drawing}", highlight=False)
            break
    kept = (folder.architecture, folder.network, folder.module, folder.config, folder.trials, folder.summary)
    found = (folder.found.architecture, folder.found.network, folder.found.module)
    console.out("\nkept: " + " ".join(str(path) for path in (*kept, *found) if path.exists()), highlight=False)


def _output() -> Console:
    """Standard output; a file or a pipe is wide enough for the tables."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH)
