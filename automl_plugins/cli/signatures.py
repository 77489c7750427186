"""What a class takes, from its source."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import cache, cached_property

from automl_plugins.cli.kinds import Kind, kind_of
from automl_plugins.cli.source import Definition, Scope, bases, lineage, look_up


@dataclass(frozen=True, eq=False)
class Parameter:
    """An argument.

    Args:
        scope: where its annotation is to be read.
        annotation: as it is written.
        default: as it is written; None: it has to be given.
    """

    scope: Scope
    annotation: ast.expr | None
    default: ast.expr | None

    @cached_property
    def kind(self) -> Kind:
        """The type that it asks for."""
        return kind_of(self.scope, self.annotation)


@dataclass(frozen=True)
class Signature:
    """The arguments of a class or a function.

    Args:
        parameters: name -> argument.
        is_open: it may take others, too.
    """

    parameters: dict[str, Parameter] = field(default_factory=dict)
    is_open: bool = False


@cache
def signature(definition: Definition) -> Signature:
    """The arguments of a class or a function."""
    if isinstance(definition.node, ast.FunctionDef):
        return _of_function(definition.scope, definition.node)
    if not isinstance(definition.node, ast.ClassDef):
        return Signature(is_open=True)
    family = lineage(definition)
    found: dict[str, Parameter] = {}
    for each in family:
        if _is_dataclass(each):
            found = {**_fields(each), **found}
            continue
        own = _constructor(each)
        if own is None:
            continue
        one = _of_function(each.scope, own)
        found |= {name: parameter for name, parameter in one.parameters.items() if name not in found}
        if not one.is_open or not _hands_on(own):
            return Signature(found, one.is_open)
    # What a base that cannot be read takes is not known.
    return Signature(found, not all(bases(each)[1] for each in family))


def method(cls: Definition, name: str) -> Definition | None:
    """A method of a class; None: it has none of its own."""
    body = cls.node.body if isinstance(cls.node, ast.ClassDef) else []
    found = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == name]
    return Definition(cls.scope, name, found[-1]) if found else None


def _constructor(cls: Definition) -> ast.FunctionDef | None:
    body = cls.node.body if isinstance(cls.node, ast.ClassDef) else []
    # The last one: those before it are overloads.
    found = [node for node in body if isinstance(node, ast.FunctionDef) and node.name in ("__init__", "__new__")]
    return found[-1] if found else None


def _of_function(scope: Scope, node: ast.FunctionDef) -> Signature:
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    if positional and positional[0].arg in ("self", "cls"):
        positional = positional[1:]
    missing: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    pairs = zip(positional, [*missing, *arguments.defaults][-len(positional) :] if positional else [], strict=True)
    found = {each.arg: Parameter(scope, each.annotation, default) for each, default in pairs}
    for each, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found[each.arg] = Parameter(scope, each.annotation, value)
    return Signature(found, arguments.kwarg is not None)


def _hands_on(constructor: ast.FunctionDef) -> bool:
    """Whether a constructor hands what it does not know to that of the next class."""
    name = constructor.args.kwarg.arg if constructor.args.kwarg is not None else None
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "__init__"
        and any(
            each.arg is None and isinstance(each.value, ast.Name) and each.value.id == name for each in node.keywords
        )
        for node in ast.walk(constructor)
    )


def _is_dataclass(cls: Definition) -> bool:
    marks = cls.node.decorator_list if isinstance(cls.node, ast.ClassDef) else []
    heads = [mark.func if isinstance(mark, ast.Call) else mark for mark in marks]
    named = [look_up(cls.scope, head) for head in heads if isinstance(head, ast.Name | ast.Attribute)]
    return any(each is not None and each.path == "dataclasses.dataclass" for each in named)


def is_dataclass(definition: Definition) -> bool:
    """Whether a class is a dataclass, whose fields are given as a mapping."""
    return any(map(_is_dataclass, lineage(definition)))


def _fields(cls: Definition) -> dict[str, Parameter]:
    body = cls.node.body if isinstance(cls.node, ast.ClassDef) else []
    return {
        node.target.id: Parameter(cls.scope, node.annotation, node.value)
        for node in body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and "ClassVar" not in ast.unparse(node.annotation)
    }
