"""How an architecture is read and printed."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from automl_plugins.cli.errors import UsageError, told_briefly
from automl_plugins.cli.plain_console import output
from automl_plugins.cli.settings import read_text
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.studies.folder import RunFolder


def architecture_in(path: Path) -> Architecture:
    """The architecture in a file, of whichever space.

    Raises:
        UsageError: it cannot be read, or is none.
    """
    text = read_text(path, "architecture")
    try:
        return Architecture.from_json(text)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else error
        raise UsageError(f"{path}: {reason}") from error


def read_architecture(space: SearchSpace, path: Path) -> Architecture:
    """Read an architecture.json of a space.

    Raises:
        UsageError: it cannot be read, or is no architecture of the space.
    """
    architecture = architecture_in(path)
    with told_briefly(str(path), 2, ValueError, OverflowError):
        space.validate(architecture)
    return architecture


def draw_architecture(console: Console, space: SearchSpace, path: Path, figure: str | None = None) -> None:
    """Print the drawing of an architecture.json, and save its figure where one is asked for.

    Args:
        console: where it is printed.
        space: of the architecture.
        path: of the architecture.json.
        figure: an image file; its ending says which kind.

    Raises:
        UsageError: it cannot be read, or is no architecture of the space; the figure cannot be made.
    """
    architecture = read_architecture(space, path)
    console.out(space.drawing(architecture), highlight=False)
    if figure is not None:
        with told_briefly("figure", 1, OSError, ValueError, ImportError):
            made = space.figure(architecture)
            Path(figure).parent.mkdir(parents=True, exist_ok=True)
            made.savefig(figure, dpi=150)
        console.out(f"kept: {figure}", highlight=False)


def draw_winner(console: Console, space: SearchSpace, folder: RunFolder, figure: str | None = None) -> bool:
    """Print the winner of a run as a drawing, or who it is where it was made by hand and what was found beside it.

    Args:
        console: where it is printed.
        space: of the run.
        folder: the run's.
        figure: see `draw_architecture`.

    Returns:
        Whether there was anything to draw.
    """
    for path, title in (
        (folder.architecture, "the winner:"),
        (folder.found.architecture, f"the winner was made by hand; the best that was found, in {folder.found.path}:"),
    ):
        if path.exists():
            console.out(f"\n{title}", highlight=False)
            draw_architecture(console, space, path, figure)
            return True
    return False


__all__ = ["architecture_in", "draw_architecture", "draw_winner", "output", "read_architecture"]
