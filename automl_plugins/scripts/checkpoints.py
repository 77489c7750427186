"""Checkpoints of a project whose networks were replaced: they name what was put there, and its class reads them.

Importing this module is what lets `LitUser.load_from_checkpoint` put the same networks in place before their weights.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Any

from torch import nn

from automl_plugins.errors import DivergedError
from automl_plugins.scripts.found_call import FoundCall
from automl_plugins.scripts.places import Place
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Task
from automl_plugins.studies.safe_classes import named_class, safe_class
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.training.adapted import Adapted
from automl_plugins.training.distribution import PACKAGE
from automl_plugins.training.lightning import pl

KEY = "automl_plugins"
"""The key in a checkpoint."""
_INSTANTIATOR = "_instantiator"
_OURS = f"{__name__}.instantiate"
_OURS_OF_THE_CLI = f"{__name__}.instantiate_from_cli"


def named_network(network: nn.Module, space: Mapping[str, Any], task: Task, architecture: str | None) -> dict[str, Any]:
    """The words of a checkpoint about a network that was put in place, as plain values.

    Args:
        network: the network, a searchable, or either of them adapted.
        space: its class and arguments.
        task: what it fits.
        architecture: as JSON; None: what the logits of a searchable stand for now.
    """
    inner = network.network if isinstance(network, Adapted) else network
    searched = isinstance(inner, Searchable)
    if isinstance(inner, Searchable):
        try:
            architecture = inner.architecture().to_json()
        except (DivergedError, ValueError):
            architecture = None
    adapters = (
        [each for each in network.adapters if isinstance(each, FoundCall)] if isinstance(network, Adapted) else []
    )
    return {
        "architecture": None if architecture is None else json.loads(architecture),
        "is_searchable": searched,
        "space": dict(space),
        "task": task.to_dict(),
        "adapters": [each.to_dict() for each in adapters],
    }


def name_networks(checkpoint: dict[str, Any], networks: Mapping[str, Mapping[str, Any]]) -> None:
    """Have a checkpoint name its networks, and have Lightning put them in place when a class loads it.

    Args:
        checkpoint: Lightning's.
        networks: see `named_network`, by target.
    """
    if not networks:
        return
    checkpoint[KEY] = {"networks": dict(networks)}
    arguments = checkpoint.setdefault(pl.LightningModule.CHECKPOINT_HYPER_PARAMS_KEY, {})
    if isinstance(arguments, dict):
        before = arguments.get(_INSTANTIATOR)
        arguments[_INSTANTIATOR] = _OURS if before in (None, _OURS) else _OURS_OF_THE_CLI


def instantiate(cls: type, arguments: dict[str, Any]) -> Any:
    """A LightningModule of its arguments, which puts networks in place as its checkpoint names them."""
    return _reading(cls(**arguments))


def instantiate_from_cli(cls: type, arguments: dict[str, Any]) -> Any:
    """The same, of arguments that LightningCLI has kept."""
    return _reading(importlib.import_module(f"{PACKAGE}.cli").instantiate_module(cls, arguments))


def _reading(module: Any) -> Any:
    own = module.on_load_checkpoint

    def on_load_checkpoint(checkpoint: dict[str, Any]) -> None:
        del module.on_load_checkpoint
        put_networks(module, checkpoint)
        own(checkpoint)

    module.on_load_checkpoint = on_load_checkpoint
    return module


def put_networks(module: nn.Module, checkpoint: Mapping[str, Any]) -> None:
    """Put the networks that a checkpoint names in place, untrained.

    Raises:
        ValueError: one is of a space that is neither registered nor imported, or cannot be made.
    """
    for target, named in checkpoint.get(KEY, {}).get("networks", {}).items():
        Place(module, target).fill(network_of(named))


def network_of(named: Mapping[str, Any]) -> nn.Module:
    """The network that plain values name, see `named_network`, untrained.

    Raises:
        ValueError: it is of a space that is neither registered nor imported, or cannot be made.
    """
    path, arguments = named_class(named["space"])
    cls = safe_class("spaces", SearchSpace, str(path))  # type: ignore[type-abstract]  # its subclasses are meant
    if cls is None:
        raise ValueError(f"the checkpoint's space {path} is not registered; import it, and load the checkpoint then")
    space, task = cls(**arguments), Task(**named["task"])
    if named["is_searchable"]:
        network: nn.Module = space.searchable(task)  # type: ignore[attr-defined]
    else:
        network = space.network(Architecture.from_json(json.dumps(named["architecture"])), task)
    adapters = [FoundCall.from_dict(each) for each in named["adapters"]]
    return Adapted(network, *adapters) if adapters else network


def _trust() -> None:
    """Have Lightning take `instantiate` for one that it may call; older ones ask nothing."""
    saving = importlib.import_module(f"{PACKAGE}.core.saving")
    trusted = getattr(saving, "_ALLOWED_INSTANTIATORS", None)
    if isinstance(trusted, set):
        trusted.update((_OURS, _OURS_OF_THE_CLI))


_trust()
