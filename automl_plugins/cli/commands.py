"""The commands: what each takes, and its help, without importing anything heavy."""

from __future__ import annotations

import ast
import os
import textwrap
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import docstring_parser

from automl_plugins import registry
from automl_plugins.cli.classes import (
    ARGUMENTS,
    GROUPS,
    KINDS,
    SEARCH,
    STUDY,
    SUPPLIED,
    class_path,
    registered,
)
from automl_plugins.cli.errors import UsageError, shown
from automl_plugins.cli.look import check_keys, looked_at, over
from automl_plugins.cli.settings import Given, Item, read_yaml
from automl_plugins.cli.source import arguments_of, resolve
from automl_plugins.system.nearest import did_you_mean

TABLES = ("nas-bench-graph", "nas-bench-201", "transnas-bench-101")
_WIDTH = 92


@dataclass(frozen=True)
class Command:
    """A command, whose module has a function `run(given: Given, command: str) -> int`.

    It is handed what was `checked` and the command's name; it returns the exit code, and raises a UsageError for a
    mistake. The docstring of the module is the command's help.

    Args:
        home: its module in this package.
        keys: what it takes, as flags and in a config.
        target: what is said where its argument without a key is missing; None: it takes none.
        is_strict: a config may hold no keys of other commands.
        texts: keys that name no class here.
        switches: flags without a value, beside those of all commands.
        takes_several: whether several arguments without a key may follow one another.
    """

    home: str
    keys: tuple[str, ...] = ()
    target: str | None = None
    is_strict: bool = False
    texts: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()
    takes_several: bool = False


@cache
def _study_keys() -> tuple[str, ...]:
    """The arguments of `Study`."""
    study = resolve(STUDY)
    return () if study is None else tuple(arguments_of(study)[0])


SCRIPT_KEYS = ("target", "call", "space", "task", "search", "seed", "folder")
"""The settings of a search inside a training script."""
EVALUATED_SCRIPT_KEYS = ("random", "folder", "monitor", "direction", "target", "call", "space", "task")
"""The settings of an evaluation inside a training script."""
METHOD_KEYS = {
    "fit": ("ckpt_path", "weights_only"),
    "validate": ("ckpt_path", "verbose", "weights_only"),
    "test": ("ckpt_path", "verbose", "weights_only"),
    "predict": ("return_predictions", "ckpt_path", "weights_only"),
}
"""Command -> arguments of the Trainer's method of that name."""
_FIT_KEYS = ("architecture", "space", "data", "module", "trainer", "seed_everything", "seed", "folder")
COMMANDS = {
    "init": Command(
        "init", ("data", "target", "minutes", "out"), target="", switches=("overwrite",), texts=("target",)
    ),
    "study": Command("study", ("minutes", "screen", "screen-pool"), is_strict=True),
    "search": Command("search", ("space", "data", "module", "trainer", "search", "seed", "folder"), is_strict=True),
    "derive": Command(
        "derive",
        ("space", "output", "target", "relaxation", "search"),
        "name what to derive from: a search's folder or a checkpoint",
    ),
    "attach": Command("attach", ("architecture", "target", "call", "space", "task")),
    "show": Command(
        "show", ("space", "trial", "arm", "figure"), "name what to show: a run folder, an architecture.json or a space"
    ),
    "report": Command(
        "report",
        ("out", "predictions", "space", "data", "module", "trainer"),
        "name what to report: the folder of a run, or of several",
        takes_several=True,
    ),
    "evaluate": Command("evaluate", ("random",), "name what to evaluate: a run folder or an architecture.json"),
    "score": Command(
        "score",
        ("space", "data", "module", "trainer", "seed", "folder", "estimators", "architectures"),
        is_strict=True,
    ),
    "export": Command(
        "export",
        ("architecture", "weights", "size", "format", "out", "space", "task", "data", "module"),
        "name what to export: a run folder or an architecture.json",
    ),
    "doctor": Command("doctor", target=""),
    "completion": Command("completion", target="name a shell: bash, zsh, fish, tcsh or powershell"),
    "list": Command("listing", target=""),
    "benchmark": Command(
        "benchmark",
        ("data", "sampler", "budget", "seeds", "seed", "folder", "figure"),
        f"name a table: {', '.join(TABLES)}",
        texts=("data",),
    ),
    **{name: Command("fit", (*_FIT_KEYS, "optimizer", "lr_scheduler", *keys)) for name, keys in METHOD_KEYS.items()},
    "predict": Command(
        "predict",
        (*_FIT_KEYS, *METHOD_KEYS["predict"], "out", "networks"),
        target="",
        switches=("overwrite", "probabilities"),
    ),
}


