"""The promises of a space about its choices, and about the ways to an architecture."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, get_args

import numpy as np
import pytest
import torch

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.enumeration import covering, enumerate_space
from automl_plugins.spaces.task import Level
from automl_plugins.testing.space_suite import SpaceSuite

if TYPE_CHECKING:
    from automl_plugins.spaces.draws import Generator


class ChoiceSuite(SpaceSuite):
    """Sizes, samples, mutations, neighbours and suggestions."""

    # The space.

    def test_says_what_it_is(self) -> None:
        space = self.space()
        assert isinstance(space.name, str)
        assert space.name
        assert isinstance(space.version, int)
        assert space.levels, "a space has networks for at least one level"
        assert space.levels <= set(get_args(Level))
        assert {task.level for task in self.tasks()} == space.levels, "tasks() covers each level of the space"

    def test_size_is_the_number_of_architectures(self) -> None:
        space = self.space()
        assert type(space.size) is int
        assert space.size > 0
        if space.size <= self.enumerable:
            every = list(enumerate_space(space))
            assert space.size == len(every) == len(set(every))
            for architecture in every:
                space.validate(architecture)

    def test_survives_pickling(self) -> None:
        space = self.space()
        again = pickle.loads(pickle.dumps(space))
        assert type(again) is type(space)
        assert (again.name, again.version, again.choices) == (space.name, space.version, space.choices)
        for architecture in self._drawn(space):
            again.validate(architecture)

    def test_every_choice_can_be_made(self) -> None:
        space = self.space()
        for architecture in covering(space, np.random.default_rng(0)):
            space.validate(architecture)

    # Ways to an architecture.

    def test_samples_are_valid_and_settled_by_the_generator(self, generators: Callable[[int], Generator]) -> None:
        space = self.space()
        one, two = generators(1), generators(1)
        torch_state, numpy_state = torch.get_rng_state(), _numpy_state()
        for _ in range(self.samples):
            architecture = space.sample(one)
            space.validate(architecture)
            assert architecture == space.sample(two)
        assert torch.equal(torch_state, torch.get_rng_state()), "sample() used torch's global generator"
        assert numpy_state == _numpy_state(), "sample() used NumPy's global generator"

    def test_a_mutation_changes_one_choice_and_is_a_neighbour(self, generators: Callable[[int], Generator]) -> None:
        space = self.space()
        one, two = generators(2), generators(2)
        for architecture in self._drawn(space):
            if not any(len(choice.options) > 1 for choice in space.choices if choice.name in architecture):
                with pytest.raises(ValueError, match="second option"):
                    space.mutate(architecture, one)
                continue
            mutated = space.mutate(architecture, one)
            space.validate(mutated)
            assert mutated == space.mutate(architecture, two)
            kept = architecture.keys() & mutated.keys()
            assert len([name for name in kept if architecture[name] != mutated[name]]) == 1
            neighbours = self._neighbours(space, architecture)
            assert mutated in neighbours or len(neighbours) == self.enumerable

    def test_neighbours_are_valid_and_differ(self) -> None:
        space = self.space()
        for architecture in self._drawn(space)[:5]:
            neighbours = self._neighbours(space, architecture)
            assert len(set(neighbours)) == len(neighbours)
            assert architecture not in neighbours
            for neighbour in neighbours:
                space.validate(neighbour)

    @pytest.mark.parametrize("sampler", ["RandomSampler", "TPESampler"])
    def test_a_trial_suggests_the_active_choices_and_no_others(self, sampler: str) -> None:
        import optuna

        space = self.space()
        study = optuna.create_study(sampler=getattr(optuna.samplers, sampler)(seed=0))
        for number in range(15):  # TPE draws at random for its first ten trials
            trial = study.ask()
            architecture = space.suggest(trial)
            space.validate(architecture)
            assert trial.params == dict(architecture)
            study.tell(trial, float(number % 4))

    def test_a_fixed_or_enqueued_trial_gives_the_architecture_back(self) -> None:
        import optuna

        space = self.space()
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        for architecture in self._drawn(space):
            assert space.suggest(optuna.trial.FixedTrial(dict(architecture))) == architecture
            study.enqueue_trial(dict(architecture))
            trial = study.ask()
            assert space.suggest(trial) == architecture
            assert Architecture(space.name, space.version, study.trials[-1].params) == architecture


def _numpy_state() -> str:
    # Read, not used: this is how we see that nobody else uses it.
    return repr(np.random.get_state(legacy=False))  # noqa: NPY002
