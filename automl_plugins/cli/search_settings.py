"""The settings of a search: what `search`, `derive` and an attached script check and make alike."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from automl_plugins.cli.checks import check_call, check_keys, convert, shown
from automl_plugins.cli.configuration import make, make_space, short_name
from automl_plugins.cli.errors import UsageError, told_briefly
from automl_plugins.cli.plugins import check_plugin, one_of
from automl_plugins.cli.search_keys import SUPPLIED
from automl_plugins.cli.settings import Given, plain
from automl_plugins.search import ArchitectureSearch, Strategy
from automl_plugins.studies.folder import RunFolder
from automl_plugins.supernets.space import SupernetSpace


def check_search_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Check what a search has in a training script and through LightningCLI alike: `space`, `search` and `seed`.

    Raises:
        UsageError: whatever is wrong with them.
    """
    if settings.get("space") is None:
        raise UsageError(f"space is missing; {one_of('spaces')}")
    space = make_space(settings["space"])
    if not isinstance(space, SupernetSpace):
        raise UsageError(
            f"space={short_name(settings['space'])!r}: it has no supernet to learn by gradients; "
            "`automl-plugins study` searches it by trials"
        )
    seed = convert("seed", settings.get("seed", 0), int)
    if seed < 0:
        raise UsageError(f"seed is at least 0; got {seed}")
    search = check_search(settings.get("search") or {})
    make_search({**search, "seed": seed})
    return {"space": check_plugin("space", "spaces", settings["space"], SupernetSpace), "search": search, "seed": seed}


def check_search(given: Any) -> dict[str, Any]:
    """Check the arguments of `ArchitectureSearch`.

    Raises:
        UsageError: whatever is wrong with them.
    """
    # A flag `--search 3` over a mapping reads like the name of a class.
    name = given.get("class_path") if isinstance(given, Mapping) else given
    if name is not None:
        raise UsageError(f"search is a mapping of arguments, such as strategy: darts; got {shown(name)}")
    rest = {key: value for key, value in given.items() if key != "strategy"}
    check_keys(rest, [*search_defaults()], "search.")
    checked = check_call(ArchitectureSearch, rest, "search.", supplied=("strategy", *SUPPLIED))
    strategy = given.get("strategy")
    if strategy is not None:
        plugin = check_plugin("search.strategy", "strategies", strategy, Strategy)
        checked["strategy"] = str(strategy) if isinstance(strategy, str) else plugin
    return dict(plain(checked))


def make_search(settings: Mapping[str, Any]) -> ArchitectureSearch:
    """The callback, from its checked arguments.

    Raises:
        UsageError: one is out of range.
    """
    arguments = dict(settings)
    if isinstance(arguments.get("strategy"), Mapping):
        arguments["strategy"] = make("strategy", Strategy, arguments["strategy"])
    with told_briefly("search", 2, ValueError, TypeError):
        return ArchitectureSearch(**arguments)


def folder_of(given: Given, otherwise: str) -> str:
    """The folder that is given, or one named after the last YAML file, or after something else.

    Raises:
        UsageError: it is no text.
    """
    stem = given.configs[-1].stem if given.configs else otherwise
    return str(convert("folder", given.settings.get("folder", str(Path("runs", stem))), str))


def kept_config(folder: RunFolder, given: Iterable[Path], text: str) -> Path:
    """Where a folder's whole configuration is kept: in its config.yaml, unless that is a file of the user's own.

    Args:
        folder: of the search.
        given: the files that were given with `--config`, which are never written over.
        text: the whole configuration.
    """
    beside = folder.path / "search.yaml"
    if beside.exists():
        return beside
    own = folder.config.exists() and any(path.samefile(folder.config) for path in given if path.exists())
    return beside if own and folder.config.read_text(encoding="utf-8") != text else folder.config


def search_defaults() -> dict[str, Any]:
    """The arguments of `ArchitectureSearch` that are settings, with their defaults."""
    parameters = inspect.signature(ArchitectureSearch).parameters
    return {name: each.default for name, each in parameters.items() if name not in SUPPLIED}
