"""Optuna's Hyperband for studies that may be killed: a trial that was cut off and asked for again counts once."""

from __future__ import annotations

import copy

import optuna
from optuna.trial import FrozenTrial

_NO_BRACKET = -1


class HyperbandPruner(optuna.pruners.HyperbandPruner):
    """Optuna's HyperbandPruner, whose brackets are those of a study that was never killed.

    Optuna's own takes a trial's bracket from its number, which grows with every trial that is asked for again, and
    compares trials with what was reported before a kill, their own reports too. Studies of ours take this one where
    Optuna's is named; one that is given as an object stays as it is.
    """

    def _get_bracket_id(self, study: optuna.Study, trial: FrozenTrial) -> int:
        if "interrupted" in trial.user_attrs:
            return _NO_BRACKET
        before = study._get_trials(deepcopy=False, use_cache=True)[: trial.number]
        counted = copy.copy(trial)
        counted.number = trial.number - sum("interrupted" in each.user_attrs for each in before)
        return super()._get_bracket_id(study, counted)
