"""`automl-plugins list`: what is installed."""

from __future__ import annotations

import ast
import inspect
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.table import Table

from automl_plugins import registry
from automl_plugins.cli.console import output
from automl_plugins.cli.errors import UsageError, told_briefly
from automl_plugins.cli.settings import read
from automl_plugins.nearest import did_you_mean

_OPTUNA = {"samplers": "BaseSampler", "pruners": "BasePruner"}
_GROUPS = {**registry.GROUPS, "pruners": "Optuna pruners"}

_HELP = f"""\
usage: automl-plugins list [group]

What is installed, of one group or of all: {", ".join(_GROUPS)}.
"""


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
    if "help" in given.switches:
        console.out(_HELP, end="")
        return 0
    for key in given.settings:
        raise UsageError(f"--{key}: list takes no settings")
    for group in given.targets:
        if group not in _GROUPS:
            raise UsageError(f"group={group!r}: there is no such group; {did_you_mean(group, _GROUPS)}")
    for group in given.targets or _GROUPS:
        _show(console, group)
    return 0


def _show(console: Console, group: str) -> None:
    table = Table(title=f"{group}: {_GROUPS[group].replace('`', '')}", title_justify="left", box=None)
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
            home = registry.where(group, name)
        rows.append((name, first_line(home), home.replace(":", ".")))
    return rows


def first_line(home: str) -> str:
    """The first docstring line of `package.module:Class`, read from its source: importing torch takes seconds."""
    module, _, name = home.partition(":")
    try:
        spec = find_spec(module)
        source = Path(str(spec.origin if spec else None)).read_text(encoding="utf-8")
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
                return (ast.get_docstring(node) or "").partition("\n")[0]
    except (ImportError, OSError, SyntaxError, ValueError) as error:
        return f"cannot be imported: {error}"
    return ""


def _from_optuna(group: str) -> list[tuple[str, str, str]]:
    if group not in _OPTUNA:
        return []
    import optuna

    home = getattr(optuna, group)
    base = getattr(home, _OPTUNA[group])
    rows = []
    for name in sorted(home.__all__):
        cls = getattr(home, name)
        if inspect.isclass(cls) and issubclass(cls, base) and not inspect.isabstract(cls):
            rows.append((name, (inspect.getdoc(cls) or "").partition("\n")[0], f"optuna.{group}"))
    return rows
