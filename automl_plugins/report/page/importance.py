"""The importance of choices for the score of trials, as Optuna tells it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial, TrialState

from automl_plugins.report.page.drawing import COLORS, drawn, new_axes
from automl_plugins.report.page.page import Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LEAST_TRIALS = 5
_SHOWN = 15


def importances(trials: Sequence[FrozenTrial], maximize: bool) -> dict[str, float]:
    """The share of each choice that all trials have, the largest first, by Optuna's own default (PED-ANOVA).

    Args:
        trials: of one study or several over the same choices.
        maximize: whether more of the first value is better.

    Raises:
        ValueError: there are too few trials, or none of them differ.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    complete = [
        trial
        for trial in trials
        if trial.state is TrialState.COMPLETE and trial.params and math.isfinite(trial.values[0])
    ]
    if len(complete) < _LEAST_TRIALS:
        raise ValueError(f"{len(complete)} trials with a value are too few to tell; it takes {_LEAST_TRIALS}")
    study = optuna.create_study(
        storage=optuna.storages.InMemoryStorage(), direction="maximize" if maximize else "minimize"
    )
    for trial in complete:
        study.add_trial(
            optuna.trial.create_trial(
                params=trial.params, distributions=trial.distributions, value=trial.values[0], state=TrialState.COMPLETE
            )
        )
    found = optuna.importance.get_param_importances(study)
    if not found:
        raise ValueError("no choice is in all trials")
    return found


def importance_drawing(shares: Mapping[str, float], metric: str) -> Drawing:
    """Bars of the most important choices.

    Args:
        shares: see `importances`.
        metric: that they are important for.
    """
    shown = list(shares.items())[:_SHOWN]

    def make() -> Figure:
        figure, axes = new_axes(4.4, 0.9 + 0.24 * len(shown))
        axes.barh(range(len(shown)), [share for _, share in shown], color=COLORS[0])
        axes.set_yticks(range(len(shown)), [name for name, _ in shown])
        axes.invert_yaxis()
        axes.set_xlabel("importance")
        return figure

    of = "" if len(shown) == len(shares) else f" The first {len(shown)} of {len(shares)}."
    told = ", ".join(f"{name} {share:.2f}" for name, share in shown)
    return drawn(make, f"Choices by how much {metric} depends on them (PED-ANOVA, shares of 1).{of}", told)
