"""`automl-plugins list`: what is installed."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from automl_plugins import registry
from automl_plugins.cli.errors import UsageError, told_briefly
from automl_plugins.cli.helps import GROUPS, filled_groups
from automl_plugins.cli.plain_console import output
from automl_plugins.cli.plugins import of_optuna
from automl_plugins.cli.settings import read
from automl_plugins.cli.source import resolve
from automl_plugins.system.nearest import did_you_mean


def run(arguments: list[str], command: str = "list") -> int:
    """Run the command.

    Args:
        arguments: what follows it.
        command: its name.

    Returns:
        The exit code.

    Raises:
        UsageError: there is no such group.
    """
    given = read(arguments, targets=1)
    console = output()
    for key in given.settings:
        raise UsageError(f"--{key}: list takes no settings")
    for group in given.targets:
        if group not in GROUPS:
            raise UsageError(f"group={group!r}: there is no such group; {did_you_mean(group, GROUPS)}")
    for group in given.targets or filled_groups():
        _show(console, group)
    return 0


def _show(console: Console, group: str) -> None:
    table = Table(title=f"{group}: {GROUPS[group].replace('`', '')}", title_justify="left", box=None)
    for column in ("name", "what it is", "from"):
        table.add_column(column, overflow="fold")
    for name, description, home in [*_registered(group), *_from_optuna(group)]:
        table.add_row(name, description, home)
    if table.row_count == 0:
        table.add_row("(none)", "", "")
    console.print(table, markup=False)
    console.out("")


def _registered(group: str) -> list[tuple[str, str, str]]:
    if group not in registry.GROUPS:
        return []
    rows = []
    for name in registry.names(group):
        with told_briefly("", 1, RuntimeError):
            home = registry.where(group, name).replace(":", ".")
        rows.append((name, first_line(home), home))
    return rows


def first_line(path: str) -> str:
    """The first docstring line of `package.module.Class`, read from its source: importing torch takes seconds."""
    definition = resolve(path)
    if definition is None:
        return "its source cannot be read; it may not be installed as a whole"
    return definition.docstring.partition("\n")[0]


def _from_optuna(group: str) -> list[tuple[str, str, str]]:
    return [(name, first_line(f"optuna.{group}.{name}"), f"optuna.{group}") for name in of_optuna(group)]
