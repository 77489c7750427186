"""The logits of a search over its epochs, as `search.history` writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from automl_plugins.system.formats import unstamped


@dataclass(frozen=True)
class ChoiceOverEpochs:
    """A choice of a search.

    Args:
        name: of the choice.
        options: in the order of the columns.
        probabilities: `[num_epochs, num_options]`.
    """

    name: str
    options: Sequence[Any]
    probabilities: np.ndarray

    @property
    def entropy(self) -> np.ndarray:
        """The entropy after each epoch `[num_epochs]`, from 0 (decided) to 1 (nothing is)."""
        total = self.probabilities.sum(axis=1, keepdims=True)
        shares = self.probabilities / np.maximum(total, np.finfo(float).tiny)
        entropy = -(shares * np.log(np.maximum(shares, np.finfo(float).tiny))).sum(axis=1)
        return entropy / max(np.log(len(self.options)), np.finfo(float).tiny)


@dataclass(frozen=True)
class LogitsOverEpochs:
    """The probabilities of all choices of all searchables over the epochs.

    Args:
        epochs: their numbers, from 0.
        entropy: of each searchable the mean of its choices', after each epoch.
        choices: of each searchable.
    """

    epochs: Sequence[int]
    entropy: Mapping[str, Sequence[float]]
    choices: Mapping[str, Sequence[ChoiceOverEpochs]]

    @classmethod
    def from_lines(cls, text: str) -> LogitsOverEpochs:
        """Read the file; half a line at its end, of a search that was killed, is left out.

        Raises:
            FormatError: another version wrote it.
            ValueError: it is none.
        """
        lines = text.splitlines()
        first = unstamped(json.loads(lines[0]), "the history of logits")
        told = []
        for line in lines[1:]:
            try:
                told.append(json.loads(line))
            except ValueError:
                break
        epochs = sorted({int(each["epoch"]) for each in told})
        entropy, choices = {}, {}
        for name, named in first["searchables"].items():
            own = {int(each["epoch"]): each for each in told if each["name"] == name}
            rows = [own[epoch] for epoch in epochs if epoch in own]
            entropy[str(name)] = [float(row["entropy"]) for row in rows]
            choices[str(name)] = [
                ChoiceOverEpochs(
                    str(choice["name"]),
                    list(choice["options"]),
                    np.array([row["probabilities"][place] for row in rows], dtype=float).reshape(
                        len(rows), len(choice["options"])
                    ),
                )
                for place, choice in enumerate(named)
            ]
        return cls(epochs, entropy, choices)
