"""Train what was found in a training script that knows nothing of a search, and stays as it is.

usage: automl-plugins attach --architecture FILE [--target net] [--key value] -- python train.py ...

Lightning hands the script our callback, which replaces the network before the optimizers are made.

options:
  --architecture FILE      what to train
  --target PATH            the attribute of the script's LightningModule that is replaced: net, model.encoder
  --space NAME             the architecture's space, with arguments as --space.nodes 3
  --task.KEY VALUE         what the network must fit, where the script's datamodule has no `task`:
                           --task.level graph --task.target regression --task.in_channels 9 --task.out_channels 1
  --config FILE            YAML with any of these keys

The config.yaml beside the file, which `automl-plugins search` leaves there, gives what is left out.
"""

from __future__ import annotations

from pathlib import Path
from shlex import join
from tempfile import TemporaryDirectory

from automl_plugins.cli.commands import over_run
from automl_plugins.cli.errors import UsageError
from automl_plugins.cli.network_file import network_at
from automl_plugins.cli.parser import Settings
from automl_plugins.cli.record import printed
from automl_plugins.cli.script import INTERRUPTED, check_script, launch
from automl_plugins.cli.settings import Given


def run(given: Given, command: str) -> int:
    """Run the command, see `automl_plugins.cli.commands.Command`."""
    if given.get("architecture") is None:
        raise UsageError("architecture is missing; it is an architecture.json, such as a search leaves in its folder")
    found = network_at(str(given.get("architecture")))
    given = found.under(over_run(command, given, found.run.config))
    check_script(given)
    settings = Settings(given, ("space", "part of a task"), target=str, architecture=str)
    found.contender(settings.make("space"))
    config = {
        "space": settings.plain["space"],
        "target": settings["target"],
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
