"""Predictions beside the truth: points, tables of classes, and images with where they are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from automl_plugins.report.page.drawing import COLORS, drawn, new_axes
from automl_plugins.report.page.page import Drawing, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_CLASSES = 20


@dataclass(frozen=True)
class JudgedImage:
    """An image with its mask and the prediction for it.

    Args:
        image: `[height, width, 3]` or `[height, width]`, from 0 to 1.
        truth: `[height, width]`, a class or a value each.
        predicted: likewise.
        counts: where the truth is known, boolean `[height, width]`.
    """

    image: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray
    counts: np.ndarray


def values_drawing(name: str, truth: np.ndarray, predicted: np.ndarray) -> Drawing:
    """Points of predicted over true values, with the diagonal on which they are equal.

    Args:
        name: of the target.
        truth: `[num_items]`.
        predicted: `[num_items]`.
    """

    def make() -> Figure:
        figure, axes = new_axes(3.8, 3.4)
        ends = [min(truth.min(), predicted.min()), max(truth.max(), predicted.max())]
        axes.plot(ends, ends, color="#8c8c8c", linewidth=1)
        axes.scatter(truth, predicted, s=12, alpha=0.6, color=COLORS[0])
        axes.set(xlabel=f"{name}, truth", ylabel="predicted")
        return figure

    error = float(np.sqrt(np.mean((truth - predicted) ** 2)))
    caption = f"{name}: {len(truth):,} items of the validation; root mean squared error {error:.4g}."
    return drawn(make, caption)


def classes_table(names: Sequence[str], truth: np.ndarray, predicted: np.ndarray, caption: str) -> Table:
    """A table of how often a true class was predicted as which.

    Args:
        names: of the classes.
        truth: the number of a class for each item, `[num_items]`.
        predicted: likewise.
        caption: what was counted.
    """
    shown = range(min(len(names), _MOST_CLASSES))
    rows = [
        [names[row], *(f"{int(np.sum((truth == row) & (predicted == column))):,}" for column in shown)] for row in shown
    ]
    share = float(np.mean(truth == predicted))
    of = "" if len(names) <= _MOST_CLASSES else f"; the first {_MOST_CLASSES} of {len(names)} classes"
    columns = ["truth", *(f"predicted {names[column]}" for column in shown)]
    return Table(columns, rows, f"{caption}: {share:.1%} of {len(truth):,} are right{of}.", range(1, len(columns)))


def classes_of_pixels_drawing(judged: JudgedImage, names: Sequence[str], number: int) -> Drawing:
    """An image, its mask, the prediction, and where that is wrong.

    Args:
        judged: with classes.
        names: of the classes.
        number: of the image in the validation, from 0.
    """
    wrong = judged.counts & (judged.truth != judged.predicted)

    def make() -> Figure:
        figure, parts = _four()
        _show(parts[0], judged.image, "image")
        for axes, mask, title in ((parts[1], judged.truth, "truth"), (parts[2], judged.predicted, "predicted")):
            shown = np.where(judged.counts, mask, np.nan) if title == "truth" else mask.astype(float)
            axes.imshow(shown, vmin=0, vmax=max(len(names) - 1, 9), cmap="tab10", interpolation="nearest")
            _frame(axes, title)
        _show(parts[3], judged.image, "wrong, in red")
        parts[3].imshow(np.dstack([wrong, wrong * 0.1, wrong * 0.1, wrong * 0.75]), interpolation="nearest")
        return figure

    known = max(int(judged.counts.sum()), 1)
    told = ", ".join(
        f"{names[each]} {np.mean(judged.predicted[judged.counts & (judged.truth == each)] == each):.0%}"
        for each in np.unique(judged.truth[judged.counts]).astype(int).tolist()
        if each < len(names)
    )
    return drawn(
        make, f"Validation image {number}: {wrong.sum() / known:.1%} of its pixels are wrong. Right of {told}."
    )


def values_of_pixels_drawing(judged: JudgedImage, number: int) -> Drawing:
    """An image, its true values, the predicted ones, and their difference; see `classes_of_pixels_drawing`."""
    error = np.where(judged.counts, judged.predicted - judged.truth, np.nan)
    most = float(np.nanmax(np.abs(error))) if judged.counts.any() else 1.0

    def make() -> Figure:
        figure, parts = _four()
        _show(parts[0], judged.image, "image")
        low, high = float(np.nanmin(judged.truth)), float(np.nanmax(judged.truth))
        for axes, values, title in ((parts[1], judged.truth, "truth"), (parts[2], judged.predicted, "predicted")):
            axes.imshow(values, vmin=low, vmax=high, interpolation="nearest")
            _frame(axes, title)
        parts[3].imshow(error, vmin=-most, vmax=most, cmap="RdBu", interpolation="nearest")
        _frame(parts[3], "difference")
        return figure

    root = float(np.sqrt(np.nanmean(error**2))) if judged.counts.any() else float("nan")
    return drawn(make, f"Validation image {number}: root mean squared error {root:.4g}, at most {most:.4g}.")


def _four() -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.8, 3.9), layout="constrained")
    return figure, list(figure.subplots(2, 2).flat)


def _show(axes: Axes, image: np.ndarray, title: str) -> None:
    axes.imshow(np.clip(image, 0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    _frame(axes, title)


def _frame(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
