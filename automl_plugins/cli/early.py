"""The first look at a command line: help, and what is wrong with it, before anything heavy is imported.

Importing torch, Lightning and the spaces takes seconds; a mistyped name should not have to wait for them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from automl_plugins import registry
from automl_plugins.cli.checked import (
    COMMANDS,
    STUDY_KEYS,
    TASK,
    check_fit,
    check_plugins,
    check_search,
    check_some,
    parameters,
)
from automl_plugins.cli.checks import check_call, check_keys, shown
from automl_plugins.cli.errors import UsageError
from automl_plugins.cli.helps import TABLES, help_of, help_of_class
from automl_plugins.cli.search_keys import SCRIPT_KEYS, SEARCH_KEYS
from automl_plugins.cli.settings import Given, flattened, merge, plain, read
from automl_plugins.system.nearest import did_you_mean

_TARGETS = {
    "derive": "name what to derive from: a search's folder or a checkpoint",
    "show": "name what to show: a run folder, an architecture.json or a space",
    "evaluate": "name what to evaluate: a run folder or an architecture.json",
    "export": "name the file to write, such as model.onnx",
    "benchmark": f"name a table: {', '.join(TABLES)}",
    "list": "",
}
"""Commands that take an argument without a key, and what is said where it is missing."""


def look(command: str, arguments: Sequence[str]) -> int | None:
    """Answer what can be answered at once.

    Args:
        command: its name.
        arguments: what follows it.

    Returns:
        The exit code; None: the command has to be run.

    Raises:
        UsageError: a mistake in the arguments.
    """
    script = command in ("search", "attach") and "--" in arguments
    own = list(arguments[: arguments.index("--")] if script else arguments)
    if "--help" in own or "-h" in own:
        sys.stdout.write(help_of(command))
        return 0
    for position, token in enumerate(own):
        key, equals, name = token.removeprefix("--").partition("=")
        if token.startswith("--") and key.endswith(".help"):
            after = own[position + 1 : position + 2]
            named = name if equals else next((each for each in after if not each.startswith("--")), None)
            sys.stdout.write(help_of_class(key.removesuffix(".help"), named))
            return 0
    given = read(own, targets=int(command in _TARGETS))
    if _TARGETS.get(command) and not given.targets:
        # What else is wrong is told first by the command itself.
        raise UsageError(_TARGETS[command])
    if command in COMMANDS:
        check_fit(flattened(given.settings), command, some=True)
    elif command == "search" and (script or "target" in given.settings):
        check_keys(given.settings, SCRIPT_KEYS, near=("config", "print_config"))
        check_search(given.settings)
    elif command in _CHECKS:
        _CHECKS[command](given)
    return None


def _study(given: Given) -> None:
    check_some(given.settings, needed=("space", "data"))


def _search(given: Given) -> None:
    check_keys(given.settings, SEARCH_KEYS, near=("config", "print_config", "target"))
    check_search(given.settings)


def _evaluate(given: Given) -> None:
    target = Path(given.targets[0])
    if not target.exists():
        raise UsageError(f"{str(target)!r}: there is no such file or folder")
    rest = {key: value for key, value in given.settings.items() if key != "random"}
    if given.configs:  # that of a differentiable search has more keys
        rest = {key: value for key, value in rest.items() if key not in ("search", "target", "command")}
    check_keys(rest, STUDY_KEYS, near=("config", "random", "print_config"))
    check_some(rest)


def _show(given: Given) -> None:
    known = [*STUDY_KEYS, "trial", "arm", "figure"]
    check_keys(given.settings, [*known, *(given.settings if given.configs else ())], near=("config",))
    target, names = given.targets[0], registry.names("spaces")
    if Path(target).exists():
        return
    if "/" in target or target.endswith(".json"):
        raise UsageError(f"{target!r}: there is no such file or folder")
    if target not in names and "." not in target and not target.endswith("Space"):
        raise UsageError(f"{target!r} is no run folder, no file and no space; {did_you_mean(target, names)}")
    _space({"space": target}, given.settings)


def _derive(given: Given) -> None:
    known = ("space", "output", "target", "relaxation")
    check_keys(given.settings, [*known, *(given.settings if given.configs else ())], near=("config",))
    _space({}, given.settings)
    relaxation, names = plain(given.settings.get("relaxation")), registry.names("relaxations")
    if relaxation is not None and relaxation not in names:
        raise UsageError(f"relaxation={shown(relaxation)}: there is none; {did_you_mean(str(relaxation), names)}")


def _attach(given: Given) -> None:
    check_keys(given.settings, ("architecture", "target", "space", "task"), near=("config", "print_config"))
    _space({}, given.settings)


def _export(given: Given) -> None:
    known = ("architecture", "weights", "size", "format", "space", "task")
    check_keys(given.settings, [*known, *(given.settings if given.configs else ())], near=("config",))
    _space({}, given.settings)
    if isinstance(given.settings.get("task"), Mapping):
        check_call(TASK, given.settings["task"], "task.", elsewhere=parameters(TASK))


def _benchmark(given: Given) -> None:
    if given.targets[0] not in TABLES:
        raise UsageError(f"there is no table {given.targets[0]!r}; {did_you_mean(given.targets[0], TABLES)}")
    check_keys(given.settings, ("data", "sampler", "budget", "seeds", "seed", "folder", "figure"), near=("config",))


def _space(base: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Check the space that is named; one that only has arguments is that of a file."""
    check_plugins(merge(base, {key: each for key, each in settings.items() if key == "space"}), ("space",), some=True)


_CHECKS: dict[str, Callable[[Given], None]] = {
    "study": _study,
    "search": _search,
    "evaluate": _evaluate,
    "show": _show,
    "derive": _derive,
    "attach": _attach,
    "export": _export,
    "benchmark": _benchmark,
}
