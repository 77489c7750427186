"""Classes read from their source, without importing them: what a config names is looked at before it is run.

Importing torch takes seconds and importing anything runs code. What a class takes, what it is derived from and
what its docstring says stands in its source, so a mistake is told in a moment, and a name that stands for
something else than what is expected is refused before its module is imported.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

_MOST_STEPS = 30
"""The longest chain of re-exports that is followed; a longer one is a circle."""


@dataclass(frozen=True, eq=False)
class Definition:
    """The place where a name is defined: a class, a function, or an assignment (`PATH = str | Path`).

    Args:
        scope: of the module.
        name: in the module.
        node: of the syntax tree.
    """

    scope: Scope
    name: str
    node: ast.ClassDef | ast.FunctionDef | ast.expr

    @property
    def path(self) -> str:
        """`package.module.Name`."""
        return f"{self.scope.module}.{self.name}"

    @property
    def docstring(self) -> str:
        """The docstring, or that of the first ancestor that has one."""
        if isinstance(self.node, ast.ClassDef):
            for each in lineage(self):
                body = each.node.body if isinstance(each.node, ast.ClassDef) else []
                constructors = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
                for node in (each.node, *constructors):
                    if isinstance(node, ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                        return text
        return (ast.get_docstring(self.node) if isinstance(self.node, ast.FunctionDef) else None) or ""


@dataclass(frozen=True, eq=False)
class Scope:
    """The names of a module.

    Args:
        module: its name.
        own: what is defined in it.
        imported: name -> the import path that it stands for.
        stars: modules of which it imports all.
        is_open: it may have further names, which only running it would tell.
    """

    module: str
    own: dict[str, ast.ClassDef | ast.FunctionDef | ast.expr]
    imported: dict[str, str]
    stars: tuple[str, ...]
    is_open: bool

    def names(self) -> list[str]:
        """The names, without those of `import *`."""
        return [*self.own, *self.imported]


@cache
def find(module: str) -> Path | None:
    """The source file of a module, found without importing it or its packages; None: there is none to read."""
    first, _, rest = module.partition(".")
    try:
        spec = importlib.util.find_spec(first)
        for number, _part in enumerate(rest.split(".") if rest else (), start=2):
            if spec is None or spec.submodule_search_locations is None:
                return None
            spec = PathFinder.find_spec(".".join(module.split(".")[:number]), spec.submodule_search_locations)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


def exists(module: str) -> bool:
    """Whether there is a module of that name, readable or not."""
    first = module.partition(".")[0]
    try:
        return find(module) is not None or module in sys.modules or importlib.util.find_spec(first) is not None
    except (ImportError, ValueError, AttributeError):
        return False


@cache
def scope_of(module: str) -> Scope | None:
    """The names of a module, from its source; None: there is none, or it cannot be parsed."""
    file = find(module)
    if file is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in other people's docstrings
            tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    own: dict[str, ast.ClassDef | ast.FunctionDef | ast.expr] = {}
    imported: dict[str, str] = {}
    stars: list[str] = []
    for node in _statements(tree.body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            own.setdefault(node.name, node)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    own.setdefault(target.id, node.value)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                imported.setdefault(name, alias.name if alias.asname else name)
        elif isinstance(node, ast.ImportFrom):
            home = _absolute(node, package)
            for alias in node.names:
                if alias.name == "*":
                    stars.append(home)
                else:
                    imported.setdefault(alias.asname or alias.name, f"{home}.{alias.name}")
    return Scope(module, own, imported, tuple(stars), "__getattr__" in own)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that bind names of a module, those under `if` and `try` too."""
    for node in body:
        if isinstance(node, ast.If | ast.Try | ast.With):
            yield from _statements(node.body)
            yield from _statements(getattr(node, "orelse", []))
            for handler in getattr(node, "handlers", []):
                yield from _statements(handler.body)
        else:
            yield node


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def resolve(path: str) -> Definition | None:
    """The definition that `package.module.Name` leads to, over any number of re-exports; None: it cannot be told."""
    return _resolve(path, 0)


