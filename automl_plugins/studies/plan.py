"""The plan of a study: how it searches a project's space, and how it compares what it has found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler

from automl_plugins.objectives.contender import Contender
from automl_plugins.objectives.goal import Goal
from automl_plugins.objectives.standing import Preference
from automl_plugins.report.trial_cost import UNITS
from automl_plugins.samplers.judge import LazyContext
from automl_plugins.spaces.hand_made import Reference
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.studies.hyperband import HyperbandPruner
from automl_plugins.studies.optuna_parts import (
    PartConfig,
    SamplerFactory,
    comes_with_hyperband,
    make_pruner,
    sampler_factory,
)
from automl_plugins.studies.references import references_of
from automl_plugins.studies.sharing import SharesWeights
from automl_plugins.studies.storage import expanded
from automl_plugins.studies.tuning import Tuning, make_tuning
from automl_plugins.system.arguments import at_least, names, one_of, positive, switch

HAND_MADE = "hand-made"
"""The arm of the hand-made networks with their settings."""
CHOOSING_SEEDS = 2
"""The number of seeds on which finalists are chosen, beside those on which they are judged."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The settings of a study beside its project, checked; see `Study` for what they mean.

    Args:
        trials: of the search.
        equal_cost: the unit in which the other arms have the search's cost, see `studies.equal_cost`; None: settled by
            what can be counted.
        trial_epochs: of a trial; None: as many as the project's trainer gives.
        sampler: makes the sampler of each trial.
        pruner: of trials.
        goal: what is good: metric, costs, limits, reward.
        tuning: the training settings that are searched along.
        sharing: trials start from the weights of earlier ones.
        random_search: run random search beside it.
        references: the hand-made networks that were asked for; None: all that fit the task.
        references_first: the search begins with those of the space.
        finalists: of each search.
        seeds: of the final trainings.
        ensemble: the number of networks whose mean stands beside the winner; None: there is no such mean.
        prefer: the `best` wins, or the `economical` one.
        workers: processes.
        storage: where the trials are.
        max_equal_failures: the same failure this often ends the study.
        trial_minutes: a trial that takes longer has failed; None: it may.
        final_minutes: likewise a final training, or its test.
        search_minutes: the search ends when its trials have taken so long in all; None: when it has them all.
        minutes: the searches end, and the final trainings have fewer seeds, so that all takes so long; None: any time.
    """

    trials: int
    equal_cost: str | None
    trial_epochs: int | None
    sampler: SamplerFactory
    pruner: BasePruner
    goal: Goal
    tuning: Tuning
    sharing: bool
    random_search: bool
    references: Sequence[Contender] | None
    references_first: bool
    finalists: int
    seeds: int
    ensemble: int | None
    prefer: Preference
    workers: int
    storage: str
    max_equal_failures: int
    trial_minutes: float | None
    final_minutes: float | None
    search_minutes: float | None
    minutes: float | None

    @property
    def ends_by_time(self) -> bool:
        """True where the number of the search's trials follows from what they take."""
        return self.search_minutes is not None or self.minutes is not None

    @property
    def search_seconds(self) -> float | None:
        """The time of the search's trials in all, after which it ends."""
        return None if self.search_minutes is None else 60 * self.search_minutes

    @property
    def may_end_its_process(self) -> bool:
        """True where a training may be ended by force: it is limited, and may not heed the limit."""
        return self.trial_minutes is not None or self.final_minutes is not None

    @property
    def arms(self) -> tuple[str, ...]:
        """The searches of the study, by their names in tables."""
        if self.trials == 0:
            return ()
        return ("search", "random") if self.random_search else ("search",)

    def arms_with(self, references: int) -> tuple[str, ...]:
        """The arms of the study beside so many hand-made networks.

        These are an arm where there is something to choose among them: settings, or more networks than finalists.
        """
        chooses = references > 0 and (bool(self.tuning.distributions) or references > self.finalists)
        return (*self.arms, HAND_MADE) if self.arms and chooses else self.arms

    def paid(self, references: int) -> tuple[str, ...]:
        """The arms that may be given the search's cost: those whose number of trials does not follow from what is."""
        arms = self.arms_with(references)[1:]
        return tuple(arm for arm in arms if arm != HAND_MADE or self.tuning.distributions)

    def trials_of(self, arm: str, references: int) -> int:
        """The number of trials of an arm: hand-made networks have one each without settings, and at least one with."""
        if arm != HAND_MADE:
            return self.trials
        return max(self.trials, references) if self.tuning.distributions else references

    def final_trainings(self, references: int) -> int:
        """The number of final trainings beside so many references, if none fails and no finalist is another's equal."""
        arms, finalists = len(self.arms), min(self.finalists, self.trials)
        if HAND_MADE in self.arms_with(references):
            references = min(self.finalists, self.trials_of(HAND_MADE, references))
        if self.seeds == 1:
            return arms * finalists + references
        ranked = arms * finalists if finalists > 1 and not self.goal.costs else 0
        judged = arms * (finalists if self.goal.costs else 1) + references
        return (ranked + (references if references > 1 else 0)) * CHOOSING_SEEDS + judged * self.seeds

    def longer(self, epochs: Any) -> float:
        """The length of a training of so many epochs (the trainer's `max_epochs`), in trials."""
        if self.trial_epochs is None or not isinstance(epochs, int) or epochs < 1:
            return 1.0
        return epochs / self.trial_epochs


