"""List what is installed, of one group or of all.

usage: automl-plugins list [group]

group: {groups}
"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from automl_plugins.cli.classes import GROUPS, of_optuna, registered
from automl_plugins.cli.console import output
from automl_plugins.cli.settings import Given
from automl_plugins.cli.source import resolve


def run(given: Given, command: str) -> int:
    """Run the command, see `automl_plugins.cli.commands.Command`."""
    console = output()
    for group in given.targets or GROUPS:
        _show(console, group)
    return 0


def _show(console: Console, group: str) -> None:
    table = Table(title=f"{group}: {GROUPS[group].replace('`', '')}", title_justify="left", box=None)
    for column in ("name", "what it is", "from"):
        table.add_column(column, overflow="fold")
    for name, path in registered(group).items():
        table.add_row(name, first_line(path), f"optuna.{group}" if name in of_optuna(group) else path)
    if table.row_count == 0:
        table.add_row("(none)", "", "")
    console.print(table, markup=False)
    console.out("")


def first_line(path: str) -> str:
    """The first docstring line of `package.module.Class`, read from its source: importing torch takes seconds."""
    definition = resolve(path)
    if definition is None:
        return "its source cannot be read; it may not be installed as a whole"
    return definition.docstring.partition("\n")[0]
