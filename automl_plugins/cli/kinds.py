"""Types as annotations in source name them, in as few kinds as settings can be told apart by."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

from automl_plugins.cli.source import Definition, Scope, import_path, lineage, look_up


@dataclass(frozen=True)
class Kind:
    """A type that a setting may have.

    Args:
        name: `int`, `float`, `str`, `bool`, `null`, `path`, `any`, `literal`, `union`, `list`, `tuple`, `mapping`,
            `callable`, `class`, or `opaque`: one that only the running program knows.
        arguments: the options of a literal, the members of a union, the element of a list, the members of a tuple
            (an Ellipsis last: any number), the value of a mapping, the result of a callable.
        definition: of a class.
    """

    name: str
    arguments: tuple[Any, ...] = ()
    definition: Definition | None = None


ANY, OPAQUE, NULL = Kind("any"), Kind("opaque"), Kind("null")
INT, FLOAT, STR, BOOL = Kind("int"), Kind("float"), Kind("str"), Kind("bool")
_SIMPLE = {
    "builtins.int": INT,
    "builtins.float": FLOAT,
    "builtins.str": STR,
    "builtins.bool": BOOL,
    "builtins.object": ANY,
    "typing.Any": ANY,
    "pathlib.Path": Kind("path"),
    "os.PathLike": Kind("path"),
}
_TYPING = ("builtins", "typing", "typing_extensions", "collections.abc", "collections")
_LISTS = ("list", "sequence", "iterable", "collection", "set", "frozenset", "abstractset", "mutablesequence")
_MAPPINGS = ("dict", "mapping", "mutablemapping", "ordereddict")
_OF_THEIR_OWN = ("enum", "typing", "typing_extensions")
_DEEPEST = 20


def kind_of(scope: Scope, node: ast.expr | None, depth: int = 0) -> Kind:
    """The kind that an annotation in a module stands for."""
    if node is None:
        return ANY
    if depth > _DEEPEST:
        return OPAQUE
    if isinstance(node, ast.Constant):
        if node.value is None:
            return NULL
        if isinstance(node.value, str):
            try:
                return kind_of(scope, ast.parse(node.value, mode="eval").body, depth + 1)
            except SyntaxError:
                return OPAQUE
        return OPAQUE
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return union(kind_of(scope, node.left, depth + 1), kind_of(scope, node.right, depth + 1))
    if isinstance(node, ast.Subscript):
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return _generic(scope, node.value, parts, depth + 1)
    return _generic(scope, node, [], depth + 1)


def union(*members: Kind) -> Kind:
    """Any of several kinds."""
    flat = [each for member in members for each in (member.arguments if member.name == "union" else (member,))]
    flat = list(dict.fromkeys(flat))
    return flat[0] if len(flat) == 1 else Kind("union", tuple(flat))


def _generic(scope: Scope, node: ast.expr, parts: list[ast.expr], depth: int) -> Kind:
    path = import_path(scope, node)
    if path is None:
        return OPAQUE
    if path in _SIMPLE:
        return _SIMPLE[path]
    home, _, name = path.rpartition(".")
    if home in _TYPING:
        return _typing(scope, name.lower(), parts, depth)
    found = look_up(scope, node)
    if found is None or isinstance(found.node, ast.FunctionDef):
        return OPAQUE
    if isinstance(found.node, ast.expr):
        return kind_of(found.scope, found.node, depth)
    family = lineage(found)
    foreign = {import_path(each.scope, base) or "" for each in family for base in getattr(each.node, "bases", ())}
    # An enumeration, a protocol or a named tuple is given in other ways than by a class path.
    special = any(each.scope.module in _OF_THEIR_OWN for each in family)
    special |= any(each.rpartition(".")[2] in ("Enum", "Protocol", "NamedTuple", "TypedDict") for each in foreign)
    return OPAQUE if special else Kind("class", definition=found)


def _typing(scope: Scope, name: str, parts: list[ast.expr], depth: int) -> Kind:
    if name == "literal":
        return Kind("literal", tuple(each.value for each in parts if isinstance(each, ast.Constant)))
    if name == "callable":
        return Kind("callable", (kind_of(scope, parts[1], depth) if len(parts) == 2 else ANY,))
    if name == "annotated":
        return kind_of(scope, parts[0], depth) if parts else OPAQUE
    inner = [
        ... if isinstance(each, ast.Constant) and each.value is ... else kind_of(scope, each, depth) for each in parts
    ]
    kinds = [each for each in inner if isinstance(each, Kind)]
    if name == "optional" and kinds:
        return union(kinds[0], NULL)
    if name == "union":
        return union(*kinds) if kinds else OPAQUE
    if name == "tuple":
        return Kind("tuple", tuple(inner))
    if name in _LISTS:
        return Kind("list", tuple(kinds[:1]))
    if name in _MAPPINGS:
        return Kind("mapping", tuple(kinds[1:2]))
    return OPAQUE


def members(kind: Kind) -> tuple[Kind, ...]:
    """The members of a union, or the kind itself."""
    return kind.arguments if kind.name == "union" else (kind,)
