"""The searches of a study, which are compared: one by the sampler that was asked for, and random search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.pruners import BasePruner

from automl_plugins.samplers.uniform import UniformSampler
from automl_plugins.studies.equal_cost import CountMacs, EqualCost, count_macs, unit_of
from automl_plugins.studies.first_trials import first_trials
from automl_plugins.studies.optuna_parts import SamplerFactory
from automl_plugins.studies.plan import Plan
from automl_plugins.studies.trial_store import TrialStore
from automl_plugins.studies.tuning import Tuning
from automl_plugins.training.best_validation import Direction
from automl_plugins.training.project import Project
from automl_plugins.training.tunable import values_now


@dataclass(frozen=True)
class Arm:
    """One search of a study.

    Args:
        name: in tables.
        study_name: in the storage.
        storage: where its trials are, see `automl_plugins.studies.storage.open_storage`.
        sampler: makes the sampler of each trial.
        tuning: the training settings of its trials.
        pruner: of its trials.
        directions: whether each value is better when lower or higher.
        trials: how many are asked for, unless it is given the search's cost.
        seed: of the sampler.
        max_equal_failures: the same failure this often ends the study.
        first: the parameters that it begins with, by the references' names.
        equal_cost: the cost that it is given; None: so many trials.
        count_macs: counts the multiply-accumulates of a trial's network; None: nobody needs them.
    """

    name: str
    study_name: str
    storage: str
    sampler: SamplerFactory
    tuning: Tuning
    pruner: BasePruner
    directions: Sequence[Direction]
    trials: int
    seed: int
    max_equal_failures: int
    first: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    equal_cost: EqualCost | None = None
    count_macs: CountMacs | None = None


def arms_of(project: Project, plan: Plan, store: TrialStore) -> list[Arm]:
    """The searches of a study.

    Args:
        project: what is trained on what.
        plan: of the study.
        store: where its trials are.
    """
    unit = unit_of(project, plan)
    equal_cost = EqualCost(unit, store.study_name("search"), plan.trials)
    settings = plan.tuning.offered(values_now(project))
    return [
        Arm(
            name=name,
            study_name=store.study_name(name),
            storage=store.location,
            sampler=_random(project) if name == "random" else plan.sampler.over(project.narrowed, settings),
            tuning=plan.tuning,
            pruner=plan.pruner,
            directions=plan.goal.directions(project.direction),
            trials=plan.trials,
            # Random search draws from a stream of its own, not the one that a sampler's start-up draws from.
            seed=project.seed + (name == "random"),
            max_equal_failures=plan.max_equal_failures,
            first=first_trials(project, plan) if name == "search" else {},
            equal_cost=None if name == "search" or unit == "trials" else equal_cost,
            count_macs=count_macs(project) if unit == "macs" else None,
        )
        for name in plan.arms
    ]


def _random(project: Project) -> SamplerFactory:
    return SamplerFactory(UniformSampler, space=project.narrowed)
