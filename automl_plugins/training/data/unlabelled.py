"""Inputs without labels, to be predicted, and those that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automl_plugins.training.prediction import Prediction

Cell = str | int


@dataclass(frozen=True)
class Unlabelled:
    """Inputs in batches as a datamodule's own, each with its place among all of them.

    A datamodule class makes one of a user's path in its classmethod `unlabelled(path, preprocessing, **options)`, with
    the `Preprocessing` of the data that the network was trained on; its `reading` is what their method `reading` gave.

    Args:
        columns: what an input is told by, such as `row` and `smiles`.
        rows: these of each input, in the order of the files.
        skipped: place of an input that cannot be predicted -> why; complete once all batches were made.
        batches: makes the batches, each with the places of its inputs in the order of the outputs.
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]
    skipped: Mapping[int, str]
    batches: Callable[[], Iterator[tuple[Sequence[int], Any]]]

    def __iter__(self) -> Iterator[tuple[Sequence[int], Any]]:
        return self.batches()

    def predictions(self, predict: Callable[[Any], Prediction]) -> Iterator[tuple[Sequence[int], Prediction]]:
        """The prediction for each batch, with the places of its inputs.

        Args:
            predict: predicts for a batch, such as a `Predictor`.
        """
        return ((places, predict(batch)) for places, batch in self)

    def write(self, place: int, prediction: Prediction, folder: Path, probabilities: bool) -> None:
        """Write a prediction that is no row of a table: as npz here, whatever else is asked for.

        Args:
            place: of its input.
            prediction: of this input alone.
            folder: for the files.
            probabilities: are to be kept beside decisions.

        Raises:
            WriteError: it cannot be written.
        """
        told = "-".join(str(cell) for cell in self.rows[place])
        prediction.save(folder / f"{told}.npz", ())

    def __len__(self) -> int:
        return len(self.rows)
