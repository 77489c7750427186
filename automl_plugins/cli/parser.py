"""The settings of a command: jsonargparse types, merges, completes and makes them."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, get_args, get_type_hints

from jsonargparse import ArgumentParser, Namespace, _common, set_loader, set_parsing_settings
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from torch import nn

from automl_plugins.cli.classes import KINDS, SUPPLIED, importable, registered
from automl_plugins.cli.errors import UsageError, told_briefly, without_deprecations
from automl_plugins.cli.explained import explained, said_by_constructor
from automl_plugins.cli.look import look, over
from automl_plugins.cli.settings import Given, load
from automl_plugins.search import ArchitectureSearch, Strategy
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Level, Target, Task
from automl_plugins.studies.folder import RunFolder
from automl_plugins.supernets.space import SupernetSpace
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
}
_LATER: dict[str, tuple[type, str | None]] = {
    "sampler": (BaseSampler, "TPESampler"),
    "pruner": (BasePruner, None),
    "search.strategy": (Strategy, "darts"),
}
"""Keys whose classes are made later, of their names and arguments: their bases, and the names where left out."""
_REFUSALS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""Errors that a module may raise for a task that is not its own."""


class Settings:
    """The settings of a command.

    Args:
        given: the command line.
        keys: those of `space`, `data`, `module`, `task`, `trainer`, `search`, `sampler` and `pruner` that it takes; or
            `part of a task`.
        function: a function or class all other arguments of which are keys, too.
        home: the folder of the run, where none is named; None: the command has none.
        others: further keys, with their types.

    Raises:
        UsageError: whatever is wrong with them.
    """

    def __init__(
        self, given: Given, keys: Sequence[str], function: Any = None, home: Path | None = None, **others: Any
    ) -> None:
        self.given = given
        self.bare_module = given.bare_module if "module" in keys else None
        self._parser = _bare_parser()
        self._parser.add_argument("--config", action="config")
        for key in keys:
            self._add(key)
        if function is not None:
            self._parser.add_function_arguments(function, skip={*_TYPES, *_LATER, "trainer"}, fail_untyped=False)
        if home is not None and function is None:
            others |= {"seed": int, "folder": str}
        for key, kind in others.items():
            self._parser.add_argument(f"--{key}", type=kind)
        if home is not None:
            self._parser.set_defaults(seed=0, folder=str(home))
        self.values = self._parse(given if self.bare_module is None else given.without("module"))
        if home is not None:
            given.check_folder(self.folder.path)

    def _add(self, key: str) -> None:
        parser = self._parser
        if key == "trainer":
            parser.add_class_arguments(pl.Trainer, key, fail_untyped=False, instantiate=False)
        elif key == "search":
            skip = {"strategy", *SUPPLIED[key]}
            parser.add_class_arguments(ArchitectureSearch, key, skip=skip, fail_untyped=False, instantiate=False)
            self._add("search.strategy")
        elif key == "part of a task":
            for name, hint in get_type_hints(Task).items():
                parser.add_argument(f"--task.{name}", type=hint | None)
        elif key in _LATER:
            base, default = _LATER[key]
            parser.add_subclass_arguments(base, key, as_group=False, skip=set(SUPPLIED.get(key, ())))
            if default is not None:
                path = look(key, default)
                with _looking_first():
                    parser.set_defaults({key: {"class_path": path}})
        else:
            parser.add_argument(f"--{key}", type=_TYPES[key])

    def _parse(self, given: Given) -> Namespace:
        for key, value in given.values:
            if isinstance(value, float) and not math.isfinite(value):
                raise UsageError(f"{key} is a number, and finite; got {value}")
        try:
            with without_deprecations(), _looking_first():
                return self._parser.parse_args(
                    [f"--{item.key or 'config'}={item.written}" for item in given.joined("tune").items]
                )
        except Exception as error:  # jsonargparse raises nearly anything for what it does not expect
            raise UsageError(explained(str(error), given)) from error

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    @property
    def folder(self) -> RunFolder:
        """The folder of the run."""
        return RunFolder(Path(self.values["folder"]))

    @cached_property
    def plain(self) -> dict[str, Any]:
        """The whole configuration as plain values; of the Trainer and of parts that are made later, what was given."""
        values = self.values.clone()
        values.pop("config", None)
        with _looking_first():
            whole: dict[str, Any] = load(self._parser.dump(values, skip_unset=False))
        for key in _LATER:
            outer, _, name = key.rpartition(".")
            part = whole.get(outer, {}) if outer else whole
            if part.get(name) is not None:
                given = self._as_given([key], part[name])
                named = KINDS[key].short(part[name]["class_path"])
                part[name] = {"class_path": named, "init_args": given} if given else named
        if "trainer" in whole:
            whole["trainer"] = {name: whole["trainer"][name] for name in self.given.names("trainer")}
        return whole if self.bare_module is None else {**whole, "module": self.bare_module}

    def _as_given(self, keys: Sequence[str], part: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a class that were given, those of classes among them likewise.

        Args:
            keys: under which it may have been given.
            part: the class with all of its arguments.
        """
        found: dict[str, Any] = {}
        arguments = part.get("init_args", {})
        for name in dict.fromkeys(name for key in keys for name in self.given.names(key) if name in arguments):
            value = arguments[name]
            if isinstance(value, dict) and "class_path" in value:
                inner = [f"{key}.{way}{name}" for key in keys for way in ("", "init_args.")]
                own = self._as_given(inner, value)
                value = {"class_path": value["class_path"], **({"init_args": own} if own else {})}
            found[name] = value
        return found

    def make(self, key: str) -> Any:
        """The value that a setting stands for; None: it was not given.

        Raises:
            UsageError: it refuses an argument; the message names the argument with its key.
        """
        if key == "module" and self.bare_module is not None:
            made: Any = RegisteredModule(self.bare_module)
        elif self.values.get(key) is None:
            return None
        else:
            with self._told(key), without_deprecations(), _looking_first():
                made = self._parser.instantiate(Namespace({key: self.values[key]}))[key]  # type: ignore[no-untyped-call]
        if key == "module":
            self._try_module(made)
        return made

    def supernet_space(self) -> SupernetSpace:
        """The space of a search.

        Raises:
            UsageError: it cannot be made, or has no supernet.
        """
        space = self.make("space")
        if not isinstance(space, SupernetSpace):
            raise UsageError(
                f"space={type(space).__name__!r}: it has no supernet to learn by gradients; "
                "`automl-plugins study` searches it by trials"
            )
        return space

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
        return KINDS["search.strategy"].short(self.values["search.strategy"]["class_path"]).rpartition(".")[2]

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

    def made(self, *keys: str) -> dict[str, Any]:
        """The objects that the space, the data and further settings of a project stand for, and its seed.

        Args:
            keys: those of `module`, `task` and `trainer` that are wanted, too.

        Raises:
            UsageError: whatever is wrong with them.
        """
        made = {key: self.trainer() if key == "trainer" else self.make(key) for key in ("space", "data", *keys)}
        return {**made, "seed": self.values.get("seed") or 0}

    def project(self, *keys: str, **arguments: Any) -> Project:
        """The project of a training, of what is `made` and further arguments; nothing is read yet.

        Raises:
            UsageError: whatever is wrong with them.
        """
        made = self.made(*keys)
        with told_briefly("", 2, ValueError, TypeError):
            return Project(**made, **arguments)

    def trainer(self) -> dict[str, Any]:
        """The arguments of Lightning's Trainer that were given, with the objects that they name.

        Raises:
            UsageError: Lightning refuses one.
        """
        made = self.make("trainer")
        options = {name: made[name] for name in self.given.names("trainer")}
        with told_briefly("", 2, ValueError):
            check_makes_a_trainer(options)
        return options

    @contextlib.contextmanager
    def _told(self, key: str) -> Iterator[None]:
        """Have a constructor's message follow the key that it is about."""
        try:
            yield
        except (ValueError, TypeError) as error:
            raise UsageError(self._of_argument(key, str(error))) from error

    def _of_argument(self, key: str, message: str) -> str:
        message = said_by_constructor(message)
        first = re.split(r"\W", message, maxsplit=1)[0]
        given = {name.rpartition(".")[2]: name for name, _ in self.given.values if name.startswith(f"{key}.")}
        return f"{given[first].removesuffix(first)}{message}" if first in given else f"{key}: {message}"

    def _try_module(self, factory: ModuleFactory) -> None:
        """Refuse a module's argument that is out of range, before the data say which task it is for.

        A module that can be made for none of the possible tasks, and blames one of its arguments, is refused.

        Raises:
            UsageError: it is.
        """
        refusals = []
        for level, target in product(get_args(Level), get_args(Target)):
            task = Task(level, target, in_channels=1, out_channels=1 if target == "binary" else 2)
            try:
                factory(nn.Identity(), task)
                if self.bare_module is not None:
                    named = {"class_path": registered("modules")[f"{level}-{target}"], **self.bare_module}
                    Settings(over({"module": named}), ("module",))
            except UsageError as error:
                refusals.append(str(error))
            except _REFUSALS as error:
                refusals.append(self._of_argument("module", str(error)))
            else:
                return
        told = next((refusal for refusal in refusals if refusal.startswith("module.")), None)
        if told is not None:
            raise UsageError(told)


def _bare_parser() -> ArgumentParser:
    return ArgumentParser(exit_on_error=False, allow_abbrev=False, parser_mode="automl-plugins", print_config=None)


@contextlib.contextmanager
def _looking_first() -> Iterator[None]:
    """Have jsonargparse import what has been looked at, and nothing else; other parsers of this process stay alone."""
    before = dict(_common.parsing_settings)  # there is no public way back
    names = [path for path in importable if all(part.isidentifier() for part in path.split("."))]
    set_parsing_settings(
        import_path_denylist=["*"], import_path_allowlist=names, instantiate_subclass_spec_in_any=False
    )
    try:
        yield
    finally:
        _common.parsing_settings.update(before)
