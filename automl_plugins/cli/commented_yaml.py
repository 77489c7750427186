"""YAML for people: a line for each setting, with its reason above it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

import yaml

from automl_plugins.cli.errors import one_line
from automl_plugins.training.data.draft import Reasoned

_WIDTH = 110


class _Dumper(yaml.SafeDumper):
    """Plain values, in which a text that we would read as a number, such as 1e3, has quotation marks."""


def _represented(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "'" if re.fullmatch(r"[-+.\d][-+.\w]*", text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represented)


def entry(key: str, value: Reasoned, indent: int = 0) -> Iterator[str]:
    """The lines of a setting, those of its reason first.

    Args:
        key: its name.
        value: plain, with the reason; "" where there is none.
        indent: blanks before each line.
    """
    if value.reason:
        yield from commented(value.reason, f"{' ' * indent}# ")
    # A scalar in a mapping of scalars would have braces round it.
    flow = None if isinstance(value.value, dict | list) else False
    text = yaml.dump(
        {key: value.value}, Dumper=_Dumper, default_flow_style=flow, width=10**9, sort_keys=False, allow_unicode=True
    )
    yield from textwrap.indent(text.rstrip("\n"), " " * indent).split("\n")


def commented(text: str, start: str = "# ", further: str | None = None) -> Iterator[str]:
    """The lines of a comment.

    Args:
        text: whatever it holds.
        start: of its first line.
        further: of its other lines; as the first where left out.
    """
    shown = "".join(character if character.isprintable() else "?" for character in one_line(text))
    further = start if further is None else further
    yield from textwrap.wrap(shown, _WIDTH, initial_indent=start, subsequent_indent=further) or [start.rstrip()]
