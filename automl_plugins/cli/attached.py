"""The part that an untouched training script meets: a factory of callbacks that Lightning asks at every new Trainer.

Both distributions of Lightning find it through their entry points. It gives none, and imports nothing, unless
`automl-plugins search` or `attach` has started the script.
"""

from __future__ import annotations

import json
import os
from functools import partial
from importlib import import_module
from typing import Any

VARIABLE = "AUTOML_PLUGINS_ATTACHED"
"""The environment variable that holds the settings, as JSON."""

_DISTRIBUTION_VARIABLE = "AUTOML_PLUGINS_LIGHTNING"


def for_pytorch_lightning() -> list[Any]:
    """The callbacks for a Trainer of `pytorch_lightning`."""
    return _callbacks("pytorch_lightning")


def for_lightning() -> list[Any]:
    """The callbacks for a Trainer of `lightning.pytorch`."""
    return _callbacks("lightning")


def _callbacks(distribution: str) -> list[Any]:
    text = os.environ.get(VARIABLE)
    if not text:
        return []
    # A script may have imported both; the one whose Trainer is made is the one that counts, unless the user says.
    # It is settled by our first import; the variable stays set no longer, for processes that are started from here.
    given = _DISTRIBUTION_VARIABLE in os.environ
    os.environ.setdefault(_DISTRIBUTION_VARIABLE, distribution)
    try:
        from automl_plugins.training import lightning
    finally:
        if not given:
            del os.environ[_DISTRIBUTION_VARIABLE]
    if distribution != lightning.DISTRIBUTION:
        raise RuntimeError(
            f"the script's Trainer is of {distribution}, but automl-plugins runs on {lightning.DISTRIBUTION} in it; "
            f"set {_DISTRIBUTION_VARIABLE}={distribution}"
        )
    return make_callbacks(json.loads(text))


def make_callbacks(settings: dict[str, Any]) -> list[Any]:
    """The callbacks that settings ask for.

    Args:
        settings: `target`, `space` and `task`; and either `architecture`, a file, with `mark`, a file that says that
            its network was taken, and `record`, a file for what the training came to (alone, with the script's own
            network); or `search`, the arguments of `ArchitectureSearch`, with the `seed` of the
            searchable, `strategy`, its name, and `summary`, a file for what it came to.
    """
    from pathlib import Path

    from automl_plugins.cli.network_file import read_architecture
    from automl_plugins.cli.search_record import SearchRecord
    from automl_plugins.cli.training_record import TrainingRecord
    from automl_plugins.scripts.replace_network import ReplaceNetwork
    from automl_plugins.search import ArchitectureSearch

    space, task = _made(settings["space"]), settings["task"]
    replace = partial(
        ReplaceNetwork, settings["target"], task=task, reader=space.call_reader, call=settings.get("call")
    )
    named = {"space": settings["space"], "architecture": None}
    records = [TrainingRecord(Path(settings["record"]))] if "record" in settings else []
    if records and "architecture" not in settings:
        return records  # with the script's own network
    if "architecture" in settings:
        architecture = read_architecture(space, Path(settings["architecture"]))

        def network(task: Any) -> Any:
            if "mark" in settings:
                Path(settings["mark"]).touch()
            return space.network(architecture, task)

        return [replace(network, named={**named, "architecture": architecture.to_json()}), *records]
    search = ArchitectureSearch(**_made(settings["search"]))
    searchable = partial(space.searchable, seed=settings["search"]["seed"])
    return [
        replace(searchable, named=named),
        search,
        SearchRecord(Path(settings["summary"]), search, settings["strategy"]),
    ]


def _made(value: Any) -> Any:
    """A setting with the objects that it names, which the command line has checked; the script's parsers stay alone."""
    if isinstance(value, list):
        return [_made(part) for part in value]
    if not isinstance(value, dict):
        return value
    made = {name: _made(part) for name, part in value.items()}
    if "class_path" not in made:
        return made
    module, _, name = made["class_path"].rpartition(".")
    return getattr(import_module(module), name)(**made.get("init_args", {}), **made.get("dict_kwargs", {}))
