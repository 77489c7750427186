"""Formulas of docstrings as MathML, which browsers show without a script: an extension of griffe for the site.

`:math:` roles and `.. math::` blocks are what a docstring holds, in the notation of LaTeX.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any

from griffe import Extension, Object
from latex2mathml.converter import convert

BLOCK = re.compile(r"^( *)\.\. math::\n((?:\1 +\S.*\n|\s*\n)+)", re.MULTILINE)
INLINE = re.compile(r":math:`([^`]+)`")
# What Markdown would take for emphasis.
ENTITIES = str.maketrans({"*": "&#42;", "_": "&#95;"})


class Formulas(Extension):
    """Writes formulas anew in every docstring that is read."""

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
