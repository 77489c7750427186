"""Logits over epochs as heat maps: what was decided when, and for which options."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from automl_plugins.report.logits import ChoiceOverEpochs, LogitsOverEpochs
from automl_plugins.report.page.drawing import COLORS, LINES, drawn, new_axes
from automl_plugins.report.page.page import Drawing, Drawings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROWS = 48
"""Rows of a heat map of probabilities."""
_LONGEST = 30
"""Characters of a row's label; the end tells more than the beginning."""


def entropy_drawings(logits: LogitsOverEpochs) -> list[Drawing]:
    """The mean entropy as a curve, and each choice's as a row of a heat map."""
    return [_entropy_curve(logits), *(_entropies(logits.epochs, name, own) for name, own in logits.choices.items())]


def probability_drawings(logits: LogitsOverEpochs) -> Drawings:
    """The probability of each option after each epoch, a row each; folded where they are many."""
    parts = [part for own in logits.choices.values() for part in _parts(own)]
    drawings = [_probabilities(logits.epochs, part) for part in parts]
    return Drawings(drawings, "" if len(parts) < 3 else f"probabilities of all options, {len(parts)} heat maps")


def _entropy_curve(logits: LogitsOverEpochs) -> Drawing:
    def make() -> Figure:
        figure, axes = new_axes()
        for place, (name, values) in enumerate(logits.entropy.items()):
            style: dict[str, Any] = {"color": COLORS[place % len(COLORS)], "linestyle": LINES[place % len(LINES)]}
            axes.plot([epoch + 1 for epoch in logits.epochs[: len(values)]], values, label=name, marker=".", **style)
        axes.set(xlabel="epoch", ylabel="mean entropy", ylim=(0, 1.02))
        if len(logits.entropy) > 1:
            axes.legend(frameon=False, fontsize=8)
        return figure

    told = "; ".join(f"from {values[0]:.2f} to {values[-1]:.2f}" for values in logits.entropy.values() if values)
    return drawn(make, "The mean entropy of all choices: 1 where nothing is decided, 0 where all is.", told)


def _entropies(epochs: Sequence[int], name: str, choices: Sequence[ChoiceOverEpochs]) -> Drawing:
    entropies = np.array([choice.entropy for choice in choices])
    of = f" of {name}" if name else ""
    decided = sorted(choices, key=lambda choice: choice.entropy[-1])[:3]
    told = f"most decided at the end: {', '.join(choice.name for choice in decided)}"
    return _map(epochs, [choice.name for choice in choices], entropies, f"The entropy of each choice{of}.", told)


def _probabilities(epochs: Sequence[int], choices: Sequence[ChoiceOverEpochs]) -> Drawing:
    # A row without values has the choice's name, those below it its options.
    rows = [row for choice in choices for row in (f"{choice.name}:", *map(str, choice.options))]
    gap = np.full((1, len(epochs)), np.nan)
    values = np.concatenate([part for choice in choices for part in (gap, choice.probabilities.T)])
    best = [f"{each.name} {each.options[int(each.probabilities[-1].argmax())]}" for each in choices]
    first, last = choices[0].name, choices[-1].name
    of = first if len(choices) == 1 else f"the choices from {first} to {last}"
    return _map(epochs, rows, values, f"The probabilities of the options of {of}.", f"at the end: {', '.join(best)}")


def _parts(choices: Sequence[ChoiceOverEpochs]) -> Iterator[list[ChoiceOverEpochs]]:
    """Choices in groups, of about so many options as a heat map has rows."""
    part: list[ChoiceOverEpochs] = []
    for choice in choices:
        if part and sum(len(each.options) for each in part) + len(choice.options) + len(part) > _ROWS:
            yield part
            part = []
        part.append(choice)
    if part:
        yield part


def _map(epochs: Sequence[int], rows: Sequence[str], values: np.ndarray, caption: str, alt: str) -> Drawing:
    def make() -> Figure:
        figure, axes = new_axes(3.8, 0.9 + 0.16 * len(rows))
        extent = (epochs[0] + 0.5, epochs[-1] + 1.5, len(rows) - 0.5, -0.5)
        image = axes.imshow(values, vmin=0, vmax=1, aspect="auto", interpolation="nearest", extent=extent)
        axes.set_yticks(range(len(rows)), list(map(_short, rows)), fontsize=7)
        axes.set_xlabel("epoch")
        figure.colorbar(image, ax=axes, location="top", aspect=40, shrink=0.9)
        return figure

    return drawn(make, caption, f"{caption} {alt}")


def _short(row: str) -> str:
    return row if len(row) <= _LONGEST else f"…{row[-_LONGEST + 1 :]}"
