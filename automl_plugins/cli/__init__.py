"""The command line `automl-plugins`.

Nothing heavy is imported here: torch takes seconds, and `--help` should not.
"""

from __future__ import annotations

import sys
from importlib import import_module

from automl_plugins.cli.errors import UsageError, say
from automl_plugins.nearest import did_you_mean
from automl_plugins.run_folder import WriteError

_HOMES = {
    "study": "study",
    "search": "search",
    "derive": "derive",
    "attach": "attach",
    "show": "show",
    "evaluate": "evaluate",
    "export": "export",
    "list": "listing",
    "benchmark": "benchmark",
    "fit": "fit",
    "validate": "fit",
    "test": "fit",
    "predict": "fit",
}

HELP = """\
usage: automl-plugins [--help] [--version] <command> ...

Find network architectures, compare them with hand-made ones, and train what was found.

commands:
  study      search a space, train the best and the references over seeds, print the table
  search     learn an architecture by gradients, with a config or inside a training script of your own
  derive     the architecture in a search's checkpoint
  attach     run a training script of your own with the network that was found
  show       a run, a search space, or an architecture drawn as text
  evaluate   train an architecture.json again, over seeds
  export     a trained network of pixels as ONNX or for torch.export
  list       what is installed: spaces, samplers, pruners, strategies, data, modules, ...
  benchmark  judge samplers on tables of architectures that have all been trained
  fit        train one architecture.json with LightningCLI
  validate, test, predict
             the same, for the other things that LightningCLI does

Start with
  automl-plugins study --config examples/solubility.yaml
and see what a command takes with `automl-plugins <command> --help`.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what follows `automl-plugins`; those of this process where left out.

    Returns:
        The exit code: 0; 1 where a study cannot go on; 2 for a mistake in the arguments; 130 after Ctrl-C.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments:
        sys.stderr.write(HELP)
        return 2
    command, *rest = arguments
    if command in ("--help", "-h", "help"):
        sys.stdout.write(HELP)
        return 0
    if command == "--version":
        from importlib.metadata import version

        sys.stdout.write(f"automl-plugins {version('automl-plugins')}\n")
        return 0
    if command not in _HOMES:
        say(f"there is no command {command!r}; {did_you_mean(command, _HOMES)}")
        return 2
    try:
        # What a command takes from the rest of the package takes seconds to import, so it waits until it is asked for.
        return int(import_module(f"automl_plugins.cli.{_HOMES[command]}").run(rest, command))
    except UsageError as error:
        say(str(error), command)
        return error.code
    except WriteError as error:
        say(str(error), command)
        return 1
    except KeyboardInterrupt:
        say("stopped; the same command goes on from here", command)
        return 130
