"""The candidates of an arm's trials: architectures of the space, or hand-made networks, each with training settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from automl_plugins.objectives.contender import Contender
from automl_plugins.spaces.refusal import REFERENCE, prolong_startup
from automl_plugins.studies.tuning import Tuning
from automl_plugins.system.to_be_loaded import to_be_loaded
from automl_plugins.training.fit import seeded
from automl_plugins.training.project import Project

PATIENCE = 20
"""Proposals in a row that are refused before the space itself draws the next one, within its limits."""


class Candidates(Protocol):
    """The set that the trials of an arm choose from."""

    def propose(self, study: optuna.Study, trials: Sequence[FrozenTrial], seed: Sequence[int]) -> bool:
        """Enqueue what comes next, where the sampler is not to be asked for it; False: nothing is left.

        Args:
            study: of the arm, with its sampler; no trial of it waits.
            trials: all that it has.
            seed: of a draw.
        """

    def suggest(self, trial: optuna.Trial) -> Contender:
        """The contender that a trial asks for.

        Raises:
            optuna.TrialPruned: it is refused.
        """

    def choice(self, trial: optuna.Trial | FrozenTrial) -> dict[str, Any]:
        """The values that make a trial's contender: equal ones are trained once."""

    def count(self, contender: Contender) -> int | None:
        """The trainable parameters of a contender's network; None where it cannot be built."""


@dataclass(frozen=True)
class Architectures:
    """Architectures of a project's space, narrowed to its task and limits.

    Args:
        project: what is trained on what.
        tuning: the settings of the trainings.
    """

    project: Project
    tuning: Tuning

    def propose(self, study: optuna.Study, trials: Sequence[FrozenTrial], seed: Sequence[int]) -> bool:
        latest = trials[-PATIENCE:]
        if len(latest) == PATIENCE and all("refused" in trial.user_attrs for trial in latest):
            drawn = self.project.narrowed.sample(np.random.default_rng(seed))
            study.enqueue_trial(dict(drawn), {"drawn": f"within the limits, after {PATIENCE} refused proposals"})
        return True

    def suggest(self, trial: optuna.Trial) -> Contender:
        architecture = self.project.narrowed.suggest(trial)
        return Contender("", architecture, settings=self.tuning.suggest(trial))

    def choice(self, trial: optuna.Trial | FrozenTrial) -> dict[str, Any]:
        return trial.params

    def count(self, contender: Contender) -> int | None:
        if contender.architecture is None:
            return None
        return self.project.space.num_parameters(contender.architecture, self.project.task)


@dataclass(frozen=True)
class HandMade:
    """Hand-made networks. The sampler chooses the network and its settings together.

    A trial's network is the attribute `reference`, and no parameter of the trial: options of a parameter of Optuna's
    cannot change, and networks may join a study that has begun. So the sampler is asked in a study in memory, of the
    trials of the networks that there are, whose parameter `reference` has these as options.

    Args:
        project: what is trained on what.
        references: the networks.
        tuning: the settings of the trainings.
    """

    project: Project
    references: Sequence[Contender]
    tuning: Tuning

    @property
    def _by_name(self) -> dict[str, Contender]:
        return {str(contender.reference): contender for contender in self.references}

    def propose(self, study: optuna.Study, trials: Sequence[FrozenTrial], seed: Sequence[int]) -> bool:
        names = self._left(trials)
        if not names or not self.tuning.distributions:
            return False
        ended = [trial for trial in trials if trial.user_attrs.get(REFERENCE) in names and _tells(trial)]
        first = {trial.user_attrs[REFERENCE]: trial.number for trial in reversed(ended)}
        distributions = {
            REFERENCE: optuna.distributions.CategoricalDistribution(names),
            **self.tuning.distributions,
        }
        with _in_memory(study, study.sampler) as memory:
            for trial in ended:
                is_first = trial.number == first[trial.user_attrs[REFERENCE]]
                memory.add_trial(_with_reference(trial, distributions, is_first))
            prolong_startup(memory)
            asked = memory.ask()
            name = asked.suggest_categorical(REFERENCE, names)
            study.enqueue_trial(self.tuning.suggest(asked), {REFERENCE: name})
        return True

    def _left(self, trials: Sequence[FrozenTrial]) -> list[str]:
        """The networks that have trials, but for those whose trials have all failed."""
        kept = [trial for trial in trials if "interrupted" not in trial.user_attrs]
        names = []
        for name in self._by_name:
            own = [trial for trial in kept if trial.user_attrs.get(REFERENCE) == name]
            if not all("failure" in trial.user_attrs for trial in own):
                names.append(name)
        return names

    def suggest(self, trial: optuna.Trial) -> Contender:
        contender = self._by_name.get(trial.user_attrs[REFERENCE])
        if contender is None:
            raise optuna.TrialPruned("this network is no reference of the study any more")
        return replace(contender, settings=self.tuning.suggest(trial))

    def choice(self, trial: optuna.Trial | FrozenTrial) -> dict[str, Any]:
        return {REFERENCE: trial.user_attrs.get(REFERENCE), **trial.params}

    def count(self, contender: Contender) -> int | None:
        project = self.project
        try:
            with seeded(project.seed), to_be_loaded():
                network = contender.network(project.space, project.task, project.data)
        except Exception:  # noqa: BLE001 - a user's network; its training fails in the same way, and says so
            return None
        return sum(each.numel() for each in network.parameters() if each.requires_grad)


def _tells(trial: FrozenTrial) -> bool:
    """True where a sampler learns from a trial."""
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) and "refused" not in trial.user_attrs


@contextmanager
def _in_memory(study: optuna.Study, sampler: BaseSampler) -> Iterator[optuna.Study]:
    """A study in memory with another one's directions, made without a word."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield optuna.create_study(directions=study.directions, sampler=sampler)
    finally:
        optuna.logging.set_verbosity(verbosity)


def _with_reference(trial: FrozenTrial, distributions: Mapping[str, Any], is_first: bool) -> FrozenTrial:
    """A trial that has ended, with its network as a parameter; the first of a network was not drawn."""
    return optuna.trial.create_trial(
        state=trial.state,
        values=trial.values,
        params={REFERENCE: trial.user_attrs[REFERENCE], **trial.params},
        distributions=dict(distributions),
        user_attrs={REFERENCE: trial.user_attrs[REFERENCE]} if is_first else {},
        system_attrs={name: note for name, note in trial.system_attrs.items() if name.startswith("constraints")},
        intermediate_values=trial.intermediate_values,
    )