def _resolve(path: str, steps: int) -> Definition | None:
    module, _, name = path.rpartition(".")
    if not module or steps > _MOST_STEPS:
        return None
    scope = scope_of(module)
    if scope is None:
        # `package.alias.Name`, where the alias is an import of another module.
        outer, _, alias = module.rpartition(".")
        above = scope_of(outer) if outer else None
        home = above.imported.get(alias) if above is not None else None
        return _resolve(f"{home}.{name}", steps + 1) if home and home != module else None
    return _in_scope(scope, name, steps)


def _in_scope(scope: Scope, name: str, steps: int = 0) -> Definition | None:
    if name in scope.own:
        node = scope.own[name]
        if isinstance(node, ast.Name | ast.Attribute):
            # `Name = other.Name`
            dotted = _dotted(node)
            further = _look_up(scope, dotted, steps + 1) if dotted and dotted != name and steps < _MOST_STEPS else None
            return further or Definition(scope, name, node)
        return Definition(scope, name, node)
    if name in scope.imported:
        return _resolve(scope.imported[name], steps + 1)
    for star in scope.stars:
        found = _resolve(f"{star}.{name}", steps + 1)
        if found is not None:
            return found
    return None


def _dotted(node: ast.expr) -> str | None:
    """`a.b.c` as text; None: it is another expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return None if before is None else f"{before}.{node.attr}"
    return None


def import_path(scope: Scope, node: ast.expr) -> str | None:
    """The import path of what an expression in a module names; None: it names none."""
    dotted = _dotted(node)
    if dotted is None:
        return None
    first, _, rest = dotted.partition(".")
    if first in scope.own or (first not in scope.imported and not hasattr(builtins, first)):
        home = f"{scope.module}.{first}"
    else:
        home = scope.imported.get(first, f"builtins.{first}")
    return f"{home}.{rest}" if rest else home


def look_up(scope: Scope, node: ast.expr) -> Definition | None:
    """The definition of what an expression in a module names; None: it cannot be told."""
    dotted = _dotted(node)
    return None if dotted is None else _look_up(scope, dotted, 0)


def look_up_name(scope: Scope, name: str) -> Definition | None:
    """The definition of a module's name; None: it cannot be told."""
    return _in_scope(scope, name)


def _look_up(scope: Scope, dotted: str, steps: int) -> Definition | None:
    first, _, rest = dotted.partition(".")
    if not rest:
        return _in_scope(scope, first, steps)
    home = scope.imported.get(first)
    return _resolve(f"{home}.{rest}", steps + 1) if home else None


_NO_ANCESTORS = frozenset(("ABC", "ABCMeta", "Generic", "Protocol", "object"))


def bases(cls: Definition) -> tuple[list[Definition], bool]:
    """The definitions of a class's bases, and whether these are all."""
    found, complete = [], True
    for base in getattr(cls.node, "bases", ()):
        node = base.value if isinstance(base, ast.Subscript) else base
        definition = look_up(cls.scope, node)
        if definition is not None and isinstance(definition.node, ast.ClassDef):
            found.append(definition)
        elif (_dotted(node) or "?").rpartition(".")[2] not in _NO_ANCESTORS:
            complete = False
    return found, complete


def lineage(cls: Definition) -> list[Definition]:
    """A class and its ancestors, the nearest first."""
    found = {cls.path: cls}
    waiting = [cls]
    while waiting:
        for base in bases(waiting.pop(0))[0]:
            if base.path not in found:
                found[base.path] = base
                waiting.append(base)
    return list(found.values())


def is_subclass(cls: Definition, expected: Definition) -> bool | None:
    """Whether a class is derived from another one, or is it; None: its source does not tell."""
    family = lineage(cls)
    if any(each.path == expected.path for each in family):
        return True
    return False if all(bases(each)[1] for each in family) else None
