"""The arms of a study, which are compared: the search, random search, and hand-made networks with their settings."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.pruners import BasePruner
from optuna.samplers import RandomSampler, TPESampler

from automl_plugins.objectives.contender import Contender
from automl_plugins.samplers.uniform import UniformSampler
from automl_plugins.studies.candidates import Architectures, Candidates, HandMade
from automl_plugins.studies.equal_cost import CountMacs, EqualCost, count_macs, equal_cost, unit_of
from automl_plugins.studies.first_trials import first_trials
from automl_plugins.studies.optuna_parts import SamplerFactory
from automl_plugins.studies.plan import HAND_MADE, Plan
from automl_plugins.studies.trial_store import TrialStore
from automl_plugins.training.best_validation import Direction
from automl_plugins.training.project import Project
from automl_plugins.training.tunable import values_now

_STREAMS = {"search": 0, "random": 1, HAND_MADE: 2}


@dataclass(frozen=True)
class Arm:
    """One arm of a study.

    Args:
        name: in tables.
        study_name: in the storage.
        storage: where its trials are, see `automl_plugins.studies.storage.open_storage`.
        sampler: makes the sampler of each trial.
        candidates: what its trials choose from.
        pruner: of its trials.
        directions: whether each value is better when lower or higher.
        trials: how many are asked for, unless it is given the search's cost.
        seed: of the sampler.
        max_equal_failures: the same failure this often ends the study.
        first: the parameters that it begins with, by the references' names.
        equal_cost: the cost that it is given; None: so many trials.
        seconds: of its trials in all, after which it ends; None: any.
        count_macs: counts the multiply-accumulates of a trial's network; None: nobody needs them.
        minutes: of the whole study, for which a search may be ended; None: it may not.
    """

    name: str
    study_name: str
    storage: str
    sampler: SamplerFactory
    candidates: Candidates
    pruner: BasePruner
    directions: Sequence[Direction]
    trials: int
    seed: int
    max_equal_failures: int
    first: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    equal_cost: EqualCost | None = None
    count_macs: CountMacs | None = None
    seconds: float | None = None
    minutes: float | None = None


def arms_of(project: Project, plan: Plan, store: TrialStore, references: Sequence[Contender] = ()) -> list[Arm]:
    """The arms of a study.

    Args:
        project: what is trained on what.
        plan: of the study.
        store: where its trials are.
        references: the hand-made networks that fit.
    """
    unit, count = unit_of(project, plan, len(references)), count_macs(project)
    arms = []
    for name in plan.arms_with(len(references)):
        is_hand_made, trials = name == HAND_MADE, plan.trials_of(name, len(references))
        arms.append(
            Arm(
                name=name,
                study_name=store.study_name(name),
                storage=store.location,
                sampler=_sampler(name, project, plan),
                candidates=(
                    HandMade(project, references, plan.tuning) if is_hand_made else Architectures(project, plan.tuning)
                ),
                pruner=plan.pruner,
                directions=plan.goal.directions(project.direction),
                trials=trials,
                # Random search draws from a stream of its own, not the one that a sampler's start-up draws from.
                seed=project.seed + _STREAMS[name],
                # A hand-made network that is broken ends its own part of the study alone.
                max_equal_failures=sys.maxsize if is_hand_made else plan.max_equal_failures,
                first=_first(name, project, plan, references),
                equal_cost=equal_cost(name, project, plan, references, store.study_name("search")),
                seconds=plan.search_seconds if name == "search" else None,
                count_macs=count if unit == "macs" else None,
                minutes=plan.minutes,
            )
        )
    return arms


def _sampler(name: str, project: Project, plan: Plan) -> SamplerFactory:
    """The search's as it was asked for; settings of hand-made networks are no matter of samplers of architectures."""
    if name == "random":
        return SamplerFactory(UniformSampler, space=project.narrowed)
    if name == HAND_MADE and (plan.sampler.given is not None or plan.sampler.cls not in (TPESampler, RandomSampler)):
        return SamplerFactory(TPESampler)
    return plan.sampler.over(project.narrowed, plan.tuning.offered(values_now(project)))


def _first(name: str, project: Project, plan: Plan, references: Sequence[Contender]) -> dict[str, dict[str, Any]]:
    """The parameters that an arm begins with; hand-made networks have the settings that they have without tuning."""
    if name == HAND_MADE:
        settings = plan.tuning.offered(values_now(project))
        return {str(contender.reference): settings for contender in references}
    return first_trials(project, plan) if name == "search" else {}
