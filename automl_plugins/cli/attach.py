"""`automl-plugins attach`: train what was found in a script that stays as it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from automl_plugins.cli.checks import check_call, check_keys, convert
from automl_plugins.cli.configuration import make_space
from automl_plugins.cli.console import architecture_in, output, read_architecture
from automl_plugins.cli.errors import UsageError, told_briefly
from automl_plugins.cli.launch import INTERRUPTED, launch, shown
from automl_plugins.cli.plugins import check_plugin
from automl_plugins.cli.settings import merge, plain, read, read_yaml
from automl_plugins.spaces.task import Task
from automl_plugins.studies.folder import RunFolder


def run(arguments: list[str], command: str = "attach") -> int:
    """Run the command.

    Args:
        arguments: what follows it.
        command: its name.

    Returns:
        The exit code.

    Raises:
        UsageError: a mistake in the arguments; or the script failed, then its code is the script's.
    """
    own, script = split(arguments)
    given = read(own)
    keys = ("architecture", "target", "space", "task")
    check_keys(given.settings, keys, near=("config", "print_config"))
    if given.settings.get("architecture") is None:
        raise UsageError("architecture is missing; it is an architecture.json, such as a search leaves in its folder")
    path = Path(str(given.settings["architecture"]))
    name = architecture_in(path).space
    beside = RunFolder(path.parent).config
    kept = read_yaml(beside) if beside.is_file() else {}
    settings = merge({key: kept[key] for key in keys if kept.get(key) is not None}, given.settings)
    setting = merge({"space": name}, {"space": settings["space"]} if "space" in settings else {})["space"]
    read_architecture(make_space(setting), path)
    config = plain(
        {
            "space": check_plugin("space", "spaces", setting),
            **check_script_settings(settings, script),
            "architecture": str(path.absolute()),
        }
    )
    if "print_config" in given.switches:
        output().out(json.dumps(config, indent=2))
        return 0
    with TemporaryDirectory() as marks:
        mark = Path(marks, "trained")
        code = launch(script, {**config, "mark": str(mark)})
        taken = mark.exists()
    if code == INTERRUPTED:
        raise UsageError(f"stopped, with {shown(script)}", code=code)
    if code != 0:
        raise UsageError(f"{shown(script)} ended with the exit code {code}", code=code)
    if not taken:
        raise UsageError(
            f"{shown(script)} has ended without the network of {path}: it ran no Trainer of Lightning, or "
            "automl-plugins is not installed for its Python",
            code=1,
        )
    return 0


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our own arguments, and the script's command after `--`."""
    position = arguments.index("--") if "--" in arguments else len(arguments)
    return list(arguments[:position]), list(arguments[position + 1 :])


def name_of(script: Sequence[str]) -> str:
    """What a command's folder is called: the name of its Python file, or else of its program."""
    files = [part for part in script if part.endswith(".py")] or script[:1]
    return Path(files[0]).stem


def check_script_settings(settings: Mapping[str, Any], script: Sequence[str]) -> dict[str, Any]:
    """Check where in which script the network is replaced, and for what task.

    Args:
        settings: with `target` and `task`.
        script: the command.

    Returns:
        The checked `target` and `task`.

    Raises:
        UsageError: whatever is wrong with them.
    """
    if settings.get("target") is None:
        raise UsageError(
            "target is missing; it is the attribute of the script's LightningModule to replace, such as net"
        )
    target = convert("target", settings["target"], str)
    if not script:
        raise UsageError("the script is missing; it comes last: -- python train.py ...")
    if shutil.which(script[0]) is None:
        raise UsageError(f"{script[0]!r}: there is no such program")
    given = settings.get("task") or {}
    if not isinstance(given, Mapping):
        raise UsageError(f"task={plain(given)!r}: it is a mapping of arguments, such as level: graph")
    names = [each.name for each in fields(Task)]
    task = plain(check_call(Task, given, "task.", elsewhere=names))
    if all(each.name in task for each in fields(Task) if each.default is MISSING):
        # What is missing comes from the datamodule, in the script.
        with told_briefly("task", 2, ValueError):
            Task(**task)
    return {"target": target, "task": task}
