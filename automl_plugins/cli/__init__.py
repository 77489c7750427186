"""The command line `automl-plugins`.

Nothing heavy is imported here: torch takes seconds, and `--help` should not.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from automl_plugins.cli.errors import INTERRUPTED, UsageError, one_line, say
from automl_plugins.system.files import WriteError
from automl_plugins.system.interruption import terminated_in_order
from automl_plugins.system.nearest import did_you_mean

DEBUG = "AUTOML_PLUGINS_DEBUG"
"""The environment variable with which an error that nobody foresaw is raised as it is."""
UNEXPECTED = 70
"""The exit code of an error that nobody foresaw, as in sysexits.h."""
_MOST_TOLD = 300


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what follows `automl-plugins`; those of this process where left out.

    Returns:
        The exit code: 0; 1 where a run cannot go on; 2 for a mistake in the arguments; 70 for an error that nobody
        foresaw; 130 after Ctrl-C or SIGTERM.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    from automl_plugins.cli.commands import COMMANDS, help_of_all

    if not arguments:
        sys.stderr.write(help_of_all())
        return 2
    command, *rest = arguments
    if command in ("--help", "-h", "help"):
        sys.stdout.write(help_of_all())
        return 0
    if command == "--version":
        from importlib.metadata import version

        sys.stdout.write(f"automl-plugins {version('automl-plugins')}\n")
        return 0
    if command not in COMMANDS:
        say(f"there is no command {command!r}; {did_you_mean(command, COMMANDS)}")
        return 2
    try:
        with terminated_in_order():
            return _run(command, rest)
    except UsageError as error:
        say(str(error), command)
        return error.code
    except WriteError as error:
        say(str(error), command)
        return 1
    except KeyboardInterrupt:
        return _stopped(command)
    except SystemExit as end:
        # So Lightning answers Ctrl-C while it trains.
        return _stopped(command) if isinstance(end.__context__, KeyboardInterrupt) else _code(end)
    except BrokenPipeError:
        # Who reads our output (`| head`) has seen enough.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - else Python complains at its end
        return 0
    except Exception as error:  # noqa: BLE001 - the last resort; tests and developers see it, see `_unexpected`
        return _unexpected(error, command)


def _run(command: str, rest: list[str]) -> int:
    """Answer what can be answered at once, or run the command.

    The parts of the package that a command needs take seconds to import, so they wait until all is known to exist.
    """
    from automl_plugins.cli.commands import COMMANDS, checked, help_of, help_of_class
    from automl_plugins.cli.settings import read

    own = rest[: rest.index("--")] if "--" in rest else rest
    for position, token in enumerate(own):
        key, equals, name = token.removeprefix("--").partition("=")
        if token in ("--help", "-h"):
            sys.stdout.write(help_of(command))
            return 0
        if token.startswith("--") and key.endswith(".help"):
            after = next((each for each in own[position + 1 : position + 2] if not each.startswith("--")), None)
            sys.stdout.write(help_of_class(key.removesuffix(".help"), name if equals else after))
            return 0
    given = checked(command, read(rest))
    return int(import_module(f"automl_plugins.cli.{COMMANDS[command].home}").run(given, command))


def _stopped(command: str) -> int:
    say("stopped; the same command goes on from here", command)
    return INTERRUPTED


def _code(end: SystemExit) -> int:
    return end.code if isinstance(end.code, int) else int(end.code is not None)


def _unexpected(error: Exception, command: str) -> int:
    """Tell of an error that nobody foresaw in one line, and keep its traceback for a report.

    Raises:
        Exception: the error, where `AUTOML_PLUGINS_DEBUG` is set, as it is in our tests.
    """
    if os.environ.get(DEBUG):
        raise error
    import tempfile
    import traceback

    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="automl-plugins-", suffix=".txt", encoding="utf-8", delete=False
        ) as file:
            traceback.print_exception(error, file=file)
            name = file.name
    except OSError:
        name = "nowhere: no temporary file can be written"
    told = one_line(error)[:_MOST_TOLD]
    say(f"this was not foreseen: {type(error).__name__}: {told} (traceback: {name})", command)
    return UNEXPECTED
