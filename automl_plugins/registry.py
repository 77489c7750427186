"""What is installed: spaces, samplers, data sets and the like, found through entry points.

Each group is an entry-point group `automl_plugins.<group>`; a third party's distribution adds to
it in its own `pyproject.toml`. Nothing here imports a plugin before it is asked for.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from automl_plugins.system.nearest import did_you_mean

GROUPS = {
    "spaces": "search spaces (`SearchSpace` classes)",
    "samplers": "Optuna samplers",
    "predictors": "ways to tell good architectures from trained ones",
    "data": "LightningDataModules that name their task",
    "modules": "LightningModules, named `<level>-<target>` after the tasks that they train for",
    "relaxations": "ways to turn architecture logits into gates",
    "strategies": "ways to learn architecture logits",
    "references": "hand-made networks to stand beside what was found",
}


def names(group: str) -> list[str]:
    """The names that a group holds, sorted.

    Raises:
        ValueError: there is no such group.
    """
    return sorted(_entries(group))


def load(group: str, name: str) -> Any:
    """Import what a name of a group stands for.

    Raises:
        ValueError: no such group or name; the message names the nearest one.
        RuntimeError: two distributions give the name to different things, or the plugin is
            installed but cannot be imported; the message says why.
    """
    entry = _entry(group, name)
    try:
        return entry.load()
    except Exception as error:  # importing a plugin runs code that is not ours
        reason = f"{type(error).__name__}: {error}"
        raise RuntimeError(f"{name!r} of the {group} ({entry.value}) cannot be imported: {reason}") from error


def where(group: str, name: str) -> str:
    """The import path of a registered name, `package.module:Class`.

    Raises:
        ValueError: no such group or name; the message names the nearest one.
        RuntimeError: two distributions give the name to different things.
    """
    return _entry(group, name).value


def _entry(group: str, name: str) -> EntryPoint:
    entries = _entries(group)
    if name not in entries:
        raise ValueError(f"there is no {name!r} among the {group}; {did_you_mean(name, entries)}")
    entry, *others = entries[name]
    for other in others:
        if other.value != entry.value:
            owners = " and ".join(f"{each.value} of {each.dist.name if each.dist else '?'}" for each in (entry, other))
            raise RuntimeError(f"{name!r} of the {group} is given twice, by {owners}; uninstall one of them")
    return entry


@cache
def _entries(group: str) -> dict[str, list[EntryPoint]]:
    if group not in GROUPS:
        raise ValueError(f"there is no group {group!r}; {did_you_mean(group, GROUPS)}")
    entries: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=f"automl_plugins.{group}"):
        entries.setdefault(entry.name, []).append(entry)
    return entries
