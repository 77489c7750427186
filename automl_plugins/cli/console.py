"""Where results are printed, and how an architecture is."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from automl_plugins.architecture import Architecture
from automl_plugins.cli.errors import UsageError
from automl_plugins.space import SearchSpace

_WIDTH = 160


def output() -> Console:
    """Standard output; a file or a pipe is wide enough for the tables."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH)


def read_architecture(space: SearchSpace, path: Path) -> Architecture:
    """Read an architecture.json of a space.

    Raises:
        UsageError: it cannot be read, or is no architecture of the space.
    """
    try:
        architecture = Architecture.from_json(path.read_text(encoding="utf-8"))
        space.validate(architecture)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error
    return architecture


def draw_architecture(console: Console, space: SearchSpace, path: Path) -> None:
    """Print the drawing of an architecture.json.

    Raises:
        UsageError: it cannot be read, or is no architecture of the space.
    """
    console.out(space.drawing(read_architecture(space, path)), highlight=False)
