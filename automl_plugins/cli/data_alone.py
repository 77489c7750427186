"""A study of data alone: the data are looked at, and what was left out is chosen by rules and said."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from automl_plugins.cli.classes import registered
from automl_plugins.cli.errors import UsageError, say, told_briefly
from automl_plugins.cli.look import looked_at
from automl_plugins.cli.parser import Settings
from automl_plugins.cli.settings import Given, Item
from automl_plugins.cli.source import arguments_of, resolve
from automl_plugins.errors import StudyError
from automl_plugins.spaces.task import Task
from automl_plugins.studies.defaults import SPACES, DataFacts, chosen
from automl_plugins.system.nested import tensors_in
from automl_plugins.training.data.draft import Reasoned
from automl_plugins.training.fingerprint import flat_loaders
from automl_plugins.training.fit import seeded
from automl_plugins.training.registered_module import RegisteredModule
from automl_plugins.training.tunable import arguments_of as arguments_of_call


def with_chosen(given: Given, command: str) -> Given:
    """The settings of a study, with those that rules choose for its data where no space is given.

    Raises:
        UsageError: the data cannot be read, or have a level for which no rule knows a space.
    """
    given.needs("data")
    if given.get("space") is not None or given.get("space.class_path") is not None:
        return given
    _, facts = read_data(given)
    asked = given.get("sampler.class_path", given.get("sampler"))
    asked = "priorband" if asked is not None and asked == registered("samplers").get("priorband") else asked
    found = {key: value for key, value in chosen(facts, given.get("trials"), asked).items() if key not in given}
    if SPACES[facts.level] not in registered("spaces"):
        raise UsageError(
            f"space is missing, and {SPACES[facts.level]!r}, which is for {facts.level}s, is not installed"
        )
    told = ", ".join(f"{key}={_written(value)}" for key, value in found.items())
    say(f"chooses for {facts.samples:,} training samples of level {facts.level}: {told}", command)
    items = tuple(Item(key, value) for key, value in found.items())
    return looked_at(replace(given, items=(*given.items, *items)))


def read_data(given: Given) -> tuple[Any, DataFacts]:
    """The datamodule that was asked for, whose training data have been read, and their level and size.

    Raises:
        UsageError: it cannot be made, or its data cannot be read.
    """
    parts = Given(tuple(_of_data(given)), configs=given.configs)
    parts.check_folder(Path())
    settings = Settings(parts, ("data", "task"), seed=int)
    data, task = settings.make("data"), settings.make("task")
    path = str(given.get("data.class_path", given.get("data")))
    definition = resolve(path)
    takes = {} if definition is None else arguments_of(definition)[0]
    with told_briefly("data", 1, OSError, ImportError, ValueError, RuntimeError, StudyError):
        with seeded(settings["seed"] or 0):
            data.prepare_data()
            data.setup("fit")
            loader = flat_loaders(data.train_dataloader())[0]
            batch = next(iter(loader))
        task = task or getattr(data, "task", None)
        if not isinstance(task, Task):
            raise StudyError(f"{type(data).__name__} has no `task`, so give one (--task.level ...)")
    images = [each for each in tensors_in(batch) if each.ndim == 4] if task.level in ("pixel", "image") else []
    accelerator = given.get("trainer.accelerator", "auto")
    return data, DataFacts(
        level=task.level,
        samples=len(getattr(loader, "dataset", [0])),  # of one graph that is repeated, there is none
        pixels=images[0].shape[-1] * images[0].shape[-2] if images else 0,
        batch_size=getattr(loader, "batch_size", None) or 1,
        batches=len(loader),
        sets_batch_size="batch_size" in takes and not any(name in given for name in _BATCH_SIZE),
        on_accelerator=accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available()),
        defaults=_defaults(given, task),
        recommended=_recommended(data, given),
    )


def _recommended(data: Any, given: Given) -> dict[str, Reasoned]:
    """The arguments that a datamodule recommends for what it has read; none that was given."""
    found = data.recommended() if hasattr(data, "recommended") else {}
    taken = {name.removeprefix("data.").removeprefix("init_args.").partition(".")[0] for name, _ in given.values}
    return {name: each for name, each in found.items() if name not in taken}


def _defaults(given: Given, task: Task) -> dict[str, float]:
    """The numbers that the task's registered module has by default; none where a module, or one of them, was given."""
    own = [name for name, _ in given.values if name == "module" or name.startswith("module.")]
    if any(name in ("module", "module.class_path") for name in own):
        return {}
    with told_briefly("module", 2, ValueError):
        defaults = arguments_of_call(RegisteredModule().of(task), supplied=2).defaults
    given_names = {name.rpartition(".")[2] for name in own}
    return {
        name: float(value)
        for name, value in defaults.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name not in given_names
    }


_BATCH_SIZE = ("data.batch_size", "data.init_args.batch_size")


def _of_data(given: Given) -> Iterator[Item]:
    """The items that say what the data are."""
    keys = ("data", "task", "seed")
    for item in given.items:
        if item.key and item.name in keys:
            yield item
        elif not item.key:
            yield Item("", {name: item.value[name] for name in keys if name in item.value})


def _written(value: Any) -> str:
    return json.dumps(value) if isinstance(value, Mapping) else "null" if value is None else str(value)
