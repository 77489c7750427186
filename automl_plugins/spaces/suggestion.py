"""Choices as parameters of an Optuna trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from automl_plugins.spaces.choice import Choice, Value

if TYPE_CHECKING:
    import optuna


def suggest(trial: optuna.trial.BaseTrial, choices: Sequence[Choice], offered: Sequence[Choice]) -> dict[str, Value]:
    """Ask a trial for every active choice, as ordinary categorical parameters of the choices' names.

    Args:
        trial: is asked.
        choices: in order; a choice stands after those that it requires.
        offered: the same ones with the options that are offered; of one that is not among them, all are.

    Raises:
        ValueError: the trial was told to use a value that is no option.
    """
    with_options = {choice.name: choice for choice in offered}
    values: dict[str, Value] = {}
    for choice in choices:
        if choice.is_active(values):
            asked = with_options.get(choice.name, choice)
            value = trial.suggest_categorical(choice.name, asked.options)
            asked.index(value)  # a fixed trial hands back what it was given
            values[choice.name] = value
    return values
