"""The session that counts docstring sentences which begin with a question's word."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / ".ci" / "words.py"

TEXT = '''
"""What a module is. A noun, and Whether within a sentence."""

class A:
    """A class.

    How it works: well.

    Args:
        x: what it takes. Which one matters.
    """

    x = 1
    """Where it is."""

def f():
    "Whatever one returns."
    return """What is no docstring."""
'''


def test_sentences_at_every_place_of_docstrings_are_found_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "seg_space").mkdir()
    (tmp_path / "seg_space" / "a.py").write_text(TEXT)
    ran = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True, check=False)
    *found, count = ran.stdout.splitlines()
    assert [line.partition(": ")[2].split()[0] for line in found] == ["What", "How", "Which", "Where"]
    assert count.startswith("4 of ")
    assert ran.returncode == 1
