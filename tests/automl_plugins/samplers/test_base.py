"""The contract of samplers over all that are registered, and what lies between them and studies of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage

from automl_plugins import Architecture, SearchSpace, registry
from automl_plugins.estimators.make import FunctionEstimator
from automl_plugins.samplers import (
    ArchitectureSampler,
    ControllerSampler,
    EvolutionSampler,
    PredictorSampler,
    PriorBandSampler,
    ReinforceSampler,
)
from automl_plugins.samplers.robot import RobotSampler
from automl_plugins.samplers.screen import ScreenSampler
from automl_plugins.studies.optuna_parts import sampler_factory
from automl_plugins.studies.storage import open_storage
from automl_plugins.testing import SamplerContract
from automl_plugins.testing.toy_space import ToySpace, score

Make = Callable[[SearchSpace, int], ArchitectureSampler]
EVERY: dict[str, Make] = {
    "controller": lambda space, seed: ControllerSampler(space, seed, startup=4, hidden=8),
    "evolution": lambda space, seed: EvolutionSampler(space, seed, population=6, tournament=3),
    "predictor": lambda space, seed: PredictorSampler(space, seed, startup=5, candidates=5),
    "priorband": PriorBandSampler,
    "reinforce": ReinforceSampler,
    "robot": lambda space, seed: RobotSampler(
        space, seed, [FunctionEstimator(score), FunctionEstimator(len)], pool=100
    ),
    "screen": lambda space, seed: ScreenSampler(space, seed, FunctionEstimator(len), pool=3, sampler="reinforce"),
}


class Contract(SamplerContract):
    name: str

    def sampler(self, space: SearchSpace, seed: int) -> ArchitectureSampler:
        make = EVERY[self.name] if self.name in EVERY else registry.load("samplers", self.name)
        return make(space, seed)


for _name in registry.names("samplers"):
    _label = f"Test{_name.title().replace('-', '')}"
    globals()[_label] = type(_label, (Contract,), {"name": _name, "__module__": __name__})


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
    factory = sampler_factory(name, space, context=lambda: pytest.fail("it is asked for before the first trial"))
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
