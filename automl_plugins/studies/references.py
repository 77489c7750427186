"""The hand-made networks of a study, as its user names them: registered ones, or classes and functions of their own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from automl_plugins.objectives.contender import Contender
from automl_plugins.spaces.hand_made import Reference, find_reference
from automl_plugins.training.description import import_path


def references_of(given: Iterable[str | Reference] | None) -> list[Contender] | None:
    """Hand-made networks as contenders, each once; None where none are given.

    Args:
        given: registered names, import paths (`my_package.MyNet`), classes or functions.

    Raises:
        ValueError: no list of such; or one that does not exist, or makes no networks.
    """
    if given is None:
        return None
    if isinstance(given, str) or not isinstance(given, Iterable):
        cure = f"; write [{given}]" if isinstance(given, str) else ""
        raise ValueError(f"references is a list of names, classes or functions; got {given!r}{cure}")
    found = {contender.key: contender for contender in map(_contender, given)}
    return _told_apart(list(found.values()))


def _contender(given: str | Reference) -> Contender:
    if isinstance(given, str):
        find_reference(given)
        return Contender(given.rpartition(".")[2], reference=given, found_by="hand")
    path = import_path(given) if callable(given) and hasattr(given, "__qualname__") else "<lambda>"
    if path.endswith("<lambda>"):
        on_one_line = " ".join(repr(given).split())
        raise ValueError(
            f"references: {on_one_line} is no name; give a registered one, or a class or function that makes a network "
            "of a task, my_package.MyNet"
        )
    name = re.sub(r"[^\w.]+", "_", path)
    return Contender(given.__name__, reference=name, found_by="hand", make=given)


def _told_apart(contenders: Sequence[Contender]) -> list[Contender]:
    """The same, those by the whole path that share a name."""
    names = Counter(contender.label for contender in contenders)
    return [each if names[each.label] == 1 else replace(each, label=str(each.reference)) for each in contenders]
