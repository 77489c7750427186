"""Classes that a run's files name: registered ones, and those that have been imported; no other is."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, TypeVar

from automl_plugins import registry
from automl_plugins.training.description import import_path

_Base = TypeVar("_Base")


def safe_class(group: str, base: type[_Base], path: str) -> type[_Base] | None:
    """The class of a registered name or an import path; nothing is imported but what is registered.

    Args:
        group: of the registry.
        base: of the classes that are meant.
        path: the name, or the import path.

    Returns:
        None: there is none, or it is neither registered nor imported.
    """
    if path in registry.names(group):
        return _checked(registry.load(group, path), base)
    module, _, name = path.rpartition(".")
    for registered in registry.names(group):
        where = registry.where(group, registered).replace(":", ".")
        if where.partition(".")[0] == path.partition(".")[0] or where.rpartition(".")[2] == path:
            cls = registry.load(group, registered)
            if path in (import_path(cls), where, where.rpartition(".")[2]):
                return _checked(cls, base)
    # A class of the script that is run is told by the script's name, which is no module's here.
    own = getattr(sys.modules.get("__main__"), name, None)
    if isinstance(own, type) and import_path(own) == path:
        return _checked(own, base)
    return _checked(getattr(sys.modules.get(module), name, None), base)


def named_class(setting: Any) -> tuple[str | None, dict[str, Any]]:
    """The name and the arguments of a class in a configuration; arguments alone where it is not named.

    Raises:
        ValueError: the arguments hold other objects.
    """
    if not isinstance(setting, Mapping):
        return (None if setting is None else str(setting)), {}
    arguments = dict(setting.get("init_args") or {}) if "class_path" in setting else dict(setting)
    if "class_path" in json.dumps(arguments):
        raise ValueError("it is made of other objects")
    return (str(setting["class_path"]) if "class_path" in setting else None), arguments


def _checked(cls: Any, base: type[_Base]) -> type[_Base] | None:
    return cls if isinstance(cls, type) and issubclass(cls, base) else None
