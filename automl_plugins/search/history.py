"""The history of a search's logits: the probabilities of all options after each epoch, in a file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from automl_plugins.supernets.searchable import Searchable
from automl_plugins.system.files import WriteError, write_whole
from automl_plugins.system.formats import stamp

NAME = "logits.jsonl"
"""The file's name, beside `architecture.json`."""
_DIGITS = 4


class LogitsHistory:
    """A line of JSON for each epoch and searchable, after one that names the choices and their options.

    A search that goes on keeps the lines of the epochs that its checkpoint has, and writes the others anew.

    Args:
        path: of the file; None: there is none.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._beginning: str | None = None

    def begin(self, searchables: Mapping[str, Searchable], epochs: int) -> None:
        """Begin a file with the next epoch, or go on after so many epochs; a search without an epoch writes none."""
        if self._path is None:
            return
        kept = [each for each in _lines(self._path) if each.get("epoch", epochs) < epochs] if epochs else []
        named = {
            name: [{"name": choice.name, "options": list(choice.options)} for choice in searchable.choices]
            for name, searchable in searchables.items()
        }
        lines = [{**stamp(), "searchables": named}, *kept]
        self._beginning = "".join(f"{json.dumps(line)}\n" for line in lines)

    def add(self, searchables: Mapping[str, Searchable], epoch: int) -> None:
        """Write a line for each searchable, as it is after an epoch.

        Raises:
            WriteError: it cannot be written.
        """
        if self._path is None:
            return
        if self._beginning is not None:
            write_whole(self._path, self._beginning)
            self._beginning = None
        told = []
        for name, searchable in searchables.items():
            probabilities = {
                choice: [round(value, _DIGITS) for value in row.tolist()]
                for choice, row in searchable.probabilities().items()
            }
            entropy = round(float(searchable.entropy()), _DIGITS)
            told.append({"epoch": epoch, "name": name, "entropy": entropy, "probabilities": [*probabilities.values()]})
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write("".join(f"{json.dumps(line)}\n" for line in told))
        except OSError as error:
            raise WriteError(self._path, error) from error


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of the file that are whole; a power cut may have left half of one."""
    if not path.is_file():
        return
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            content = json.loads(line)
        except ValueError:
            continue
        if isinstance(content, dict) and "epoch" in content:
            yield content
