"""The contract that every sampler of architectures keeps, as a test suite to subclass.

It brings a space of its own, and trains nothing::

    from automl_plugins.testing import SamplerContract

    class TestMySampler(SamplerContract):
        def sampler(self, space, seed):
            return MySampler(space, seed)
"""

from __future__ import annotations

import math
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from automl_plugins.samplers.base import ArchitectureSampler
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.testing.toy_space import ToySpace, all_b, score

_FAILED = (TrialState.FAIL, TrialState.PRUNED)


class SamplerContract(ABC):
    """The promises of every `ArchitectureSampler`: it is a function of the trials, and repeats none."""

    trials = 24
    """Of a short study; some more than a sampler draws at random before it begins."""

    @abstractmethod
    def sampler(self, space: SearchSpace, seed: int) -> ArchitectureSampler:
        """The sampler, equal at every call."""

    def space(self) -> ToySpace:
        """The space that is searched."""
        return ToySpace()

    # Studies.

    def study(self, seed: int = 0, storage: BaseStorage | None = None, **options: Any) -> optuna.Study:
        """A study to be maximised, with a sampler made anew."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        options.setdefault("sampler", self.sampler(self.space(), seed))
        if "directions" not in options:
            options.setdefault("direction", "maximize")
        return optuna.create_study(storage=storage, **options)

    def run(self, study: optuna.Study, trials: int, value: Callable[[Architecture], Any] = score) -> list[Architecture]:
        """Run trials, and give their architectures."""
        space = self.space()
        found = []
        for _ in range(trials):
            trial = study.ask()
            found.append(space.suggest(trial))
            study.tell(trial, value(found[-1]))
        return found

    def asked(self, study: optuna.Study) -> Architecture:
        """The next architecture, of a trial that goes on running."""
        return self.space().suggest(study.ask())

    # Results are settled.

    def test_a_search_is_settled_by_its_seed(self) -> None:
        first, again, other = (self.run(self.study(seed), self.trials) for seed in (0, 0, 1))
        assert first == again, "two equal searches asked for different architectures"
        assert first != other, "the seed makes no difference"

    def test_a_sampler_made_anew_for_every_trial_asks_for_the_same(self) -> None:
        """A study that was killed and goes on is one that was not."""
        anew = self.study()
        found = []
        for _ in range(self.trials):
            anew.sampler = self.sampler(self.space(), 0)
            found += self.run(anew, 1)
        assert found == self.run(self.study(), self.trials), "the sampler knows more than the trials tell"

    def test_a_sampler_comes_through_pickle_and_forgets_what_it_can_read_again(self) -> None:
        study = self.study()
        self.run(study, self.trials // 2)
        twin = self.study(sampler=pickle.loads(pickle.dumps(study.sampler)))
        twin.add_trials(study.get_trials())
        assert self.asked(study) == self.asked(twin)

    def test_one_sampler_serves_several_studies(self) -> None:
        sampler = self.sampler(self.space(), 0)
        self.run(self.study(sampler=sampler), self.trials)
        second = self.run(self.study(sampler=sampler), self.trials)
        assert second == self.run(self.study(), self.trials), "the study before was not forgotten"

    def test_the_trials_are_the_same_in_every_storage(self, tmp_path: Path) -> None:
        journal = JournalStorage(JournalFileBackend(str(tmp_path / "a.journal")))
        found = [self.run(self.study(storage=each), self.trials // 2) for each in (InMemoryStorage(), journal)]
        assert found[0] == found[1]

    def test_trials_that_end_late_leave_the_state_that_their_numbers_give(self) -> None:
        study = self.study()
        self.run(study, self.trials // 3)
        late = study.ask()
        architecture = self.space().suggest(late)
        self.run(study, self.trials // 4)
        study.tell(late, score(architecture))
        expected = self.study()
        expected.add_trials(study.get_trials())
        assert self.asked(study) == self.asked(expected), "the order in which trials end makes a difference"

    def test_the_trial_in_place_of_one_that_was_cut_off_draws_what_that_one_drew(self) -> None:
        whole = self.run(self.study(), 10)
        study = self.study()
        assert self.run(study, 7) == whole[:7]
        cut_off = study.ask()
        cut_off.suggest_categorical("depth", self.space().choices[0].options)
        cut_off.set_user_attr("interrupted", True)
        study.tell(cut_off, state=TrialState.FAIL)
        assert self.run(study, 3) == whole[7:]

    def test_so_it_does_where_that_one_had_drawn_everything(self) -> None:
        whole = self.run(self.study(), 8)
        study = self.study()
        assert self.run(study, 7) == whole[:7]
        cut_off = study.ask()
        assert self.space().suggest(cut_off) == whole[7]
        cut_off.set_user_attr("interrupted", True)
        study.tell(cut_off, state=TrialState.FAIL)
        assert self.run(study, 1) == whole[7:]

    # Nothing is tried twice, everything is tried.

    def test_conditional_choices_are_there_where_they_are_active(self) -> None:
        found = [architecture for seed in range(3) for architecture in self.run(self.study(seed), 8)]
        for architecture in found:
            self.space().validate(architecture)
        assert len({len(architecture) for architecture in found}) == 2, "choices that depend on others were never open"

    def test_nothing_is_tried_twice_until_everything_was(self) -> None:
        small = ToySpace(layers=2, operations="ab")
        study = self.study(sampler=self.sampler(small, 0))
        found = []
        for _ in range(small.size + 2):
            trial = study.ask()
            found.append(small.suggest(trial))
            study.tell(trial, score(found[-1]))
        assert len(set(found[: small.size])) == small.size

    def test_what_other_workers_run_is_not_asked_for_again(self) -> None:
        study = self.study()
        self.run(study, self.trials // 2)
        pending = [self.asked(study) for _ in range(self.trials // 2)]
        assert len(set(pending)) == len(pending)

    def test_trials_that_are_asked_for_at_once_are_different_ones(self) -> None:
        study = self.study()
        asked = [study.ask() for _ in range(self.trials)]
        assert len({self.space().suggest(trial) for trial in asked}) == self.trials

    def test_threads_share_one_sampler(self) -> None:
        study = self.study()
        study.optimize(lambda trial: score(self.space().suggest(trial)), n_trials=self.trials, n_jobs=3)
        assert len({tuple(sorted(trial.params.items())) for trial in study.trials}) == self.trials

    # Trials of others, and trials without a value.

    def test_failed_and_pruned_trials_teach_nothing_and_are_not_repeated(self) -> None:
        study = self.study()
        found = []
        for number in range(self.trials):
            trial = study.ask()
            found.append(self.space().suggest(trial))
            if number % 3 == 0:
                study.tell(trial, state=_FAILED[number % 2])
            else:
                study.tell(trial, score(found[-1]))
        assert len(set(found)) == self.trials
        told = [number for number in range(self.trials) if number % 3]
        assert [one.number for one in self.log(study).observations] == told

    def log(self, study: optuna.Study) -> Any:
        """The trials as the sampler sees them."""
        sampler = study.sampler
        assert isinstance(sampler, ArchitectureSampler)
        return sampler.log(study)

    @pytest.mark.parametrize("direction", ["maximize", "minimize"])
    def test_values_that_are_no_numbers_teach_nothing(self, direction: str) -> None:
        study = self.study(direction=direction)
        for value in (math.inf, -math.inf, 1e200, -1e200):
            trial = study.ask()
            self.space().suggest(trial)
            study.tell(trial, value)
        assert self.log(study).observations == []
        self.run(study, self.trials)

    def test_an_enqueued_trial_is_tried_as_it_is_and_learned_from(self) -> None:
        study = self.study()
        wanted = all_b(self.space(), 2)
        study.enqueue_trial(dict(wanted))
        assert self.run(study, self.trials // 2)[0] == wanted
        first = self.log(study).observations[0]
        assert (first.architecture, first.note) == (wanted, None)

    def test_trials_of_another_sampler_and_of_another_space_are_no_hindrance(self) -> None:
        study = self.study(sampler=optuna.samplers.RandomSampler(seed=0))
        known = self.run(study, self.trials)
        foreign = study.ask()
        foreign.suggest_float("learning_rate", 0, 1)
        study.tell(foreign, 0.0)
        study.sampler = self.sampler(self.space(), 0)
        assert len(self.log(study).observations) == self.trials
        assert not set(self.run(study, 5)) & set(known)

    def test_parameters_outside_the_space_are_drawn_too(self) -> None:
        def rates(seed: int, is_anew: bool = False) -> list[float]:
            study = self.study(seed)
            found = []
            for _ in range(self.trials // 2):
                if is_anew:
                    study.sampler = self.sampler(self.space(), seed)
                trial = study.ask()
                found.append(trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True))
                study.tell(trial, score(self.space().suggest(trial)))
            return found

        first = rates(0)
        assert first == rates(0) != rates(1)
        assert first == rates(0, is_anew=True), "the sampler knows more of them than the trials tell"
        assert len(set(first)) == len(first)

    # Optuna around it.

    def test_a_smaller_value_may_be_the_better_one(self) -> None:
        up, down = self.study(), self.study(direction="minimize")
        assert self.run(up, self.trials) == self.run(down, self.trials, lambda architecture: -score(architecture))

    @pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
    def test_some_choices_can_be_fixed_by_optunas_own_wrapper(self) -> None:
        sampler = optuna.samplers.PartialFixedSampler({"depth": 2}, self.sampler(self.space(), 0))
        assert {architecture["depth"] for architecture in self.run(self.study(sampler=sampler), self.trials)} == {2}

    def test_hyperband_s_brackets_are_no_hindrance(self) -> None:
        study = self.study(pruner=optuna.pruners.HyperbandPruner(max_resource=9), study_name="brackets")

        def objective(trial: optuna.Trial) -> float:
            architecture = self.space().suggest(trial)
            for step in range(9):
                trial.report(score(architecture) * step, step)
                if trial.should_prune():
                    raise optuna.TrialPruned
            return score(architecture)

        study.optimize(objective, n_trials=self.trials)
        assert len({tuple(sorted(trial.params.items())) for trial in study.trials}) == self.trials

    def test_constraints_are_no_hindrance(self) -> None:
        study = self.study()
        study.enqueue_trial({"layer0.operation": "a"})
        for _ in range(self.trials):
            trial = study.ask()
            architecture = self.space().suggest(trial)
            trial.set_constraint("figure", np.inf if architecture["layer0.operation"] == "a" else -1.0)
            study.tell(trial, score(architecture))
        observations = self.log(study).observations
        assert {one.violation for one in observations} == {0.0, np.inf}
        best = max(observations, key=lambda one: one.fitness)
        assert best.architecture["layer0.operation"] != "a", "what breaks a constraint passed for the best"
        self.asked(study)

    def test_several_objectives_are_searched_or_refused(self) -> None:
        study = self.study(directions=["maximize", "minimize"])
        sampler = study.sampler
        assert isinstance(sampler, ArchitectureSampler)
        if sampler.max_objectives == 1:
            with pytest.raises(ValueError, match=r"at most 1 objective\(s\); this one has 2"):
                self.asked(study)
        else:
            found = self.run(study, self.trials, lambda architecture: (score(architecture), float(len(architecture))))
            assert len(set(found)) == self.trials
