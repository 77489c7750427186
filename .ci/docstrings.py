"""Docstrings for the site, as an extension of griffe.

Formulas (`:math:` roles and `.. math::` blocks, in the notation of LaTeX) become MathML, which browsers show without a
script. A class is shown in the file that defines it, and not again in the packages that import it for their users. The
docstring of a command, which is its help, is shown as it is printed.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any

from griffe import Extension, Module, Object
from latex2mathml.converter import convert

BLOCK = re.compile(r"^( *)\.\. math::\n((?:\1 +\S.*\n|\s*\n)+)", re.MULTILINE)
INLINE = re.compile(r":math:`([^`]+)`")
# Characters that Markdown would take for emphasis.
ENTITIES = str.maketrans({"*": "&#42;", "_": "&#95;"})


class Docstrings(Extension):
    """Changes what was read before it is shown."""

    def on_module(self, *, mod: Module, **_: Any) -> None:
        """Forget that a package exports names of its files, and keep the lines of a command's help."""
        mod.exports = None
        if mod.docstring is not None and "usage: " in mod.docstring.value:
            mod.docstring.value = f"```text\n{mod.docstring.value}\n```"

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Write the formulas of an object's docstring."""
        if obj.docstring is not None and "math:" in obj.docstring.value:
            text = BLOCK.sub(_block, obj.docstring.value + "\n")
            obj.docstring.value = INLINE.sub(lambda found: _formula(found[1]), text)


def _block(found: re.Match[str]) -> str:
    formula = " ".join(textwrap.dedent(found[2]).split())
    return f"{found[1]}{_formula(formula, 'block')}\n\n"


def _formula(latex: str, display: str = "inline") -> str:
    return convert(" ".join(latex.split()), display=display).translate(ENTITIES)
