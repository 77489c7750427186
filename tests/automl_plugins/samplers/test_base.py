"""What holds for every sampler of ours."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import TrialState
from toy_space import ToySpace, all_b, score

from automl_plugins import Architecture, SearchSpace
from automl_plugins.samplers import (
    ArchitectureSampler,
    ControllerSampler,
    EvolutionSampler,
    PredictorSampler,
    ReinforceSampler,
)
from automl_plugins.studies.optuna_parts import sampler_factory
from automl_plugins.studies.storage import open_storage

Make = Callable[[SearchSpace, int], ArchitectureSampler]
EVERY: dict[str, Make] = {
    "controller": lambda space, seed: ControllerSampler(space, seed, startup=4, hidden=8),
    "evolution": lambda space, seed: EvolutionSampler(space, seed, population=6, tournament=3),
    "predictor": lambda space, seed: PredictorSampler(space, seed, startup=5, candidates=5),
    "reinforce": ReinforceSampler,
}


@pytest.fixture(params=EVERY.values(), ids=EVERY)
def make(request: pytest.FixtureRequest) -> Make:
    return request.param


def study_with(sampler: ArchitectureSampler, storage: BaseStorage | None = None, **given: object) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    direction = {} if "directions" in given else {"direction": "maximize"}
    return optuna.create_study(sampler=sampler, storage=storage, **direction, **given)


def run(study: optuna.Study, space: SearchSpace, trials: int) -> list[Architecture]:
    found = []
    for _ in range(trials):
        trial = study.ask()
        found.append(space.suggest(trial))
        study.tell(trial, score(found[-1]))
    return found


def asked(study: optuna.Study, space: SearchSpace) -> Architecture:
    return space.suggest(study.ask())


def test_a_search_is_settled_by_its_seed(make: Make, space: ToySpace) -> None:
    first, second, other = (run(study_with(make(space, seed)), space, 25) for seed in (0, 0, 1))
    assert first == second != other


def test_a_sampler_made_anew_for_every_trial_asks_for_the_same(make: Make, space: ToySpace) -> None:
    kept = study_with(make(space, 0))
    anew = study_with(make(space, 0))
    found = []
    for _ in range(25):
        anew.sampler = make(space, 0)
        found += run(anew, space, 1)
    assert found == run(kept, space, 25)


def test_a_sampler_comes_through_pickle_and_forgets_what_it_can_read_again(make: Make, space: ToySpace) -> None:
    study = study_with(make(space, 0))
    run(study, space, 12)
    copied = pickle.loads(pickle.dumps(study.sampler))
    twin = optuna.create_study(sampler=copied, direction="maximize")
    twin.add_trials(study.get_trials())
    assert asked(study, space) == asked(twin, space)


def test_one_sampler_serves_several_studies(make: Make, space: ToySpace) -> None:
    sampler = make(space, 0)
    run(study_with(sampler), space, 20)
    assert run(study_with(sampler), space, 20) == run(study_with(make(space, 0)), space, 20)


def test_nothing_is_tried_twice_until_everything_was(make: Make) -> None:
    from perceptron_space.space import PerceptronSpace

    small = PerceptronSpace(widest=4)
    assert small.size == 12
    found = run(study_with(make(small, 0)), small, 14)
    assert len(set(found[:12])) == 12


def test_what_other_workers_run_is_not_asked_for_again(make: Make, space: ToySpace) -> None:
    study = study_with(make(space, 0))
    run(study, space, 12)
    pending = [asked(study, space) for _ in range(15)]
    assert len(set(pending)) == 15


def test_trials_that_end_late_leave_the_state_that_their_numbers_give(make: Make, space: ToySpace) -> None:
    study = study_with(make(space, 0))
    run(study, space, 8)
    late = study.ask()
    architecture = space.suggest(late)
    run(study, space, 5)
    study.tell(late, score(architecture))
    expected = optuna.create_study(sampler=make(space, 0), direction="maximize")
    expected.add_trials(study.get_trials())
    assert asked(study, space) == asked(expected, space)


def test_failed_and_pruned_trials_teach_nothing_and_are_not_repeated(make: Make, space: ToySpace) -> None:
    study = study_with(make(space, 0))
    found = []
    for number in range(24):
        trial = study.ask()
        found.append(space.suggest(trial))
        if number % 3 == 0:
            study.tell(trial, state=(TrialState.FAIL, TrialState.PRUNED)[number % 2])
        else:
            study.tell(trial, score(found[-1]))
    assert len(set(found)) == 24
    log = study.sampler.log(study)
    assert [observation.number % 3 for observation in log.observations] == [1, 2] * 8


def test_the_trial_in_place_of_one_that_was_cut_off_draws_what_that_one_drew(make: Make, space: ToySpace) -> None:
    whole = run(study_with(make(space, 0)), space, 10)
    study = study_with(make(space, 0))
    assert run(study, space, 7) == whole[:7]
    cut_off = study.ask()
    cut_off.suggest_categorical("depth", (2, 3))
    cut_off.set_user_attr("interrupted", True)
    study.tell(cut_off, state=TrialState.FAIL)
    assert run(study, space, 3) == whole[7:]


def test_an_enqueued_trial_is_tried_as_it_is_and_learned_from(make: Make, space: ToySpace) -> None:
    study = study_with(make(space, 0))
    wanted = all_b(space, 2)
    study.enqueue_trial(dict(wanted))
    assert run(study, space, 12)[0] == wanted
    assert study.sampler.log(study).observations[0].note is None


def test_parameters_outside_the_space_are_drawn_too(make: Make, space: ToySpace) -> None:
    def rates(seed: int) -> list[float]:
        study = study_with(make(space, seed))
        found = []
        for _ in range(12):
            trial = study.ask()
            found.append(trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True))
            study.tell(trial, score(space.suggest(trial)))
        return found

    assert rates(0) == rates(0) != rates(1)
    assert len(set(rates(0))) == 12
    assert all(1e-4 <= rate <= 1e-1 for rate in rates(0))


def test_a_smaller_score_may_be_the_better_one(make: Make, space: ToySpace) -> None:
    up = study_with(make(space, 0))
    down = optuna.create_study(sampler=make(space, 0), direction="minimize")
    for _ in range(25):
        for study, sign in ((up, 1), (down, -1)):
            trial = study.ask()
            study.tell(trial, sign * score(space.suggest(trial)))
    assert [trial.params for trial in up.trials] == [trial.params for trial in down.trials]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_some_choices_can_be_fixed_by_optunas_own_wrapper(make: Make, space: ToySpace) -> None:
    sampler = optuna.samplers.PartialFixedSampler({"depth": 2}, make(space, 0))
    assert {architecture["depth"] for architecture in run(study_with(sampler), space, 15)} == {2}


def test_hyperband_s_brackets_are_no_hindrance(make: Make, space: ToySpace) -> None:
    study = study_with(make(space, 0), pruner=optuna.pruners.HyperbandPruner(max_resource=9), study_name="brackets")

    def objective(trial: optuna.Trial) -> float:
        architecture = space.suggest(trial)
        for step in range(9):
            trial.report(score(architecture) * step, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return score(architecture)

    study.optimize(objective, n_trials=20)
    assert len({tuple(sorted(trial.params.items())) for trial in study.trials}) == 20


def test_threads_share_one_sampler(make: Make, space: ToySpace) -> None:
    study = study_with(make(space, 0))
    study.optimize(lambda trial: score(space.suggest(trial)), n_trials=20, n_jobs=3)
    assert len({tuple(sorted(trial.params.items())) for trial in study.trials}) == 20


def test_constraints_come_before_scores(make: Make, space: ToySpace) -> None:
    def objective(trial: optuna.Trial) -> float:
        architecture = space.suggest(trial)
        trial.set_constraint("width", sum(value == 2 for value in architecture.values()) - 1.0)
        return score(architecture)

    study = study_with(make(space, 0))
    study.optimize(objective, n_trials=10)
    log = study.sampler.log(study)
    widths = [sum(value == 2 for value in one.architecture.values()) for one in log.observations]
    # The depth may be 2 as well, which counts here as a width would.
    assert [one.violation for one in log.observations] == [max(0.0, width - 1.0) for width in widths]
    broken = [one for one in log.observations if one.violation > 0]
    kept = [one for one in log.observations if one.violation == 0]
    assert max(one.fitness for one in broken) < min(one.fitness for one in kept)


@pytest.mark.parametrize("make_one", [EVERY["controller"], EVERY["reinforce"]], ids=["controller", "reinforce"])
def test_several_objectives_are_refused_where_there_is_no_meaning_for_them(make_one: Make, space: ToySpace) -> None:
    study = study_with(make_one(space, 0), directions=["maximize", "minimize"])
    with pytest.raises(ValueError, match=r"at most 1 objective\(s\); this one has 2"):
        asked(study, space)


@pytest.mark.parametrize("make_one", [EVERY["evolution"], EVERY["predictor"]], ids=["evolution", "predictor"])
def test_both_ends_of_a_front_are_found(make_one: Make, space: ToySpace) -> None:
    study = study_with(make_one(space, 0), directions=["maximize", "minimize"])

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        architecture = space.suggest(trial)
        return score(architecture), float(len(architecture))

    study.optimize(objective, n_trials=60)
    assert {(round(trial.values[0], 1), trial.values[1]) for trial in study.best_trials} == {(2.4, 5.0), (3.6, 7.0)}


@pytest.mark.parametrize("name", EVERY)
def test_a_study_of_ours_makes_a_registered_sampler_once_and_gives_it_the_space(name: str, space: ToySpace) -> None:
    factory = sampler_factory(name, space)
    sampler = factory(3, 0)
    assert isinstance(sampler, ArchitectureSampler)
    assert sampler.space is space
    assert sampler.seed == 3
    assert factory(3, 7) is sampler
    assert factory(4, 0) is not sampler


def test_the_log_is_the_same_from_every_storage(make: Make, space: ToySpace, tmp_path: Path) -> None:
    storages = [InMemoryStorage(), *map(open_storage, (str(tmp_path / "a.journal"), f"sqlite:///{tmp_path}/a.db"))]
    studies = [study_with(make(space, 0), storage) for storage in storages]
    assert len({tuple(run(study, space, 14)) for study in studies}) == 1
    logs = [make(space, 0).log(study) for study in studies]
    assert all(list(log.observations) == list(logs[0].observations) for log in logs)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_scores_that_are_not_finite_are_left_out(make: Make, space: ToySpace, direction: str) -> None:
    study = optuna.create_study(sampler=make(space, 0), direction=direction)
    for value in (float("inf"), float("-inf"), 1e200, -1e200):
        trial = study.ask()
        space.suggest(trial)
        study.tell(trial, value)
    for state in (TrialState.FAIL, TrialState.PRUNED):
        trial = study.ask()
        space.suggest(trial)
        study.tell(trial, state=state)
    assert study.sampler.log(study).observations == []
    assert np.isfinite([score(architecture) for architecture in run(study, space, 12)]).all()


def test_a_constraint_that_is_missed_by_infinity_is_no_outlier(make: Make, space: ToySpace) -> None:
    study = study_with(make(space, 0))
    for _ in range(30):
        trial = study.ask()
        architecture = space.suggest(trial)
        trial.set_constraint("figure", np.inf if architecture["layer0.operation"] == "a" else -1.0)
        study.tell(trial, score(architecture))
    observations = study.sampler.log(study).observations
    assert {one.violation for one in observations} == {0.0, np.inf}
    assert max(observations, key=lambda one: one.fitness).architecture["layer0.operation"] != "a"
    assert space.suggest(study.ask()) is not None