def keys_of(name: str, given: Given) -> tuple[str, ...]:
    """The keys that a command takes."""
    if name == "search" and is_script(given):
        return SCRIPT_KEYS
    if name == "evaluate" and given.script:
        return EVALUATED_SCRIPT_KEYS
    keys = COMMANDS[name].keys
    if given.procedure:
        return (*keys, "procedure")
    return keys + _study_keys() if name in ("study", "evaluate") else keys


def is_script(given: Given) -> bool:
    """True where a search is inside a training script."""
    return bool(given.script) or "target" in given


def checked(name: str, given: Given) -> Given:
    """The settings that a command was given, every key known and every class looked at; of a config, those it takes.

    Raises:
        UsageError: a mistake.
    """
    if name == "search":  # `--strategy` is short for `--search.strategy`
        items = (each._replace(key=f"search.{each.key}") if each.name == "strategy" else each for each in given.items)
        given = replace(given, items=tuple(items))
    command, keys = COMMANDS[name], keys_of(name, given)
    elsewhere = {key for other in COMMANDS.values() for key in other.keys} | set(_study_keys()) | {"command", "model"}
    for item in given.items:
        taken = {item.name: item.value} if item.key else item.value
        lenient = () if item.key or command.is_strict else elsewhere
        if not keys and taken:
            raise UsageError(f"--{next(iter(taken))}: {name} takes no settings")
        near = ("config", "print_config", *(("target",) if name == "search" else ()))
        if command.is_strict and not item.key:
            _check_others(name, [key for key in taken if key not in keys])
        check_keys(taken, [*keys, *lenient], near=near)
    for switch in sorted(given.switches - {"print_config", *command.switches}):
        raise UsageError(f"--{switch}: {name} takes no such flag")
    for surplus in () if command.takes_several else given.targets[0 if command.target is None else 1 :]:
        cure = f"--data.path {surplus}" if name == "predict" else "--key value"
        raise UsageError(f"{surplus!r} is one argument too many; settings are given as {cure}")
    if command.target and not given.targets:
        raise UsageError(command.target)
    for target in given.targets:
        _check_target(name, target)
    return looked_at(_taken(name, _with_procedure(given) if name == "search" else given), command.texts)


def _check_others(name: str, surplus: Sequence[str]) -> None:
    """Refuse the settings of a configuration that another command has, and name it.

    Raises:
        UsageError: there are some.
    """
    for other in ("study", "search", "fit"):
        theirs = {*COMMANDS[other].keys, *(_study_keys() if other == "study" else ())}
        if alien := [key for key in surplus if key in theirs]:
            raise UsageError(
                f"{name} has no {', '.join(alien)}, which are settings of `automl-plugins {other}`; run that with this "
                "file, or leave them out of it"
            )


def _with_procedure(given: Given) -> Given:
    """The same with a procedure apart, where a search's strategy names one in place of a strategy of one fit.

    Raises:
        UsageError: it does not take an argument.
    """
    name = given.get("search.strategy.class_path", given.get("search.strategy"))
    if name not in registry.names("procedures"):
        return given
    arguments = given.arguments("search.strategy")
    function = resolve(registry.where("procedures", name).replace(":", "."))
    takes, is_open = arguments_of(function) if function is not None else ({}, True)
    if not is_open:
        check_keys(arguments, [key for key in takes if key != "project"], "search.strategy.")
    check_keys(given.arguments("search"), ("strategy",), "search.")
    items = (*given.without("search").items, Item("", {"procedure": arguments}))
    return replace(given, items=items, procedure=name)


def _check_target(name: str, target: str) -> None:
    """Refuse an argument without a key that names nothing.

    Raises:
        UsageError: it does.
    """
    spaces, is_there = registry.names("spaces"), os.path.lexists(target)
    if name == "benchmark" and target not in TABLES:
        raise UsageError(f"there is no table {target!r}; {did_you_mean(target, TABLES)}")
    if name == "list" and target not in GROUPS:
        raise UsageError(f"group={target!r}: there is no such group; {did_you_mean(target, GROUPS)}")
    if not is_there and (name in ("evaluate", "derive") or (name == "show" and ("/" in target or ".json" in target))):
        raise UsageError(f"{target!r}: there is no such file or folder")
    if not is_there and name == "show" and target not in spaces and "." not in target and "Space" not in target:
        raise UsageError(f"{target!r} is no run folder, no file and no space; {did_you_mean(target, spaces)}")


def over_run(name: str, given: Given, config: Path, *others: str) -> Given:
    """The settings of a command, over those that it takes of a run's configuration, if there is one, but for others.

    Raises:
        UsageError: the file is broken.
    """
    if not config.is_file():
        return given
    kept = _taken(name, Given((Item("", read_yaml(config)),))).without(*others)
    return over(kept.items[0].value, given)


