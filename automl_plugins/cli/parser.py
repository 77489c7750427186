"""The settings of a command: jsonargparse types, merges, completes and makes them."""

from __future__ import annotations

import contextlib
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from jsonargparse import ArgumentParser, Namespace, set_loader, set_parsing_settings
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from torch import nn

from automl_plugins.cli.classes import SUPPLIED, look, looked_at, registered
from automl_plugins.cli.errors import UsageError, told_briefly, without_deprecations
from automl_plugins.cli.explained import explained
from automl_plugins.cli.settings import Given, load
from automl_plugins.cli.source import arguments_of, resolve
from automl_plugins.search import ArchitectureSearch, Strategy
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Level, Target, Task
from automl_plugins.studies.study import Study
from automl_plugins.training.fit import ModuleFactory
from automl_plugins.training.lightning import pl
from automl_plugins.training.project import Project
from automl_plugins.training.registered_module import RegisteredModule
from automl_plugins.training.trainer_options import check_makes_a_trainer

set_loader("automl-plugins", load, exceptions=(ValueError,))
_TYPES: dict[str, Any] = {
    "space": SearchSpace,
    "data": pl.LightningDataModule,
    "module": ModuleFactory,
    "task": Task | None,
    "sampler": str | BaseSampler,
    "pruner": str | BasePruner,
}
_REFUSALS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What a module may raise for a task that is not its own."""


class Settings:
    """The settings of a command.

    Args:
        given: the command line.
        keys: those of `space`, `data`, `module`, `task`, `trainer`, `search`, `sampler` and `pruner` that it takes; or
            `part of a task`, or several `samplers`.
        function: a function or class all other arguments of which are keys, too.
        others: further keys, with their types.

    Raises:
        UsageError: whatever is wrong with them.
    """

    def __init__(self, given: Given, keys: Sequence[str], function: Any = None, **others: Any) -> None:
        self.given = given
        self.bare_module = given.bare_module if "module" in keys else None
        self._parser = ArgumentParser(
            exit_on_error=False, allow_abbrev=False, parser_mode="automl-plugins", print_config=None
        )
        self._parser.add_argument("--config", action="config")
        for key in keys:
            self._add(key)
        if function is not None:
            self._parser.add_function_arguments(function, skip=set(_TYPES) | {"trainer"}, fail_untyped=False)
        for key, kind in others.items():
            self._parser.add_argument(f"--{key}", type=kind)
        self.values = self._parse(given if self.bare_module is None else given.without("module"))
        if self.bare_module is not None:
            self._check_bare_module(self.bare_module)

    def _add(self, key: str) -> None:
        if key == "trainer":
            self._parser.add_class_arguments(pl.Trainer, key, fail_untyped=False, instantiate=False)
        elif key == "search":
            skip = {"strategy", *SUPPLIED[key]}
            self._parser.add_class_arguments(ArchitectureSearch, key, skip=skip, fail_untyped=False, instantiate=False)
            strategy = look("search.strategy", "darts")
            self._parser.add_argument("--search.strategy", type=str | Strategy, default=strategy)
        elif key == "part of a task":
            for name, hint in get_type_hints(Task).items():
                self._parser.add_argument(f"--task.{name}", type=hint | None)
        elif key == "samplers":
            sampler = str | BaseSampler
            self._parser.add_argument("--sampler", type=list[sampler] | sampler)  # type: ignore[valid-type]
        else:
            default = look(key, "TPESampler") if key == "sampler" else None
            self._parser.add_argument(f"--{key}", type=_TYPES[key], default=default)

    def _parse(self, given: Given) -> Namespace:
        for key, value in given.values():
            if isinstance(value, float) and not math.isfinite(value):
                raise UsageError(f"{key} is a number, and finite; got {value}")
        _let_import()
        texts = ((key or "config", text if isinstance(text, str) else json.dumps(text)) for key, text in given.items)
        try:
            with without_deprecations():
                return self._parser.parse_args([f"--{key}={text}" for key, text in texts])
        except Exception as error:  # jsonargparse raises nearly anything for what it does not expect
            raise UsageError(explained(str(error), given)) from error

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    def plain(self) -> dict[str, Any]:
        """The whole configuration as plain values; of the Trainer and of parts that are made later, what was given."""
        values = self.values.clone()
        values.pop("config", None)
        whole, lean = (
            load(self._parser.dump(values, skip_unset=False, skip_default=skip_default))
            for skip_default in (False, True)
        )
        for key in ("sampler", "pruner"):
            if isinstance(whole.get(key), Mapping):
                whole[key] = {"class_path": whole[key]["class_path"], **lean.get(key, {})}
        if "trainer" in whole:
            whole["trainer"] = {name: whole["trainer"][name] for name in self._of_trainer()}
        if isinstance(whole.get("search", {}).get("strategy"), Mapping):
            whole["search"]["strategy"] |= lean["search"]["strategy"]
        return whole if self.bare_module is None else {**whole, "module": self.bare_module}

    def _of_trainer(self) -> list[str]:
        given = {key.split(".")[1].rstrip("+") for key, _ in self.given.values() if key.startswith("trainer.")}
        return [name for name in self.values["trainer"].as_dict() if name in given]

    def make(self, key: str) -> Any:
        """What a setting stands for; None: it was not given.

        Raises:
            UsageError: it refuses an argument; the message names the argument with its key.
        """
        if key == "module" and self.bare_module is not None:
            made: Any = RegisteredModule(self.bare_module)
        elif self.values.get(key) is None:
            return None
        else:
            with self._told(key), without_deprecations():
                made = self._parser.instantiate(Namespace({key: self.values[key]}))[key]
        if key == "module":
            self._try_module(made)
        return made

    def search(self, **arguments: Any) -> ArchitectureSearch:
        """The callback of a differentiable search.

        Args:
            arguments: those that the program supplies.

        Raises:
            UsageError: an argument is out of range.
        """
        made = self.make("search")
        with self._told("search"):
            return ArchitectureSearch(**dict(made.items()), seed=self.values.get("seed") or 0, **arguments)

    @property
    def strategy_name(self) -> str:
        """The name of a search's strategy, or of its class."""
        strategy = self.values["search.strategy"]
        return strategy if isinstance(strategy, str) else str(strategy.class_path).rpartition(".")[2]

    def part_of_a_task(self) -> dict[str, Any]:
        """The arguments of a task that were given; the rest comes from the datamodule of a training script.

        Raises:
            UsageError: they are all there, and do not make one.
        """
        given = {name: value for name, value in self.values["task"].as_dict().items() if value is not None}
        if all(each.name in given for each in fields(Task) if each.default is MISSING):
            with told_briefly("task", 2, ValueError):
                Task(**given)
        return given

    def samplers(self) -> list[Any]:
        """The samplers that are compared, each by its name, or with its class and arguments."""
        value = self.plain()["sampler"]
        return list(self.given.get("sampler")) if isinstance(value, list) else [value]

    def project(self, *keys: str, folder: Path | None = None) -> Project:
        """The project of a training; nothing is read yet.

        Args:
            keys: those of `module` and `task` that the command takes, beside the space and the data.
            folder: where results are kept.

        Raises:
            UsageError: whatever is wrong with them.
        """
        made = {key: self.make(key) for key in ("space", "data", *keys)}
        with told_briefly("", 2, ValueError, TypeError):
            return Project(**made, seed=self.values.get("seed") or 0, folder=folder)

    def trainer(self) -> dict[str, Any]:
        """The arguments of Lightning's Trainer that were given, with the objects that they name.

        Raises:
            UsageError: Lightning refuses one.
        """
        made = self.make("trainer")
        options = {name: made[name] for name in self._of_trainer()}
        with told_briefly("", 2, ValueError):
            check_makes_a_trainer(options)
        return options

    @contextlib.contextmanager
    def _told(self, key: str) -> Iterator[None]:
        """Have a constructor's message follow the key that it is about."""
        try:
            yield
        except (ValueError, TypeError) as error:
            # Of a union, jsonargparse tells why each member was refused.
            reasons = re.findall(r"^ *- (?!Expected)(.+)$", str(error), re.MULTILINE)
            raise UsageError(self._of_argument(key, reasons[0] if reasons else str(error))) from error

    def _of_argument(self, key: str, message: str) -> str:
        first = re.split(r"\W", message, maxsplit=1)[0]
        given = {name.rpartition(".")[2] for name, _ in self.given.values() if name.startswith(f"{key}.")}
        return f"{key}.{message}" if first in given else f"{key}: {message}"

    def _check_bare_module(self, arguments: Mapping[str, Any]) -> None:
        """Check arguments of the module that is registered for the data's task, whichever it will be.

        Raises:
            UsageError: no registered module takes one's value.
        """
        found = {path: resolve(path) for path in dict.fromkeys(registered("modules").values())}
        taking = [path for path, each in found.items() if each and set(arguments) <= set(arguments_of(each)[0])]
        if not all(path.partition(".")[0] in sys.modules for path in taking):
            return  # it may be that one, which is not worth the import of another level's packages
        failures = []
        for path in taking:
            spec = look("module", {"class_path": path, "init_args": arguments})
            _let_import()
            try:
                self._parser.parse_object({"module": spec}, defaults=False)
            except Exception as error:
                failures.append(explained(str(error), self.given))
            else:
                return
        if failures:
            raise UsageError(failures[0])

    def _try_module(self, factory: ModuleFactory) -> None:
        """Refuse a module's argument that is out of range, before the data say which task it is for.

        A module that can be made for none of the possible tasks, and blames one of its arguments, is refused.

        Raises:
            UsageError: it is.
        """
        refusals = []
        for level in get_args(Level):
            for target in get_args(Target):
                task = Task(level, target, in_channels=1, out_channels=1 if target == "binary" else 2)
                try:
                    factory(nn.Identity(), task)
                except _REFUSALS as error:
                    refusals.append(self._of_argument("module", str(error)))
                else:
                    return
        told = next((refusal for refusal in refusals if refusal.startswith("module.")), None)
        if told is not None:
            raise UsageError(told)


def _let_import() -> None:
    """Have jsonargparse import what has been looked at, and nothing else."""
    names = [path for path in looked_at if all(part.isidentifier() for part in path.split("."))]
    set_parsing_settings(
        import_path_denylist=["*"], import_path_allowlist=names, instantiate_subclass_spec_in_any=False
    )
