"""The base of our samplers: the trials so far are all that they know."""

from __future__ import annotations

import copy
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from automl_plugins.samplers.halving import Halving
from automl_plugins.samplers.vicinity import Parameters
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.refusal import REFERENCE
from automl_plugins.spaces.space import SearchSpace

if TYPE_CHECKING:
    from optuna.study import Study

NOTE = "automl_plugins:note"
_TRIES = 200
_MOST_REFUSED = 30
_MOST_STEPS = 1000
_MOST = 1e100
"""Values from here on count as infinite: their squares are."""


@dataclass(frozen=True)
class Observation:
    """A trial that ended with a value, or was stopped at a rung of successive halving.

    Args:
        number: of the trial.
        architecture: that was tried.
        scores: a number for each objective of the study, larger is better; of one that was stopped, at its last rung.
        violation: by which its constraints (`Trial.set_constraint`) are missed, summed; 0 where all are kept.
        note: the sampler's own, of when it proposed the trial; None where it did not propose it.
        is_reference: one of the space's references, which the study began with.
        parameters: of the trial that are no choices of the space.
        rungs: its score at each rung of successive halving that it came to, larger is better; see `Halving`.
    """

    number: int
    architecture: Architecture
    scores: tuple[float, ...]
    violation: float = 0.0
    note: Any = None
    is_reference: bool = False
    parameters: Parameters = field(default_factory=dict)
    rungs: Mapping[int, float] = field(default_factory=dict)

    @property
    def penalty(self) -> float:
        """The violation, squeezed between 0 and 1, so that one that is far off is no outlier."""
        return 1.0 if math.isinf(self.violation) else self.violation / (1.0 + self.violation)

    @property
    def fitness(self) -> tuple[float, float]:
        """Larger is better: first the constraints, then the first objective."""
        return -self.violation, self.scores[0]


