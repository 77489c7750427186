"""Classes read from their source, without importing them: what a config names is looked at before it is run.

Importing torch takes seconds and importing anything runs code. The arguments of a class, its bases and
what its docstring says stand in its source, so a name that stands for something else than what is expected is
refused before its module is imported, and help comes at once.
"""

from __future__ import annotations

import ast
import importlib.util
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

_MOST_STEPS = 30
"""The longest chain of re-exports that is followed; a longer one is a circle."""
_NO_ANCESTORS = frozenset(("ABC", "ABCMeta", "Generic", "Protocol", "object"))


@dataclass(frozen=True, eq=False)
class Definition:
    """The place where a name is defined: a class, a function, or the value of an assignment.

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
    def is_class(self) -> bool:
        """True where it is a class."""
        return isinstance(self.node, ast.ClassDef)

    @property
    def docstring(self) -> str:
        """The docstring, or that of the first ancestor or constructor that has one."""
        for each in lineage(self):
            for node in (each.node, _constructor(each)):
                if isinstance(node, ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                    return text
        return ""


@dataclass(frozen=True, eq=False)
class Scope:
    """The names of a module.

    Args:
        module: its name.
        defined: what is defined in it.
        imported: name -> the import path that it stands for.
        stars: modules of which it imports all.
    """

    module: str
    defined: dict[str, ast.ClassDef | ast.FunctionDef | ast.expr] = field(default_factory=dict)
    imported: dict[str, str] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """The names, without those of `import *`."""
        return [*self.defined, *self.imported]

    @property
    def is_open(self) -> bool:
        """True where it may have further names, which only running it would tell."""
        return "__getattr__" in self.defined or bool(self.stars)


@cache
def find(module: str) -> Path | None:
    """The source file of a module, found without importing it or its packages; None: there is none to read."""
    first, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(first)
        for number in range(len(rest)):
            if spec is None or spec.submodule_search_locations is None:
                return None
            spec = PathFinder.find_spec(".".join([first, *rest[: number + 1]]), spec.submodule_search_locations)
    except (ImportError, ValueError, AttributeError):
        return None
    origin = None if spec is None else spec.origin
    return Path(origin) if origin is not None and origin.endswith(".py") else None


def exists(module: str) -> bool:
    """True where there is a module of that name, not in a package, readable or not."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
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
    scope = Scope(module)
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in _statements(tree.body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            scope.defined.setdefault(node.name, node)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    scope.defined.setdefault(target.id, node.value)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                scope.imported.setdefault(name, alias.name if alias.asname else name)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            home = ".".join(filter(None, (*above, node.module)))
            scope.stars.extend(home for alias in node.names if alias.name == "*")
            for alias in node.names:
                scope.imported.setdefault(alias.asname or alias.name, f"{home}.{alias.name}")
    return scope


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that bind names of a module, those under `if` and `try` too."""
    for node in body:
        if isinstance(node, ast.If | ast.Try | ast.With):
            parts = [node, *getattr(node, "handlers", [])]
            for part in parts:
                yield from _statements([*part.body, *getattr(part, "orelse", [])])
        else:
            yield node


def resolve(path: str, steps: int = 0) -> Definition | None:
    """The definition that `package.module.Name` leads to, over any number of re-exports; None: it cannot be told."""
    module, _, name = path.rpartition(".")
    if not module or steps > _MOST_STEPS:
        return None
    scope = scope_of(module)
    if scope is not None:
        return look_up(scope, name, steps)
    # `package.alias.Name`, where the alias is an import of another module.
    outer, _, alias = module.rpartition(".")
    above = scope_of(outer) if outer else None
    home = above.imported.get(alias) if above is not None else None
    return resolve(f"{home}.{name}", steps + 1) if home and home != module else None


def look_up(scope: Scope, dotted: str, steps: int = 0) -> Definition | None:
    """The definition of what a name in a module, perhaps `a.b.Name`, stands for; None: it cannot be told."""
    first, _, rest = dotted.partition(".")
    if first in scope.imported and first not in scope.defined:
        home = scope.imported[first]
        return resolve(f"{home}.{rest}" if rest else home, steps + 1)
    if first in scope.defined and not rest:
        node = scope.defined[first]
        alias = ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else first
        further = look_up(scope, alias, steps + 1) if alias != first and steps < _MOST_STEPS else None
        return further or Definition(scope, first, node)
    found = (resolve(f"{star}.{dotted}", steps + 1) for star in scope.stars)
    return next((each for each in found if each is not None), None)


def _bases(cls: Definition) -> tuple[list[Definition], bool]:
    """The definitions of a class's bases, and whether these are all."""
    found, complete = [], True
    for base in getattr(cls.node, "bases", ()):
        dotted = ast.unparse(base.value if isinstance(base, ast.Subscript) else base)
        definition = look_up(cls.scope, dotted)
        if definition is not None and definition.is_class:
            found.append(definition)
        elif dotted.rpartition(".")[2] not in _NO_ANCESTORS:
            complete = False
    return found, complete


def lineage(cls: Definition) -> list[Definition]:
    """A class and its ancestors, the nearest first."""
    found, waiting = {cls.path: cls}, [cls]
    while waiting:
        for base in _bases(waiting.pop(0))[0]:
            if base.path not in found:
                found[base.path] = base
                waiting.append(base)
    return list(found.values())


def is_subclass(cls: Definition, expected: Definition) -> bool | None:
    """True where a class is derived from another one, or is it; None: its source does not tell."""
    family = lineage(cls)
    if any(each.path == expected.path for each in family):
        return True
    return False if all(_bases(each)[1] for each in family) else None


def returned(function: Definition) -> Definition | None:
    """The class that a function is annotated to return; None: its source does not tell."""
    annotation = getattr(function.node, "returns", None)
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return look_up(function.scope, annotation.value)
    return None if annotation is None else look_up(function.scope, ast.unparse(annotation))


def _constructor(cls: Definition) -> ast.FunctionDef | None:
    """The constructor that a class defines itself; the last one, since those before it are overloads."""
    body = cls.node.body if isinstance(cls.node, ast.ClassDef) else []
    found = [node for node in body if isinstance(node, ast.FunctionDef) and node.name in ("__init__", "__new__")]
    return found[-1] if found else None


@cache
def arguments_of(definition: Definition) -> tuple[dict[str, str | None], bool]:
    """The arguments of a class or function, with their defaults as they are written, and whether it may take others.

    The default of an argument that has to be given is None.
    """
    found: dict[str, str | None] = {}
    for each in lineage(definition):
        function = each.node if isinstance(each.node, ast.FunctionDef) else _constructor(each)
        if function is not None:
            for name, default in _arguments(function.args):
                found.setdefault(name, None if default is None else _written(each.scope, default))
            if function.args.kwarg is None or not _hands_on(function):
                return found, function.args.kwarg is not None
        elif isinstance(each.node, ast.ClassDef) and any(
            "dataclass" in ast.unparse(m) for m in each.node.decorator_list
        ):
            for node in each.node.body:
                if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                    found.setdefault(node.target.id, None if node.value is None else _written(each.scope, node.value))
    return found, not all(_bases(each)[1] for each in lineage(definition))


def _hands_on(function: ast.FunctionDef) -> bool:
    """True where a constructor hands what it does not know to that of the next class."""
    calls = [ast.unparse(node) for node in ast.walk(function) if isinstance(node, ast.Call)]
    return any(".__init__(" in call and f"**{function.args.kwarg.arg}" in call for call in calls if function.args.kwarg)


def _arguments(arguments: ast.arguments) -> Iterator[tuple[str, ast.expr | None]]:
    positional = [each for each in (*arguments.posonlyargs, *arguments.args) if each.arg not in ("self", "cls")]
    missing = len(positional) - len(arguments.defaults)
    for position, each in enumerate(positional):
        yield each.arg, None if position < missing else arguments.defaults[position - missing]
    yield from ((each.arg, value) for each, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))


def _written(scope: Scope, node: ast.expr) -> str:
    """A default as YAML would have it; of a constant, its value."""
    if isinstance(node, ast.Name | ast.Attribute):
        named = look_up(scope, ast.unparse(node))
        node = named.node if named is not None and isinstance(named.node, ast.expr) else node
    if isinstance(node, ast.Constant):
        words = {None: "null", True: "true", False: "false"}
        return words[node.value] if node.value is None or isinstance(node.value, bool) else str(node.value)
    return ast.unparse(node).replace("(", "[").replace(")", "]")
