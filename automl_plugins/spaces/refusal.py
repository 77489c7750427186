"""Trials whose sampler proposes what a space was narrowed not to have: ended as broken constraints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.within import Within

if TYPE_CHECKING:
    import optuna

REFUSED = "refused"
"""The user attribute of a trial that was ended before a network was built: the reason, in words."""
REFERENCE = "reference"
"""The user attribute of a trial of a space's reference, which a study begins with: its name."""
_STARTUP = "_startup_of_trained_trials"


def refuse_beyond(trial: optuna.trial.BaseTrial, within: Within, architecture: Architecture) -> None:
    """End a trial that proposes an architecture which is not admitted.

    Its constraints (`trial.constraints`) are the limits that it breaks, each by the part that it is beyond; samplers
    that know of constraints, such as Optuna's TPE, learn from them.

    Raises:
        optuna.TrialPruned: it is not admitted.
    """
    reason = within.refusal(architecture)
    if reason is None:
        return
    import optuna

    set_constraint: Any = getattr(trial, "set_constraint", None)
    if set_constraint is not None:
        for name, excess in (within.budget.broken(architecture) or {"task": 1.0}).items():
            set_constraint(name, excess)
    trial.set_user_attr(REFUSED, reason)
    raise optuna.TrialPruned(reason)


def prolong_startup(study: optuna.Study) -> None:
    """Have the first trials of a study that TPE draws at random be as many *trained* ones as it was made for.

    TPE counts pruned trials among them, refused ones too. Optuna's other samplers count complete ones alone. Of the
    space's references that were enqueued (`REFERENCE`), half of the startup counts: the other half is drawn at random.

    Args:
        study: its sampler's `n_startup_trials` grow by the number of trials that were refused, and by that of the
            references beyond half of them.
    """
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    # A sampler of some fixed parameters asks another one for the rest.
    sampler: Any = getattr(study.sampler, "_base_sampler", study.sampler)
    if not isinstance(sampler, TPESampler):
        return
    asked = vars(sampler).setdefault(_STARTUP, sampler._n_startup_trials)
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    refused = sum(REFUSED in trial.user_attrs for trial in ended)
    references = sum(REFERENCE in trial.user_attrs for trial in ended)
    sampler._n_startup_trials = asked + refused + max(0, references - asked // 2)
