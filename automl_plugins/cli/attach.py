"""Train what was found in a training script that knows nothing of a search, and stays as it is.

usage: automl-plugins attach --architecture FILE [--target net] [--key value] -- python train.py ...

Lightning hands the script our callback, which replaces the network before the optimizers are made.

options:
  --architecture FILE      what to train
  --target PATH            the attribute of the script's LightningModule that is replaced: net, model.encoder;
                           several as [encoder, decoder], a list of networks as a whole
  --call.NAME PATH         which part of the script's calls of its network is an input, where that can be read in two
                           ways: --call.edge_index edges, --call.output logits
  --space NAME             the architecture's space, with arguments as --space.nodes 3
  --task.KEY VALUE         what the network must fit, over what the script's datamodule has as `task`, and what is seen
                           in a step of the script with its own network: --task.target regression
  --config FILE            YAML with any of these keys

The config.yaml beside the file, which `automl-plugins search` leaves there, gives what is left out.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import join
from tempfile import TemporaryDirectory
from typing import Any

from automl_plugins.cli.attached import VARIABLE
from automl_plugins.cli.commands import over_run
from automl_plugins.cli.errors import INTERRUPTED, UsageError
from automl_plugins.cli.network_file import network_at
from automl_plugins.cli.parser import Settings
from automl_plugins.cli.record import printed
from automl_plugins.cli.settings import Given
from automl_plugins.errors import Terminated
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.system.nearest import did_you_mean

REPLACED: dict[str, Any] = {"target": str | list[str], "call": dict[str, str] | None}
"""Settings of networks that are replaced in a script, with their types."""


def run(given: Given, command: str) -> int:
    """Run the command, see `automl_plugins.cli.commands.Command`."""
    if given.get("architecture") is None:
        raise UsageError("architecture is missing; it is an architecture.json, such as a search leaves in its folder")
    found = network_at(str(given.get("architecture")))
    given = found.under(over_run(command, given, found.run.config))
    check_script(given)
    settings = Settings(given, ("space", "part of a task"), architecture=str, **REPLACED)
    space = settings.make("space")
    found.contender(space)
    check_call(space, settings["call"])
    config = {
        "space": settings.plain["space"],
        **{key: settings.plain[key] for key in REPLACED},
        "task": settings.part_of_a_task(),
        "architecture": str(found.path.absolute()),
    }
    if printed(given, config):
        return 0
    with TemporaryDirectory() as marks:
        mark = Path(marks, "trained")
        code = launch(given.script, {**config, "mark": str(mark)})
        taken = mark.exists()
    if code == INTERRUPTED:
        raise UsageError(f"stopped, with {join(given.script)}", code=code)
    if code != 0:
        raise UsageError(f"{join(given.script)} ended with the exit code {code}", code=code)
    if not taken:
        raise UsageError(
            f"{join(given.script)} has ended without the network of {found.path}: it ran no Trainer of Lightning, or "
            "automl-plugins is not installed for its Python",
            code=1,
        )
    return 0


def check_script(given: Given) -> None:
    """Refuse a command line that names no network to replace, or no script that can be started.

    Raises:
        UsageError: it does.
    """
    if given.get("target") is None:
        raise UsageError(
            "target is missing; it is the attribute of the script's LightningModule to replace, such as net"
        )
    if not given.script:
        raise UsageError("the script is missing; it comes last: -- python train.py ...")
    if shutil.which(given.script[0]) is None:
        raise UsageError(f"{given.script[0]!r}: there is no such program")


def check_call(space: SearchSpace, call: Mapping[str, str] | None) -> None:
    """Refuse parts of a call that are inputs of no network of a space.

    Raises:
        UsageError: there is one.
    """
    known = [] if space.call_reader is None else [*space.call_reader.inputs, "output"]
    for name in call or {}:
        if not known:
            raise UsageError(f"call.{name}: networks of {space.name} are called as the script calls its own")
        if name not in known:
            raise UsageError(f"call.{name}: networks of {space.name} have no such input; {did_you_mean(name, known)}")


def launch(script: Sequence[str], settings: Mapping[str, Any]) -> int:
    """Run the script with the settings in its environment, and wait for it.

    Args:
        script: the command.
        settings: see `attached.make_callbacks`.

    Returns:
        Its exit code, as a shell has it; `INTERRUPTED` where this process was asked to stop meanwhile.
    """
    process = subprocess.Popen(script, env={**os.environ, VARIABLE: json.dumps(settings)})  # noqa: S603 - the user's own
    stopped = False
    while process.poll() is None:
        try:
            process.wait()
        except KeyboardInterrupt as stop:
            # Lightning ends in good order, and we wait for that. Ctrl-C reaches the script too.
            stopped = True
            if isinstance(stop, Terminated):
                process.terminate()
    if stopped:
        return INTERRUPTED
    return process.returncode if process.returncode >= 0 else 128 - process.returncode
