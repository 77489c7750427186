"""Networks that were found, in the files that runs leave: read, checked, built and drawn."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from automl_plugins.cli.console import figures_text, output
from automl_plugins.cli.errors import UsageError, say, told_briefly
from automl_plugins.cli.look import check_reference, looked_at, over
from automl_plugins.cli.settings import Given, Item, read_text
from automl_plugins.objectives.contender import Contender
from automl_plugins.report.search import SearchSummary
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.winner import read_settings

UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""Errors of reading a file of a run that somebody has changed."""


@dataclass(frozen=True)
class NetworkFile:
    """A network in a file: an architecture.json, or the winner.json of a run whose winner was made by hand.

    Args:
        path: of the file.
    """

    path: Path

    @property
    def run(self) -> RunFolder:
        """The folder of the file, which may be a run's."""
        return RunFolder(self.path.parent)

    @property
    def is_reference(self) -> bool:
        """True where it was made by hand."""
        return self.path.name == self.run.winner.name

    @property
    def settings(self) -> dict[str, Any]:
        """The training settings that were tuned for it, such as `module.learning_rate`; empty where none were.

        Raises:
            UsageError: their file is damaged.
        """
        with told_briefly(str(self.run.settings), 2, *UNREADABLE):
            return read_settings(self.run)

    def tuned(self, given: Given, command: str) -> Given:
        """The settings of a command, with those that were tuned for the network over the run's configuration.

        Flags are over both; other configurations than the run's say all.

        Raises:
            UsageError: their file is damaged.
        """
        if not self.is_under_own_config(given, command):
            return given
        configs = [place for place, item in enumerate(given.items) if not item.key]
        after = configs[-1] + 1 if configs else 0
        items = tuple(Item(name, value) for name, value in self.settings.items())
        return looked_at(replace(given, items=(*given.items[:after], *items, *given.items[after:])))

    def is_under_own_config(self, given: Given, command: str) -> bool:
        """True where a command is given no configuration but the run's; that tuned settings are left out is said."""
        own = all(self.run.config.is_file() and path.samefile(self.run.config) for path in given.configs)
        if not own and self.settings:
            say(f"{self.run.settings} is not used, since another --config is given", command)
        return own

    def under(self, given: Given) -> Given:
        """The settings of a command, over the name of the space that the architecture is of, where they name none.

        Raises:
            UsageError: the file cannot be read, or there is no such space.
        """
        if self.is_reference:
            return given
        name = architecture_in(self.path).space
        is_named = given.get("space.class_path") is not None or isinstance(given.get("space"), str)
        return given if is_named else over({"space": {"class_path": name}}, given)

    def contender(self, space: SearchSpace, settings: Mapping[str, Any] | None = None) -> Contender:
        """The network by its architecture, or by its name.

        Args:
            space: of the architecture.
            settings: what it is trained with in place of the project's.

        Raises:
            UsageError: the file cannot be read, or is of no architecture of the space.
        """
        if not self.is_reference:
            return Contender("architecture", read_architecture(space, self.path), settings=settings or {})
        with told_briefly(str(self.path), 2, ValueError, KeyError, TypeError):
            name = str(json.loads(read_text(self.path, "architecture"))["reference"])
        check_reference(str(self.path), name)
        return Contender(name.rpartition(".")[2], reference=name, found_by="hand", settings=settings or {})


def network_at(target: str, key: str = "architecture") -> NetworkFile:
    """The network that a file or the folder of a run has.

    Args:
        target: a run's folder, an architecture.json or a winner.json.
        key: what the messages call it; empty where it has no key.

    Raises:
        UsageError: there is none.
    """
    path, folder = Path(target), RunFolder(Path(target))
    if path.is_dir():
        path = folder.winner if folder.winner.is_file() and not folder.architecture.is_file() else folder.architecture
    if not path.exists():
        hint = " (the run has no winner yet)" if Path(target).is_dir() else ""
        raise UsageError(f"{f'{key}=' if key else ''}{str(path)!r}: there is no such file{hint}")
    return NetworkFile(path)


def architecture_in(path: Path) -> Architecture:
    """The architecture in a file, of whichever space.

    Raises:
        UsageError: it cannot be read, or is none.
    """
    with told_briefly(str(path), 2, ValueError):
        return Architecture.from_json(read_text(path, "architecture"))


def read_architecture(space: SearchSpace, path: Path) -> Architecture:
    """Read an architecture.json of a space.

    Raises:
        UsageError: it cannot be read, or is no architecture of the space.
    """
    architecture = architecture_in(path)
    with told_briefly(str(path), 2, ValueError, OverflowError):
        space.validate(architecture)
    return architecture


def draw(console: Console, space: SearchSpace, path: Path, figure: str | None = None) -> None:
    """Print the drawing of an architecture.json, and save its figure in an image file where one is asked for.

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


def show_search(console: Console, space: SearchSpace, folder: RunFolder, figure: str | None = None) -> None:
    """Print what a differentiable search came to and has found, as far as it has gone.

    Raises:
        UsageError: a file of the search cannot be read; the figure cannot be made.
    """
    if folder.search.exists():
        with told_briefly(str(folder.search), 2, *UNREADABLE):
            lines = SearchSummary.from_json(folder.search.read_text(encoding="utf-8")).lines()
        for line in lines:
            console.out(line)
    elif folder.checkpoint.exists():
        console.out(f"the search has not ended; what its logits stand for now: automl-plugins derive {folder.path}")
    if folder.architecture.exists():
        console.out("\nfound:")
        draw(console, space, folder.architecture, figure)
    candidates = folder.path / "found.json"
    if folder.search.exists() and candidates.exists():  # its decoder evaluates
        with told_briefly(str(candidates), 2, *UNREADABLE):
            several = json.loads(candidates.read_text(encoding="utf-8"))
            console.out(f"the best of {len(several)} by the supernet's weights: {figures_text(several[0]['figures'])}")


def show_kept(folder: RunFolder) -> None:
    """Say what a search has kept, and how to train what was found."""
    console = output()
    kept = (folder.architecture, folder.config, folder.search, folder.path / "found.json", folder.checkpoint)
    console.out("\nkept: " + " ".join(str(path) for path in kept if path.exists()))
    console.out("train it over seeds, or once:")
    console.out(f"  automl-plugins evaluate {folder.path} --seeds 3")
    console.out(f"  automl-plugins fit --config {folder.config}")
