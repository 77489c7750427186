"""Predictions as a table: a row for each input, predicted or not."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

import numpy as np

REASON = "reason"
"""The last column: why an input has no prediction."""


def predictions_csv(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    predicted: Mapping[int, Sequence[str]],
    header: Sequence[str],
    skipped: Mapping[int, str],
) -> str:
    """The table as CSV, in the order of the inputs.

    Args:
        columns: what an input is told by.
        rows: these of each input.
        predicted: place of an input -> its cells under the header.
        header: the columns of predictions, see `header_of`.
        skipped: place of an input -> why it has no prediction.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    taken = {*columns, REASON}
    writer.writerow([*columns, *(f"predicted/{name}" if name in taken else name for name in header), REASON])
    for place, row in enumerate(rows):
        cells = predicted.get(place, [""] * len(header))
        writer.writerow([*row, *cells, skipped.get(place, "")])
    return text.getvalue()


def header_of(target: str, names: Sequence[str], has_spread: bool) -> list[str]:
    """The columns of predictions.

    Real values stand under the names of their targets. Of classes, a binary target's two among them, there is
    `prediction`, the name of the most probable one, and the `probability/NAME` of each; of labels 1 or 0 under their
    names, and the probability of 1. The standard deviation over several networks is `spread/NAME`.

    Args:
        target: the task's.
        names: of the classes, labels or targets.
        has_spread: whether several networks predict.
    """
    spread = [f"spread/{name}" for name in names] if has_spread else []
    if target == "regression":
        return [*names, *spread]
    decided = ["prediction"] if _is_of_classes(target, names) else list(names)
    return [*decided, *(f"probability/{name}" for name in names), *spread]


def cells_of(target: str, names: Sequence[str], values: np.ndarray, spread: np.ndarray | None) -> list[list[str]]:
    """The cells of some predictions under `header_of`.

    Args:
        target: the task's.
        names: of the classes, labels or targets.
        values: real values, or probabilities, `[num_predictions, out_channels]`.
        spread: their standard deviations, of the same shape; None: one network predicts.
    """
    if len(names) > values.shape[1]:  # no and yes of a binary target
        values = np.concatenate([1 - values, values], axis=1)
        spread = None if spread is None else np.concatenate([spread, spread], axis=1)
    numbers = values if spread is None else np.concatenate([values, spread], axis=1)
    plain = [[f"{number:.7g}" for number in row] for row in numbers.tolist()]
    if target == "regression":
        return plain
    if _is_of_classes(target, names):
        decided = [[names[number]] for number in values.argmax(axis=1)]
    else:
        decided = [[str(int(number > 0.5)) for number in row] for row in values]
    return [first + rest for first, rest in zip(decided, plain, strict=True)]


def _is_of_classes(target: str, names: Sequence[str]) -> bool:
    return target == "classes" or (target == "binary" and len(names) == 2)
