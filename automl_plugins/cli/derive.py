"""Decode the architecture logits of a checkpoint, write the architecture and draw it.

usage: automl-plugins derive <target> [--output architecture.json] [--space NAME] [--key value]

target:
  a search's folder     its last checkpoint, also while the search goes on
  a checkpoint          Lightning's, or a `state_dict` that torch.save wrote

options:
  --output FILE         where to write it (architecture.json beside the checkpoint)
  --space NAME          what was searched, with arguments as --space.nodes 3; that of the search's config.yaml
                        where left out
  --config FILE         YAML with the space, such as that config.yaml
  --target PATH         which searchable, where the checkpoint has several: net
  --relaxation NAME     how logits become gates: {relaxations}
                        (that of the strategy in the search's config.yaml; softmax where there is none)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from automl_plugins.cli.commands import over_run
from automl_plugins.cli.console import output
from automl_plugins.cli.errors import UsageError, say, told_briefly
from automl_plugins.cli.parser import Settings
from automl_plugins.cli.settings import Given
from automl_plugins.errors import DivergedError
from automl_plugins.search.checkpoint_files import LastTwo, read_checkpoint
from automl_plugins.studies.folder import RunFolder
from automl_plugins.supernets.relaxations import Relaxation, make_relaxation
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.supernets.state_dicts import decode_state, searchables_in
from automl_plugins.system.files import write_whole
from automl_plugins.system.nearest import did_you_mean


def run(given: Given, command: str) -> int:
    """Run the command, see `automl_plugins.cli.commands.Command`."""
    target = Path(given.targets[0])
    path = _newest(RunFolder(target)) if target.is_dir() else target
    runs = [each for each in map(RunFolder, (target, *path.parents[:2])) if each.config.is_file()]
    given = over_run(command, given, runs[0].config, "target", "output", "relaxation") if runs else given
    given.needs("space")
    kinds: dict[str, Any] = dict.fromkeys(("output", "target", "relaxation"), str | None)
    settings = Settings(given, ("space", "search"), **kinds)
    space = settings.make("space")
    if not isinstance(space, SupernetSpace):
        raise UsageError(f"space={space.name!r}: it has no supernet, so no checkpoint has logits of it")
    state = _read(path)
    relaxation = _relaxation(settings)
    with told_briefly(str(path), 1, ValueError, DivergedError):
        architecture = decode_state(state, _searchable(state, settings["target"], path), space, relaxation)
    written = Path(settings["output"] or (runs[0] if runs else RunFolder(path.parent)).architecture)
    with told_briefly("output", 2, OSError):
        write_whole(written, architecture.to_json())
    output().out(space.drawing(architecture))
    output().out(f"\nkept: {written}")
    return 0


def _newest(folder: RunFolder) -> Path:
    """The newest whole checkpoint of a search; what is wrong with newer ones is said."""
    newest, broken = LastTwo(folder.checkpoint).newest()
    if newest is None:
        return folder.checkpoint
    for error in broken:
        say(f"{error}; {newest} is derived from", "derive")
    return newest


def _read(path: Path) -> Mapping[str, Any]:
    """The weights in a checkpoint; nothing is unpickled from it."""
    if not path.is_file():
        raise UsageError(f"{str(path)!r}: there is no such file")
    with told_briefly("", 1, OSError, ValueError):
        content = read_checkpoint(path)
    state: Mapping[str, Any] = content.get("state_dict", content)
    return state


def _relaxation(settings: Settings) -> Relaxation:
    """The map from logits to gates: as asked for, or as the search's strategy has it."""
    if settings["relaxation"] is not None:
        with told_briefly("relaxation", 2, ValueError):
            return make_relaxation(settings["relaxation"])
    return settings.search().strategy.starting_relaxation()


def _searchable(state: Mapping[str, Any], target: str | None, path: Path) -> str:
    """The attribute path of the searchable to decode."""
    found = searchables_in(state)
    if not found:
        raise UsageError(f"{str(path)!r}: it has no architecture logits; it is no checkpoint of a search", code=1)
    if target is None and len(found) > 1:
        raise UsageError(f"target is missing: there are several searchables, {', '.join(found)}")
    if target is not None and target not in found:
        raise UsageError(f"target={target!r}: there is no such searchable; {did_you_mean(target, found)}")
    return found[0] if target is None else target