def _taken(name: str, given: Given) -> Given:
    """The part of the given settings that a command takes."""
    given = _flattened(given) if name in (*METHOD_KEYS, "export") else given
    names = {key for item in given.items for key in ([item.name] if item.key else item.value)}
    return given.without(*names - set(keys_of(name, given)))


def _flattened(given: Given) -> Given:
    """The same in which what a config has under `model`, where Lightning saves it, stands beside the rest.

    Raises:
        UsageError: `model` holds anything else.
    """
    items, known = [], ("architecture", "space", "module", "module_arguments")
    for item in given.items:
        model = None if item.key else item.value.get("model")
        if model is not None:
            if not set(model if isinstance(model, dict) else {"": model}) <= set(known):
                told = f"model={shown(model)}: it has {', '.join(known)}; name the LightningModule as `module`"
                raise UsageError(told)
            module = model.get("module") or model.get("module_arguments")
            beside = {name: model[name] for name in known[:2] if name in model}
            item = Item("", {**item.value, **beside, "module": module})
        items.append(item)
    return replace(given, items=tuple(items))


def help_of_all() -> str:
    """The help of the program: a line for each command, which is the first of its own help."""
    lines = "\n".join(f"  {name:<11}{help_of(name).splitlines()[0]}" for name in COMMANDS)
    return f"""\
usage: automl-plugins [--help] [--version] <command> ...

Find network architectures, compare them with hand-made ones, and train what was found.

commands:
{lines}

Start with
  automl-plugins study --config examples/solubility.yaml
and see what a command takes with `automl-plugins <command> --help`.
"""


def help_of(name: str) -> str:
    """The help of a command: the docstring of its module, with the arguments of the classes that it names."""
    file = Path(__file__).with_name(f"{COMMANDS[name].home}.py")
    text = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    places = {
        "{command}": name,
        "{study}": arguments_help(STUDY, width=24),
        "{search}": arguments_help(SEARCH, SUPPLIED["search"], indent=4),
        "{method}": "".join(f"--{key} VALUE  " for key in METHOD_KEYS.get(name, ())).rstrip(),
        "{groups}": ", ".join(GROUPS),
        "{relaxations}": ", ".join(registry.names("relaxations")),
        "{tables}": ", ".join(TABLES),
    }
    for place, content in places.items():
        text = text.replace(place, content)
    return f"{text}\n"


def help_of_class(key: str, named: str | None) -> str:
    """The help of a class that a setting may name: its summary and its arguments.

    Args:
        key: `space`, `data`, `module`, `sampler`, `pruner`, `strategy`, `trainer`, `search` or `task`.
        named: a registered name, a class or a class path; None: the names that there are.

    Raises:
        UsageError: there is no such key or name.
    """
    kinds = {name.rpartition(".")[2]: kind for name, kind in KINDS.items() if kind.group is not None} | KINDS
    if key in ARGUMENTS:
        path = ARGUMENTS[key]
    elif key not in kinds:
        helped = [*(name for name, kind in kinds.items() if kind.group is not None), *ARGUMENTS]
        raise UsageError(f"--{key}.help: there is help for {', '.join(helped)}")
    elif named is None:
        names = registered(kinds[key].group or "") or kinds[key].names()
        return f"{key}: one of {', '.join(names)}, or a class path; see --{key}.help NAME\n"
    else:
        path = class_path(key, named, kinds[key])
    definition = resolve(path)
    if definition is None:
        raise UsageError(f"--{key}.help {named}: its source cannot be read")
    summary = definition.docstring.partition("\n")[0]
    arguments = arguments_help(path, SUPPLIED.get(key, ())) or "  (none)"
    return f"{summary}\n\narguments, as --{key}.NAME VALUE:\n{arguments}\n"


def arguments_help(path: str, skip: Collection[str] = (), indent: int = 2, width: int = 22) -> str:
    """The arguments of a class, a line or more for each, with their defaults."""
    definition = resolve(path)
    if definition is None:
        return ""
    parsed_docstring = docstring_parser.parse(definition.docstring)
    meanings = {each.arg_name: each.description or "" for each in parsed_docstring.params}
    lines = []
    for name, default in arguments_of(definition)[0].items():
        if name not in skip:
            text = f"{' '.join(meanings.get(name, '').split())} ({'needed' if default is None else default})".strip()
            first, *rest = textwrap.wrap(text, _WIDTH)
            lines.append(f"{' ' * indent}{name:<{width}} {first}")
            lines += [" " * (indent + width + 1) + line for line in rest]
    return "\n".join(lines)
