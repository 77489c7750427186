"""Another network in a LightningModule that somebody else wrote and that stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import MISSING, fields
from enum import Enum
from typing import Any

import torch
from torch import nn

from automl_plugins.spaces.task import Task
from automl_plugins.system.nearest import did_you_mean
from automl_plugins.training.lightning import pl

_MOST_NAMED = 12
_MARK = "_put_by_automl_plugins"
"""On a network that was put in: a script's second Trainer goes on with it. It survives a deepcopy."""


class ReplaceNetwork(pl.Callback):
    """Put a network where a LightningModule has its own, before its optimizers are made.

    A searchable put there, with `ArchitectureSearch` as the next callback, makes a search of a
    training; the network of an architecture makes a training of it. The module is changed in memory
    only, and its `training_step`, optimizers and metrics stay what they are.

    Args:
        target: the attribute path of the module's own network (`net`, `encoder.net`); a leading
            `model.` may stand for the LightningModule itself.
        make: makes the new network for a task.
        task: what the network must fit, as arguments of `Task`, over those of the datamodule's `task`;
            whole where the datamodule names none.
    """

    def __init__(self, target: str, make: Callable[[Task], nn.Module], task: Mapping[str, Any] | None = None) -> None:
        self.target = target
        self.make = make
        self.task = dict(task or {})
        self._network: nn.Module | None = None
        self._replaced: list[nn.Parameter] = []

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Replace the network; once for each LightningModule, whatever is done with it first.

        Raises:
            ValueError: the module has nothing at the target, no task is known, or the Trainer's processes
                could not give the new network back to this one.
        """
        if getattr(trainer.strategy, "_start_method", "popen") != "popen":
            raise ValueError(
                "the Trainer starts processes whose modules alone would be changed, so that their weights do not fit "
                "the script's own module in the end; use the strategy 'ddp' instead"
            )
        parent, name = find_target(pl_module, self.target)
        present = getattr(parent, name)
        if not hasattr(present, _MARK):
            self._replaced = list(present.parameters())
            original = present
            present = self.make(find_task(self.task, getattr(trainer, "datamodule", None))).train(original.training)
            take_attributes(original, present)
            setattr(present, _MARK, True)
            setattr(parent, name, present)
        self._network = present

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse a fit that would train the network that was replaced.

        Raises:
            ValueError: the module has put its own network back, or its optimizers have kept that one's parameters.
        """
        parent, name = find_target(pl_module, self.target)
        owner = type(pl_module).__name__
        # Compiled in the meantime (`torch.compile(self.net)` in `setup`), it is the same one.
        if _uncompiled(getattr(parent, name)) is not _uncompiled(self._network):
            raise ValueError(
                f"target={self.target!r}: {owner} makes this network anew in its `setup` or `configure_model`, "
                "after it was replaced; make it in `__init__`, or only where there is none yet"
            )
        held = {
            id(each) for optimizer in trainer.optimizers for group in optimizer.param_groups for each in group["params"]
        }
        if any(id(each) in held for each in self._replaced):
            raise ValueError(
                f"target={self.target!r}: an optimizer of {owner} holds parameters of the network that was replaced; "
                "`configure_optimizers` must take its own from the module when it is called"
            )
        self._replaced = []


def _uncompiled(module: Any) -> Any:
    return getattr(module, "_orig_mod", module)


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
        ValueError: there is no module at the path; the message names those that there are.
    """
    names = [name for name, _ in module.named_modules() if name]
    path = target if target in names else target.removeprefix("model.")
    if path not in names:
        shown = ", ".join(sorted(names, key=lambda name: (name.count("."), names.index(name)))[:_MOST_NAMED])
        more = ", ..." if len(names) > _MOST_NAMED else ""
        late = "; what `setup` or `configure_model` makes comes too late" if path.count(".") == 0 else ""
        raise ValueError(
            f"target={target!r}: {type(module).__name__} has no such module{late}; "
            f"{did_you_mean(path, names)} (all: {shown or 'none'}{more})"
        )
    parent, _, name = path.rpartition(".")
    return module.get_submodule(parent), name


def find_task(given: Mapping[str, Any], datamodule: object) -> Task:
    """The task of a datamodule, with what was given over it.

    Args:
        given: arguments of `Task`.
        datamodule: the Trainer's; None where the loaders were given alone.

    Raises:
        ValueError: something is missing, or out of range.
    """
    named = getattr(datamodule, "task", None)
    arguments = {**(named.to_dict() if isinstance(named, Task) else {}), **given}
    missing = [each.name for each in fields(Task) if each.default is MISSING and each.name not in arguments]
    if missing:
        whose = "there is no datamodule" if datamodule is None else f"{type(datamodule).__name__} has no `task`"
        raise ValueError(
            f"what the network must fit is not known: {whose}, and task.{', task.'.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not given (--task.{missing[0]} ...)"
        )
    return Task(**arguments)
