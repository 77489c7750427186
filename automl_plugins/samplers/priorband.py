"""PriorBand: draws from random, from round what is known to work, and from round the best so far."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from automl_plugins.objectives.pareto import pareto_front
from automl_plugins.samplers.base import NOTE, ArchitectureSampler, Observation, Proposal, TrialLog
from automl_plugins.samplers.evolution import best_first
from automl_plugins.samplers.vicinity import Vicinity, draw_near, nearest
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace

if TYPE_CHECKING:
    from optuna.study import Study

_FACTOR, _RUNG = 3, 2
"""Of a study without successive halving: one trial in so many is among the best, and every trial is a full training, as
those at the last of Hyperband's rungs for some ten epochs are. Of 0, 1 and 2, this rung had the least regret by
validation on three graphs of NAS-Bench-Graph."""
_BEYOND = 0.1
"""The distance of the boxes' corner below the worst of each objective, in parts of its range."""


class Weights(NamedTuple):
    """The probabilities of the three ways to draw a trial."""

    random: float
    prior: float
    incumbent: float


class PriorBandSampler(ArchitectureSampler):
    """Draws at random, round priors, or round the incumbent, by weights that are moved by what paid.

    The ensemble sampling policy of PriorBand (Mallik et al., NeurIPS 2023, section 5): in a bracket of Hyperband that
    begins at rung r, a random draw has the weight 1 and one round the priors `factor ** r`. Once there is an incumbent,
    the best trial that ended with a value, the latter is shared between prior and incumbent as likely as the best
    `1 / factor` of the trials at the highest rung with enough of them are round each, a better one counting for more.
    There is an incumbent as soon as `factor` trials came to one rung and all trials together cost as much as a bracket.
    Studies of `automl-plugins` that name no pruner have Hyperband's with it; without one, `r` is 2.

    In a study with several objectives, such as a score and its cost, the incumbent is the point of the Pareto front
    with the largest box above a point a tenth below the worst of all trials (Regularized PriorBand of Auto-nnU-Net;
    Becktepe et al., AutoML 2025).

    Departures: there may be several priors, each as likely as the others, and each is tried as it is before
    anything else, as the authors' code tries its one; one choice of an architecture changes on average, where
    the paper's mutations change half of all parameters; the incumbent has been trained to the end, where
    theirs may be of a low rung; brackets are Optuna's, which are asynchronous.

    Parameters that are no choice of the space (a learning rate) are drawn likewise: at random, round their default, or
    round the incumbent's value. An architecture may come again with others of them, where a study has any. The
    note of a trial (`automl_plugins:note` in its system attributes) says how it was drawn.

    Args:
        space: see `ArchitectureSampler`.
        seed: see `ArchitectureSampler`.
        priors: architectures that are known to work, or the values of their choices; the space's `references` where
            left out and the space was narrowed to a task (`SearchSpace.within`). There may be none.
        defaults: values of parameters beside the architecture to draw round, by name.

    Raises:
        ValueError: a prior is no architecture of the space.
    """

    max_objectives = 1_000
    is_random: ClassVar[bool] = True
    hyperband: ClassVar[bool] = True

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        priors: Sequence[Mapping[str, Any]] | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(space, seed)
        if priors is None:
            known = {} if space.budget is None else space.references(space.budget.task)
            priors = list(known.values())
        self.priors = [_prior(space, values) for values in priors]
        self.defaults = dict(defaults or {})
        self._vicinities = [Vicinity(space, prior, self.defaults) for prior in self.priors]
        if self.defaults and not self.priors:
            self._vicinities = [Vicinity(space, None, self.defaults)]

    def propose(self, log: TrialLog, generator: np.random.Generator) -> Proposal:
        # A study of ours has seen to its references, which are at most half of its trials.
        if not any(observation.is_reference for observation in log.observations):
            for prior in self.priors:
                if prior not in log.seen and self.space.admits(prior):
                    return Proposal(prior, {"drawn": "as the prior"})
        weights, incumbent = self.weights(log), self.incumbent(log)
        drawn = Weights._fields[int(generator.choice(len(weights), p=weights))]
        if drawn == "incumbent" and incumbent is not None:
            note = {"drawn": "round the incumbent", "incumbent": incumbent.number}
            return Proposal(self._near(self._round(incumbent), log, generator), note)
        if drawn == "prior":
            vicinity = self._vicinities[int(generator.integers(len(self._vicinities)))]
            return Proposal(self._near(vicinity, log, generator), {"drawn": "round a prior"})
        return Proposal(self.unseen_at_random(log, generator), {"drawn": "at random"})

    def _near(self, vicinity: Vicinity, log: TrialLog, generator: np.random.Generator) -> Architecture:
        if any(observation.parameters for observation in log.observations):
            log = dataclasses.replace(log, seen=frozenset())
        drawn = self.unseen(log, lambda: vicinity.draw(generator))
        return drawn or self.walk(log, vicinity.draw(generator), generator)

    def _round(self, incumbent: Observation) -> Vicinity:
        beside = {name: value for name, (_, value) in incumbent.parameters.items()}
        return Vicinity(self.space, incumbent.architecture, beside)

    # Weights.

    def weights(self, log: TrialLog) -> Weights:
        """The probabilities of a random draw, of one round the priors and of one round the incumbent."""
        factor, rung = (_FACTOR, _RUNG) if log.halving is None else (log.halving.factor, log.halving.rung)
        random = 1.0 / (1.0 + factor**rung)
        incumbent = self.incumbent(log)
        if incumbent is None:
            return Weights(random, 1.0 - random, 0.0) if self._vicinities else Weights(1.0, 0.0, 0.0)
        share = self._share_of_priors(log, incumbent)
        return Weights(random, (1.0 - random) * share, (1.0 - random) * (1.0 - share))

    def _share_of_priors(self, log: TrialLog, incumbent: Observation) -> float:
        """The likelihood of the best trials round the priors, of that round them or round the incumbent."""
        if not self._vicinities:
            return 0.0
        best = _best(log)
        ranks = np.log(np.arange(len(best), 0, -1))
        sums = [
            np.logaddexp.reduce([rank + self._log_likelihood(near, one) for rank, one in zip(ranks, best, strict=True)])
            for near in (self._vicinities, [self._round(incumbent)])
        ]
        return float(np.exp(sums[0] - np.logaddexp(*sums)))

    def _log_likelihood(self, vicinities: Sequence[Vicinity], observation: Observation) -> float:
        each = [vicinity.log_likelihood(observation.architecture, observation.parameters) for vicinity in vicinities]
        return float(np.logaddexp.reduce(each)) - math.log(len(vicinities))

    def incumbent(self, log: TrialLog) -> Observation | None:
        """The best trial that ended with a value; None: too little is known yet to draw round it."""
        if not log.observations or not _best(log):
            return None
        rungs = 1 if log.halving is None else log.halving.rungs
        factor = _FACTOR if log.halving is None else log.halving.factor
        # A rung costs `factor` times the one before it, and a bracket about as many full trainings as it has rungs.
        spent = len(log.observations) + sum(factor ** min(max(one.rungs) + 1 - rungs, 0) for one in log.stopped)
        if spent < rungs:
            return None
        if log.objectives == 1:
            return max(log.observations, key=lambda one: one.fitness)
        least = min(one.violation for one in log.observations)
        return _largest_box([one for one in log.observations if one.violation == least])

    # Parameters beside the architecture.

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        note = trial.system_attrs.get(NOTE)
        # What was enqueued leaves to the defaults what it does not say.
        note = note if isinstance(note, dict) else {"drawn": "as the prior"}
        centre = self._centre(study, note, param_name)
        near = None if centre is None or param_name in self._names else nearest(param_distribution, centre)
        if near is None:
            return super().sample_independent(study, trial, param_name, param_distribution)
        if note["drawn"] == "as the prior":
            return near
        return draw_near(param_distribution, near, self._generator(study, trial.number, *param_name.encode()))

    def _centre(self, study: Study, note: Mapping[str, Any], name: str) -> Any:
        """The value to draw a parameter round; None: it is drawn at random."""
        if "incumbent" in note:
            return study._get_trials(deepcopy=False, use_cache=True)[note["incumbent"]].params.get(name)
        return None if note.get("drawn") == "at random" else self.defaults.get(name)


