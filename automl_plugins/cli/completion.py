"""Print a script with which a shell completes commands, keys and names at the tab key.

usage: automl-plugins completion SHELL

SHELL is bash, zsh, fish, tcsh or powershell, as far as the installed shtab knows it (the extra `completion`).

  bash   automl-plugins completion bash > ~/.local/share/bash-completion/completions/automl-plugins
  zsh    automl-plugins completion zsh > ~/.zfunc/_automl-plugins      (~/.zfunc stands in fpath, before compinit)
  fish   automl-plugins completion fish > ~/.config/fish/completions/automl-plugins.fish

It knows the plugins that are installed when it is printed, so print it again after an installation.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator

from automl_plugins.cli.classes import GROUPS, KINDS, SEARCH, SUPPLIED, TRAINER, registered
from automl_plugins.cli.commands import COMMANDS, TABLES, help_of, keys_of
from automl_plugins.cli.console import output
from automl_plugins.cli.errors import UsageError
from automl_plugins.cli.settings import Given
from automl_plugins.cli.source import arguments_of, resolve
from automl_plugins.system.nearest import did_you_mean

_TARGETS = {"list": tuple(GROUPS), "benchmark": TABLES}
"""Commands whose argument without a key is one of a few words; those of others are files."""


def run(given: Given, command: str) -> int:
    """Run the command, see `automl_plugins.cli.commands.Command`."""
    try:
        import shtab
    except ImportError:
        cure = 'pip install "automl-plugins[completion]"'
        raise UsageError(f"completion needs shtab, which is not installed: {cure}", code=1) from None
    shell = given.targets[0]
    if shell not in shtab.SUPPORTED_SHELLS:
        raise UsageError(f"there is no completion for {shell!r}; {did_you_mean(shell, shtab.SUPPORTED_SHELLS)}")
    output().out(shtab.complete(every_command(shtab.FILE), shell=shell), highlight=False)
    return 0


def every_command(file: object) -> ArgumentParser:
    """The commands with their keys, and the names that a key takes, as argparse has them; it parses nothing.

    Args:
        file: what shtab calls a file.
    """
    parser = ArgumentParser("automl-plugins")
    parser.add_argument("--version", action="store_true")
    commands = parser.add_subparsers()
    for name, command in COMMANDS.items():
        first = help_of(name).splitlines()[0]
        one = commands.add_parser(name, help=first, description=first)
        one.add_argument("--config").complete = file  # type: ignore[attr-defined]
        for switch in ("print_config", *command.switches):
            one.add_argument(f"--{switch}", action="store_true")
        for key, choices in _keys(name):
            one.add_argument(f"--{key}", choices=choices, metavar="VALUE")
        if name in _TARGETS:
            one.add_argument("target", nargs="?", choices=_TARGETS[name])
        elif command.target is not None:
            one.add_argument("target", nargs="?").complete = file  # type: ignore[attr-defined]
    return parser


def _keys(command: str) -> Iterator[tuple[str, tuple[str, ...] | None]]:
    """The keys of a command, with the names that they take where these are registered ones."""
    keys = dict.fromkeys(keys_of(command, Given()))
    for key in keys:
        group = KINDS[key].group if key in KINDS else None
        yield key, tuple(registered(group)) if group and command != "benchmark" else None
    if "search" in keys:
        yield "strategy", (*registered("strategies"), *registered("procedures"))
    for key, path in (("trainer", TRAINER), ("search", SEARCH)):
        definition = resolve(path) if key in keys else None
        taken = arguments_of(definition)[0] if definition is not None else {}
        yield from ((f"{key}.{name}", None) for name in taken if name not in SUPPLIED.get(key, ()))