@dataclass(frozen=True)
class TrialLog:
    """The trials of a study, as a sampler sees them.

    Args:
        observations: by trial number.
        settled: the number of those before the first trial that still runs; these can change no more.
        seen: every architecture that was tried, is being tried, or waits to be.
        objectives: the number that the study has.
        source: tells studies apart; the same object for the same study.
        stopped: the trials that successive halving stopped at one of its rungs, by trial number.
        halving: the rungs that the trial that is asked for will meet; None: no pruner has any.
    """

    observations: Sequence[Observation]
    settled: int
    seen: frozenset[Architecture] | set[Architecture]
    objectives: int
    source: object
    stopped: Sequence[Observation] = ()
    halving: Halving | None = None

    def has_begun(self, startup: int) -> bool:
        """True where as many trials have ended as a sampler starts with; references are at most half of these.

        Args:
            startup: how many; what is not a reference among them was drawn.
        """
        references = sum(observation.is_reference for observation in self.observations)
        return len(self.observations) - max(0, references - startup // 2) >= startup


@dataclass(frozen=True)
class Proposal:
    """An architecture to try.

    Args:
        architecture: to try next.
        note: plain JSON to find again in its `Observation`.
    """

    architecture: Architecture
    note: Any = None


class ArchitectureSampler(BaseSampler, ABC):
    """An Optuna sampler over the choices of a space, whose state is a pure function of the trials so far.

    A subclass says, in `propose`, which architecture comes next. Its only source is the log of
    trials in the storage, in the order of their numbers, and nothing else: any worker on any storage
    comes to the same state, and a kill loses nothing. Its draws are settled by the seed and by how
    many trials were asked for before. A note to itself is one attribute of the trial, written at once.

    Parameters that are no choice of the space (a learning rate) are drawn by Optuna's TPE, each by itself.

    Args:
        space: the space that the objective suggests from.
        seed: of all draws; workers on one study share it.
    """

    max_objectives = 1
    """The most objectives of a study that the sampler proposes for."""
    is_random: ClassVar[bool] = False
    """Parameters that are no choice of the space are drawn at random, too."""
    hyperband: ClassVar[bool] = False
    """Studies of ours that name no pruner have Optuna's HyperbandPruner; else they stop no trial early."""

    def __init__(self, space: SearchSpace, seed: int = 0) -> None:
        self.space = space
        self.seed = seed
        self._names = frozenset(choice.name for choice in space.whole.choices)
        self._distributions: dict[str, BaseDistribution] = {
            choice.name: CategoricalDistribution(choice.options) for choice in space.choices
        }
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._source: tuple[object, int] | None = None
        self._ended: dict[int, tuple[Architecture | None, Observation | None]] = {}
        self._proposed: dict[int, Architecture] = {}
        """Proposals whose parameters the trial has not yet, by its number: other threads must not repeat them."""

    def __getstate__(self) -> dict[str, Any]:
        forgotten = ("_lock", "_source", "_ended", "_proposed")
        return {name: value for name, value in self.__dict__.items() if name not in forgotten}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    # What a subclass says.

    @abstractmethod
    def propose(self, log: TrialLog, generator: np.random.Generator) -> Proposal:
        """The next architecture to try; nothing but the log, the generator and the arguments may matter."""

    # What Optuna asks.

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        with self._lock:
            log = self.log(study, trial)
            if log.objectives > self.max_objectives:
                raise ValueError(
                    f"{type(self).__name__} takes studies of at most {self.max_objectives} objective(s); "
                    f"this one has {log.objectives}"
                )
            proposal = self._checked(self.propose(log, self._generator(study, trial.number)))
            self._proposed[trial.number] = proposal.architecture
        # A trial that was enqueued has its parameters already.
        if proposal.note is not None and not {"fixed_params", NOTE} & trial.system_attrs.keys():
            study._storage.set_trial_system_attr(trial._trial_id, NOTE, proposal.note)
        return {name: value for name, value in proposal.architecture.items() if name in search_space}

    def _checked(self, proposal: object) -> Proposal:
        """A proposal that is whole: Optuna would draw at random what is missing, and not say so.

        Raises:
            TypeError: it is no proposal of an architecture.
            ValueError: the architecture is not one of the space.
        """
        if not isinstance(proposal, Proposal) or not isinstance(proposal.architecture, Architecture):
            kind = type(proposal.architecture if isinstance(proposal, Proposal) else proposal).__name__
            raise TypeError(f"{type(self).__name__}.propose gave a {kind}; it gives a Proposal(architecture)")
        self.space.validate(proposal.architecture)
        return proposal

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        seed = int(self._generator(study, trial.number, *param_name.encode()).integers(2**32))
        is_random = self.is_random or param_name in self._names
        sampler = RandomSampler(seed=seed) if is_random else TPESampler(seed=seed, multivariate=False)
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    # What the subclasses use.

    def log(self, study: Study, asked: FrozenTrial | None = None) -> TrialLog:
        """The trials of a study so far.

        Args:
            study: the trials'.
            asked: the trial that is asked for; where left out, the log does not say which rungs it will meet.
        """
        source = (study._storage, study._study_id)
        if self._source is None or self._source[0] is not source[0] or self._source[1] != source[1]:
            self._source, self._ended, self._proposed = source, {}, {}
        signs = [1 if direction is StudyDirection.MAXIMIZE else -1 for direction in study.directions]
        observations: list[Observation] = []
        stopped: list[Observation] = []
        seen: set[Architecture] = set()
        settled: int | None = None
        for trial in study._get_trials(deepcopy=False, use_cache=True):
            if trial.number in self._ended:
                architecture, observation = self._ended[trial.number]
            else:
                architecture = self._architecture(trial)
                observation = self._observation(study, trial, architecture, signs)
                if trial.state.is_finished():
                    self._ended[trial.number] = architecture, observation
                elif settled is None:
                    settled = len(observations)
            if architecture is not None or trial.state.is_finished():
                self._proposed.pop(trial.number, None)
            if architecture is not None:
                seen.add(architecture)
            if observation is not None:
                (observations if trial.state is TrialState.COMPLETE else stopped).append(observation)
        seen.update(self._proposed.values())
        return TrialLog(
            observations,
            settled=len(observations) if settled is None else settled,
            seen=seen,
            objectives=len(signs),
            source=self._source,
            stopped=stopped,
            halving=None if asked is None else Halving.of(study, asked),
        )

    def unseen(self, log: TrialLog, draw: Callable[[], Architecture]) -> Architecture | None:
        """Draw until there is an architecture that was not tried and that the space admits; None: many draws give none.

        Of draws that are beyond a narrowed space's limits fewer are made: their networks are counted.
        """
        refused = 0
        for _ in range(_TRIES):
            architecture = draw()
            if architecture in log.seen:
                continue
            if self.space.budget is None or self.space.admits(architecture):
                return architecture
            refused += 1
            if refused == _MOST_REFUSED:
                break
        return None

    def walk(self, log: TrialLog, start: Architecture, generator: np.random.Generator) -> Architecture:
        """Mutate until there is an architecture that was not tried, or everything seems to have been."""
        if len(log.seen) >= self.space.size:
            return start
        # Of a narrowed space nobody knows how many architectures the cap leaves.
        steps = count() if self.space is self.space.whole else range(_MOST_STEPS)
        for _ in steps:
            if start not in log.seen:
                break
            start = self.space.mutate(start, generator)
        return start

    def unseen_at_random(self, log: TrialLog, generator: np.random.Generator) -> Architecture:
        """A random architecture that was not tried, or any where everything was."""
        drawn = self.unseen(log, lambda: self.space.sample(generator))
        return drawn or self.walk(log, self.space.sample(generator), generator)

    def _architecture(self, trial: FrozenTrial) -> Architecture | None:
        # One that was cut off does not count: another trial asks for the same again.
        if "interrupted" in trial.user_attrs:
            return None
        parameters = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        try:
            return self.space.architecture({name: parameters[name] for name in self._names & parameters.keys()})
        except ValueError:  # cut off before all was drawn, or a trial over something else
            return None

    def _observation(
        self, study: Study, trial: FrozenTrial, architecture: Architecture | None, signs: Sequence[int]
    ) -> Observation | None:
        if architecture is None or trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
            return None
        halving = Halving.of(study, trial)
        judged = {} if halving is None else halving.judged(trial)
        rungs = {rung: signs[0] * value for rung, value in judged.items() if abs(value) < _MOST}
        values = trial.values if trial.state is TrialState.COMPLETE else list(judged.values())[-1:]
        if not values or not all(abs(value) < _MOST for value in values):
            return None
        beside = trial.params.keys() - self._names
        return Observation(
            trial.number,
            architecture,
            tuple(sign * value for sign, value in zip(signs, values, strict=True)),
            sum(max(0.0, value) for value in trial.constraints.values()),
            trial.system_attrs.get(NOTE),
            REFERENCE in trial.user_attrs,
            {name: (trial.distributions[name], trial.params[name]) for name in sorted(beside)},
            rungs,
        )

    def _generator(self, study: Study, number: int, *purpose: int) -> np.random.Generator:
        # A trial that is asked for in place of one whose worker died draws what that one would have drawn.
        trials = study._get_trials(deepcopy=False, use_cache=True)[:number]
        asked = number - sum("interrupted" in trial.user_attrs for trial in trials)
        return np.random.default_rng([self.seed, asked, *purpose])


def penalised(observations: Sequence[Observation]) -> np.ndarray:
    """`[num_observations, num_objectives]`: the scores, those that break a constraint below all that break none."""
    scores = np.array([observation.scores for observation in observations])
    penalties = np.array([observation.penalty for observation in observations])
    broken = penalties > 0
    if broken.any():
        spread = np.ptp(scores, axis=0)
        scores[broken] = scores.min(axis=0) - spread * (penalties[broken] / penalties.max())[:, None]
    return scores


State = TypeVar("State")


class Fold(Generic[State]):
    """A state that is built up observation by observation, remembered for those that can change no more.

    Args:
        start: makes the state before the first trial.
        step: takes one observation into the state.
    """

    def __init__(self, start: Callable[[], State], step: Callable[[State, Observation], None]) -> None:
        self._start = start
        self._step = step
        self._source: object = None

    def __call__(self, log: TrialLog) -> State:
        """The state after all observations of the log; not to be changed."""
        if self._source is not log.source:
            self._source, self._state, self._taken = log.source, self._start(), 0
        for observation in log.observations[self._taken : log.settled]:
            self._step(self._state, observation)
        self._taken = log.settled
        unsettled = log.observations[log.settled :]
        if not unsettled:
            return self._state
        state = copy.deepcopy(self._state)
        for observation in unsettled:
            self._step(state, observation)
        return state

    def __getstate__(self) -> dict[str, Any]:
        return {"_start": self._start, "_step": self._step, "_source": None}
