"""The plugins that are installed: spaces, samplers, data sets and the like, found through entry points.

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
    "estimators": "scores of architectures without a full training (`Estimator` classes)",
    "predictors": "models that rank untried architectures from the trials so far",
    "data": "LightningDataModules that name their task",
    "modules": "LightningModules, named `<level>-<target>` after the tasks that they train for",
    "probes": "inputs, labels and sample units of a level, named after it (`Probe` classes)",
    "relaxations": "maps from architecture logits to gates",
    "strategies": "methods that learn architecture logits in one fit",
    "procedures": "searches of several fits, or of none",
    "regularizers": "terms beside the loss of a search",
    "perturbations": "changes of gates or weights before a step of a search",
    "stops": "conditions that end a search",
    "decoders": "readers of architectures off a search's logits",
    "references": "hand-made networks to stand beside what was found",
}


def names(group: str) -> list[str]:
    """The names that a group holds, sorted.

    Raises:
        ValueError: there is no such group.
    """
    return sorted(_entries(group))


def filled() -> list[str]:
    """The groups that have members."""
    return [group for group in GROUPS if _entries(group)]


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
        others = did_you_mean(name, entries) if entries else "none is installed"
        raise ValueError(f"there is no {name!r} among the {group}; {others}")
    entry, *doubles = entries[name]
    for other in doubles:
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
