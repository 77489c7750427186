"""The place of a network in a LightningModule: found by its attribute path, and filled with another one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import nn

from automl_plugins.system.nearest import did_you_mean

_MOST_NAMED = 12
_MARK = "_put_by_automl_plugins"
"""On a network that was put in: a script's second Trainer goes on with it. It survives a deepcopy."""


class NoTargetError(ValueError):
    """A module has nothing at a target; the message names what it has."""


@dataclass(frozen=True)
class Place:
    """The place of one network.

    Args:
        module: the LightningModule.
        target: the attribute path, without a leading `model.` that stands for the module itself.
    """

    module: nn.Module
    target: str

    @property
    def present(self) -> nn.Module:
        """The network that is there."""
        return self.module.get_submodule(self.target)

    @property
    def is_filled(self) -> bool:
        """True where a network was put."""
        return hasattr(uncompiled(self.present), _MARK)

    def fill(self, network: nn.Module) -> None:
        """Put a network, wherever in the module the present one is, compiled as that one was."""
        original = self.present
        network.train(original.training)
        take_attributes(uncompiled(original), network)
        setattr(network, _MARK, True)
        if original is not uncompiled(original):
            network = type(original)(network, original.dynamo_ctx)
        for part in list(self.module.modules()):
            for name, child in part._modules.items():
                if child is original:
                    part._modules[name] = network


def uncompiled(module: Any) -> Any:
    """The module that was compiled, or the module itself."""
    return getattr(module, "_orig_mod", module)


def places(module: nn.Module, target: str) -> list[Place]:
    """The places at an attribute path: one, or those in a `ModuleList` or `ModuleDict` that is there.

    Args:
        module: the LightningModule.
        target: the path; a leading `model.` may stand for `module` itself.

    Raises:
        NoTargetError: there is no module at the path; the message names those that there are.
    """
    parent, name = find_target(module, target)
    path = target if parent is module and target == name else _path(module, parent, name)
    found = getattr(parent, name)
    if type(found) in (nn.ModuleList, nn.ModuleDict):
        return [Place(module, f"{path}.{each}") for each, _ in found.named_children()]
    return [Place(module, path)]


def _path(module: nn.Module, parent: nn.Module, name: str) -> str:
    above = next(path for path, part in module.named_modules() if part is parent)
    return f"{above}.{name}".strip(".")


def take_attributes(original: nn.Module, network: nn.Module) -> None:
    """Give a network the plain values that the one in whose place it comes has under names of its own.

    A project may read them: the width of its encoder, say. Numbers, texts and containers of them are taken, those that
    properties compute too; methods, tensors and modules are not, since they belong to the other network.
    """
    for name in dir(original):
        if name.startswith("_") or hasattr(nn.Module, name) or hasattr(network, name):
            continue
        with suppress(Exception):  # a property may ask for what is not there yet
            value = getattr(original, name)
            if _is_plain(value):
                setattr(network, name, value)


def _is_plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_plain, [*value.keys(), *value.values()]))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str | torch.dtype | Enum)


def find_target(module: nn.Module, target: str) -> tuple[nn.Module, str]:
    """The place of a network: the module that holds it, and its name there.

    Args:
        module: the LightningModule.
        target: the attribute path; a leading `model.` may stand for `module` itself.

    Raises:
        NoTargetError: there is no module at the path; the message names those that there are.
    """
    names = [name for name, _ in module.named_modules() if name]
    path = target if target in names else target.removeprefix("model.")
    if path not in names:
        shown = ", ".join(sorted(names, key=lambda name: (name.count("."), names.index(name)))[:_MOST_NAMED])
        more = ", ..." if len(names) > _MOST_NAMED else ""
        raise NoTargetError(
            f"target={target!r}: {type(module).__name__} has no such module, after its `setup` and `configure_model`; "
            f"{did_you_mean(path, names)} (all: {shown or 'none'}{more})"
        )
    parent, _, name = path.rpartition(".")
    return module.get_submodule(parent), name
