"""One trial of a study: measure what its architecture costs, train it, tell what it came to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from optuna.pruners import NopPruner
from torch import nn

from automl_plugins.errors import StudyError
from automl_plugins.studies.deaths import Deaths
from automl_plugins.studies.pulse import Pulse
from automl_plugins.studies.sharing import ENOUGH, Layers, SharesWeights, WeightPool
from automl_plugins.studies.time_limit import time_limit
from automl_plugins.studies.trial_pruning import TrialPruning
from automl_plugins.studies.trial_queue import Claim, TrialQueue
from automl_plugins.training import fit as training
from automl_plugins.training.fit import TrainingResult

if TYPE_CHECKING:
    from automl_plugins.studies.study import Study


def run_trial(study: Study, queue: TrialQueue, claim: Claim, deaths: Deaths) -> None:
    """Train what was claimed and tell the queue what it came to, whatever that is.

    Args:
        study: says what is trained on what.
        queue: that the claim is of.
        claim: the trial.
        deaths: counts the trainings that kill their process.

    Raises:
        StudyError: the study itself cannot go on: the disk is full, say.
    """
    name = _name(queue, claim)
    try:
        with (
            deaths.attempt(name),
            time_limit(study.trial_minutes, "trial_minutes", lambda reason: deaths.give_up(name, reason)),
        ):
            result, pruned, values = _train(study, queue, claim)
    except StudyError:
        raise
    except Exception as error:  # noqa: BLE001 - a trial's failure is the study's to judge, whatever it is
        queue.fail(claim, error)
    else:
        queue.finish(claim, result, pruned, values)


def _name(queue: TrialQueue, claim: Claim) -> str:
    content = json.dumps([queue.name, sorted(claim.architecture.items())]).encode()
    return f"trial-{hashlib.sha256(content).hexdigest()[:16]}"


def _train(study: Study, queue: TrialQueue, claim: Claim) -> tuple[TrainingResult, bool, Sequence[float] | None]:
    """The result, whether the pruner stopped it, and the values to tell."""
    callbacks = []
    if not isinstance(queue.pruner, NopPruner):
        callbacks.append(TrialPruning(study.monitor, claim.trial, queue.storage, queue.pruner))
    figures = study.figures(claim.architecture)
    study.goal.constrain(claim.trial, figures)
    claim.trial.set_user_attr("figures", figures)
    with training.seeded(study.seed):
        network = study.space.network(claim.architecture, study.task)
        pool = WeightPool(study.folder.shared_weights(queue.name))
        layers, options = _inherit(study, queue, claim, network, pool)
        result = training.train(
            study.module(network, study.task),
            study.data,
            study.monitor,
            study.direction,
            options,
            [*callbacks, Pulse(study.folder, f"trial {claim.trial.number} of {study.arm_of(queue)}")],
            keep_weights=study.sharing,
            network=network,
        )
    pruned = any(callback.pruned for callback in callbacks)
    if pruned or result.best_epoch < 0:
        return result, pruned, None
    if layers:
        pool.keep(layers, claim.trial.number)
    return result, pruned, study.goal.values(result.score, figures)


def _inherit(
    study: Study, queue: TrialQueue, claim: Claim, network: nn.Module, pool: WeightPool
) -> tuple[Layers, dict[str, Any]]:
    """Start a network from what earlier trials have trained; what it shares itself, and how to train it."""
    if not (study.sharing and isinstance(study.space, SharesWeights)):
        return {}, study.trial_options
    layers = study.space.shared_weights(network, claim.architecture)
    share = pool.inherit(layers, queue.complete())
    claim.trial.set_user_attr("inherited", round(share, 4))
    return layers, study.trial_options if share >= ENOUGH else study.trainer
