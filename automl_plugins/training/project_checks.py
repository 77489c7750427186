"""Refusals of a project's arguments that are something else than they should be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Task
from automl_plugins.training.lightning import check_distribution, pl


def check_kinds(**given: Any) -> None:
    """Refuse arguments that are something else than they should be.

    Raises:
        TypeError: one is; the message says what is accepted.
    """
    kinds: dict[str, tuple[Any, str]] = {
        "space": (SearchSpace, "a search space, such as AGNNSpace(layers=2)"),
        "task": (Task, "an automl_plugins.Task"),
        "trainer": (Mapping, "a mapping of arguments of Lightning's Trainer, such as {'max_epochs': 50}"),
        "monitor": (str, "the name of a validation metric"),
        "folder": (str | Path, "the path of a folder"),
    }
    for name, (kind, words) in kinds.items():
        value = given[name]
        if isinstance(value, type):
            raise TypeError(f"{name} is {words}; got the class {value.__name__} (forgotten parentheses?)")
        if value is not None and not isinstance(value, kind):
            raise TypeError(f"{name} is {words}; got {value!r}")
    if given["space"] is None:
        raise TypeError("space is a search space; got None")
    check_distribution(given["data"])
    if not isinstance(given["data"], pl.LightningDataModule):
        raise TypeError(f"data is a LightningDataModule; got {given['data']!r}")
    _check_module(given["module"])


def _check_module(module: Any) -> None:
    if isinstance(module, pl.LightningModule | nn.Module):
        raise TypeError(
            f"module makes a LightningModule of a network and its task (a class, or a function); got one that is made, "
            f"{type(module).__name__}"
        )
    if module is not None and not callable(module):
        raise TypeError(f"module is a class or function of a network and its task; got {module!r}")
