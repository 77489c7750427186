"""`automl-plugins derive`: the architecture that a search's logits stand for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from automl_plugins.cli.checkpoint import decode, searchables_in, state_of
from automl_plugins.cli.checks import check_keys
from automl_plugins.cli.configuration import make_space, space_setting
from automl_plugins.cli.console import output
from automl_plugins.cli.errors import UsageError, say, told_briefly
from automl_plugins.cli.plugins import one_of
from automl_plugins.cli.search_settings import check_search, make_search
from automl_plugins.cli.settings import Given, read, read_yaml
from automl_plugins.errors import DivergedError
from automl_plugins.search.checkpoint_files import LastTwo, read_checkpoint
from automl_plugins.studies.folder import RunFolder
from automl_plugins.supernets.relaxations import Relaxation, make_relaxation
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.system.files import write_whole
from automl_plugins.system.nearest import did_you_mean


def run(arguments: list[str], command: str = "derive") -> int:
    """Run the command.

    Args:
        arguments: what follows it.
        command: its name.

    Returns:
        The exit code.

    Raises:
        UsageError: a mistake in the arguments, or a checkpoint without a search.
    """
    given = read(arguments, targets=1)
    console = output()
    known = ("space", "output", "target", "relaxation")
    # A search's config.yaml may be given for its space; the rest of it says nothing here.
    check_keys(given.settings, [*known, *(_ELSEWHERE if given.configs else ())], near=("config",))
    if not given.targets:
        raise UsageError("name what to derive from: a search's folder or a checkpoint")
    target = Path(given.targets[0])
    path = _newest(RunFolder(target)) if target.is_dir() else target
    beside = next(
        (each for each in (RunFolder(target), *map(RunFolder, path.parents[:2])) if each.config.is_file()), None
    )
    setting = space_setting(given, None if beside is None else beside.config)
    if setting is None:
        raise UsageError(f"space is missing; {one_of('spaces')}")
    space = make_space(setting)
    if not isinstance(space, SupernetSpace):
        raise UsageError(f"space={space.name!r}: it has no supernet, so no checkpoint has logits of it")
    state = _read(path)
    relaxation = _relaxation(given, beside)
    with told_briefly(str(path), 1, ValueError, DivergedError):
        architecture = decode(state, _searchable(state, given.settings.get("target"), path), space, relaxation)
    written = Path(str(given.settings.get("output", (beside or RunFolder(path.parent)).architecture)))
    with told_briefly("output", 2, OSError):
        write_whole(written, architecture.to_json())
    console.out(space.drawing(architecture))
    console.out(f"\nkept: {written}")
    return 0


_ELSEWHERE = ("data", "module", "trainer", "search", "seed", "folder", "task", "command")


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
    return state_of(content)


def _relaxation(given: Given, beside: RunFolder | None) -> Relaxation:
    """How logits become gates: as asked for, or as the search's strategy has it."""
    if "relaxation" in given.settings:
        with told_briefly("relaxation", 2, ValueError):
            return make_relaxation(str(given.settings["relaxation"]))
    search = given.settings.get("search") or (read_yaml(beside.config).get("search") if beside is not None else None)
    return make_search(check_search(search or {})).strategy.relaxation()


def _searchable(state: Mapping[str, Any], target: str | None, path: Path) -> str:
    """The attribute path of the searchable to decode."""
    found = searchables_in(state)
    if not found:
        raise UsageError(f"{str(path)!r}: it has no architecture logits; it is no checkpoint of a search", code=1)
    if target is None:
        if len(found) > 1:
            raise UsageError(f"target is missing: there are several searchables, {', '.join(found)}")
        return found[0]
    if target not in found:
        raise UsageError(f"target={str(target)!r}: there is no such searchable; {did_you_mean(str(target), found)}")
    return str(target)