def _prior(space: SearchSpace, values: Mapping[str, Any]) -> Architecture:
    if not isinstance(values, Mapping):
        raise ValueError(f"priors: each is an architecture, or a mapping of its choices; got {values!r}")
    try:
        prior = values if isinstance(values, Architecture) else space.architecture(values)
        space.validate(prior)
    except ValueError as error:
        raise ValueError(f"priors: {error}") from error
    return prior


def _best(log: TrialLog) -> list[Observation]:
    """The best of the trials at the highest rung that enough of them came to, the best first."""
    factor = _FACTOR if log.halving is None else log.halving.factor
    if len(log.observations) >= factor:
        if log.objectives == 1:
            ranked = sorted(log.observations, key=lambda one: one.fitness, reverse=True)
        else:
            ranked = best_first(log.observations)
        return ranked[: len(ranked) // factor]
    judged = [*log.observations, *log.stopped]
    for rung in sorted({rung for one in judged for rung in one.rungs}, reverse=True):
        there = [one for one in judged if rung in one.rungs]
        if len(there) >= factor:
            ranked = sorted(there, key=lambda one: (-one.violation, one.rungs[rung]), reverse=True)
            return ranked[: len(ranked) // factor]
    return []


def _largest_box(observations: Sequence[Observation]) -> Observation:
    """The point of the Pareto front with the largest box between it and a point below the worst of all."""
    scores = np.array([observation.scores for observation in observations])
    low, spread = scores.min(axis=0), np.ptp(scores, axis=0)
    boxes = (np.where(spread > 0, (scores - low) / np.where(spread > 0, spread, 1.0), 0.0) + _BEYOND).prod(axis=1)
    return observations[int(np.where(pareto_front(scores), boxes, -np.inf).argmax())]
