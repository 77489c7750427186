"""Docstring sentences that begin with What, Whether, How, Which or Where, and not with the noun that they are about.

python .ci/words.py [ROOT] has exit code 1 where there is one.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("automl_plugins", "gnn_space", "seg_space")
QUESTION = re.compile(r"(?:What|Whether|How|Which|Where)\b")
# A sentence begins a docstring, a paragraph or an item, or follows the end of another one.
SENTENCE = re.compile(r"(?:\A|\n\s*\n|\n\s*(?:[-*]|\w+:)|[.!?][)\"'`]*)\s+(?=[A-Z`\"(*])|\A(?=\S)")


class Sentence(NamedTuple):
    """The beginning of a sentence of a docstring."""

    path: Path
    line: int
    text: str


def docstrings(tree: ast.AST) -> Iterator[ast.Constant]:
    """Texts that stand as statements: docstrings of modules, classes and functions, and those below attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value


def sentences(path: Path) -> Iterator[Sentence]:
    """All sentences of a file's docstrings."""
    for docstring in docstrings(ast.parse(path.read_text(encoding="utf-8"))):
        text = str(docstring.value)
        for found in SENTENCE.finditer(text):
            line = docstring.lineno + text.count("\n", 0, found.end())
            yield Sentence(path, line, text[found.end() :].split("\n", 1)[0])


def main(arguments: list[str]) -> int:
    """Print the sentences that begin with a question's word, and their share; 1 where there is one."""
    root = Path(arguments[0]) if arguments else Path(__file__).parents[1]
    files = [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]
    read = [sentence for path in files for sentence in sentences(path)]
    found = [sentence for sentence in read if QUESTION.match(sentence.text)]
    for sentence in found:
        sys.stdout.write(f"{sentence.path.relative_to(root)}:{sentence.line}: {sentence.text}\n")
    sys.stdout.write(f"{len(found)} of {len(read)} sentences begin with What, Whether, How, Which or Where\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
