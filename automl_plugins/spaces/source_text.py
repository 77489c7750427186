"""Lines of Python as ruff formats them, for the plain source of networks."""

from __future__ import annotations

from collections.abc import Sequence

_WIDTH = 120


def call(start: str, arguments: Sequence[str], end: str = ")", indent: int = 0) -> str:
    """A call or a signature: on one line, with its arguments on a line of their own, or with a line for each.

    Args:
        start: up to its opening bracket.
        arguments: of one line each.
        end: from its closing bracket on.
        indent: blanks before each line.
    """
    blanks, joined = " " * indent, ", ".join(arguments)
    if len(one := f"{blanks}{start}{joined}{end}") <= _WIDTH:
        return one
    if len(inner := f"{blanks}    {joined}") <= _WIDTH:
        return f"{blanks}{start}\n{inner}\n{blanks}{end}"
    return _exploded(start, arguments, end, blanks)


def listed(start: str, items: Sequence[str], end: str = "]", indent: int = 0) -> str:
    """A list, or another literal, on one line or with a line for each of its items.

    Args:
        start: up to its opening bracket.
        items: of one line each, or of several with the indentation that they will have.
        end: from its closing bracket on.
        indent: blanks before each line.
    """
    blanks = " " * indent
    one = f"{blanks}{start}{', '.join(items)}{end}"
    return one if len(one) <= _WIDTH and "\n" not in one else _exploded(start, items, end, blanks)


def module_list(name: str, items: Sequence[str], indent: int = 8) -> str:
    """The assignment of an `nn.ModuleList` of several modules to an attribute."""
    blanks = " " * indent
    one = f"{blanks}self.{name} = nn.ModuleList([{', '.join(items)}])"
    if len(one) <= _WIDTH:
        return one
    if len(inner := f"{blanks}    [{', '.join(items)}]") <= _WIDTH:
        return f"{blanks}self.{name} = nn.ModuleList(\n{inner}\n{blanks})"
    inner = _exploded("[", items, "]", f"{blanks}    ")
    return f"{blanks}self.{name} = nn.ModuleList(\n{inner}\n{blanks})"


def _exploded(start: str, items: Sequence[str], end: str, blanks: str) -> str:
    lines = "".join(f"{blanks}    {item},\n" for item in items)
    return f"{blanks}{start}\n{lines}{blanks}{end}"


def class_text(
    name: str,
    docstring: str,
    init: Sequence[str],
    forward: Sequence[str],
    parameters: Sequence[str],
    arguments: Sequence[str] = (),
    returns: str = "Tensor",
) -> str:
    """A class of `nn.Module`.

    Args:
        name: of the class.
        docstring: of one line.
        init: lines of `__init__` behind the call of the base class, without indentation where they are single.
        forward: lines of `forward`, likewise.
        parameters: of `forward`, with their annotations.
        arguments: of `__init__`, likewise.
        returns: the annotation of what `forward` returns.
    """
    head = [f"class {name}(nn.Module):", f'    """{docstring}"""', ""]
    made = call("def __init__(", ["self", *arguments], ") -> None:", 4)
    called = call("def forward(", ["self", *parameters], f") -> {returns}:", 4)
    lines = [*head, made, "        super().__init__()", *map(_indented, init), "", called, *map(_indented, forward)]
    return "\n".join(lines)


def _indented(line: str) -> str:
    return line if line.startswith("        ") or not line else f"        {line}"