def make_plan(
    space: SearchSpace,
    journal: Path,
    context: LazyContext,
    trainer: Mapping[str, Any],
    *,
    trials: int,
    equal_cost: str | None,
    trial_epochs: int | None,
    sampler: PartConfig | BaseSampler,
    pruner: PartConfig | BasePruner | None,
    costs: Sequence[str],
    limits: dict[str, float | None] | None,
    reward: PartConfig | None,
    tune: Mapping[str, Any] | None,
    sharing: bool,
    storage: str | None,
    references: Sequence[str | Reference] | None,
    references_first: bool,
    trial_minutes: float | None,
    final_minutes: float | None,
    search_minutes: float | None,
    minutes: float | None,
    random_search: bool,
    ensemble: int | None,
    prefer: Preference,
    **counts: int,
) -> Plan:
    """The plan that a user's arguments make, see `Study`.

    Trials are kept in `journal` where there is no `storage`; `context` is what samplers' estimators judge in, and
    `trainer` has the Trainer's arguments.

    Raises:
        ValueError: a number out of range, a name that does not exist, or arguments that exclude each other.
    """
    trial_epochs = None if trial_epochs is None else at_least("trial_epochs", trial_epochs, 1)
    factory = sampler_factory(sampler, space, context)
    goal, stops = Goal(names("costs", costs), limits, reward), make_pruner(pruner)
    if pruner is None and comes_with_hyperband(factory) and not goal.costs:
        stops = HyperbandPruner(max_resource=_validations(trainer, trial_epochs))
    if goal.costs and not isinstance(stops, NopPruner):
        raise ValueError("pruner: Optuna's pruners know one value, and costs add others; leave one of them out")
    if switch("sharing", sharing) and not isinstance(space, SharesWeights):
        raise ValueError(
            f"sharing: {type(space).__name__} does not say which weights its networks may share; "
            "it would need a method `shared_weights` (automl_plugins.studies.sharing.SharesWeights)"
        )
    numbers: dict[str, Any] = {name: at_least(name, count, 1) for name, count in counts.items()}
    if one_of("prefer", prefer, get_args(Preference)) == "economical" and numbers["seeds"] == 1:
        raise ValueError("prefer='economical' is within a standard error, and one seed has none; give more (--seeds 5)")
    return Plan(
        trials=at_least("trials", trials, 0),
        equal_cost=None if equal_cost is None else one_of("equal_cost", equal_cost, list(UNITS)),
        trial_epochs=trial_epochs,
        sampler=factory,
        pruner=stops,
        goal=goal,
        tuning=make_tuning(tune, space),
        sharing=sharing,
        random_search=switch("random_search", random_search),
        ensemble=None if ensemble is None else at_least("ensemble", ensemble, 2),
        prefer=prefer,
        references=references_of(references),
        references_first=switch("references_first", references_first),
        storage=str(journal) if storage is None else expanded(storage),
        trial_minutes=None if trial_minutes is None else positive("trial_minutes", trial_minutes),
        final_minutes=None if final_minutes is None else positive("final_minutes", final_minutes),
        search_minutes=None if search_minutes is None else positive("search_minutes", search_minutes),
        minutes=None if minutes is None else positive("minutes", minutes),
        **numbers,
    )


def _validations(trainer: Mapping[str, Any], epochs: int | None) -> int | Literal["auto"]:
    """The validations of a trial; auto: as many as the first trials have, since the Trainer's arguments do not say."""
    longest, every = epochs or trainer.get("max_epochs"), trainer.get("check_val_every_n_epoch", 1)
    if not isinstance(longest, int) or not isinstance(every, int) or min(longest, every) < 1:
        return "auto"
    return max(longest // every, 1)
