"""Training settings are searched along with the architecture, told with it, and used wherever it is trained again."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import pytorch_lightning as pl
from perceptron_space.data import WavesData
from perceptron_space.module import PixelRegression
from perceptron_space.space import PerceptronSpace
from torch import nn
from torch.utils.data import DataLoader

from automl_plugins import Study, Task, load_result
from automl_plugins.errors import StudyError
from automl_plugins.report.summary import Summary
from automl_plugins.studies.tuning import make_tuning
from gnn_space import AGNNSpace

MakeStudy = Callable[..., Study]
RATES = {"low": 1e-4, "high": 1e-1, "log": True}
TUNE: dict[str, Any] = {"module.learning_rate": RATES, "data.batch_size": [4, 8]}


class Watched(PixelRegression):
    """Tells what each real training was done with: whether it is a trial, the seed aside, and the settings."""

    trained: list[tuple[float, int, bool]] = []  # noqa: RUF012 - tests read it

    def on_fit_start(self) -> None:
        if not self.trainer.fast_dev_run:
            batch_size = self.trainer.datamodule.batch_size
            self.trained.append((self.learning_rate, batch_size, self.trainer.max_epochs == 1))


@pytest.fixture(autouse=True)
def _nothing_trained() -> Iterator[None]:
    Watched.trained.clear()
    yield
    Watched.trained.clear()


def tuned(trial: optuna.trial.FrozenTrial) -> tuple[float, int]:
    return trial.params["module.learning_rate"], trial.params["data.batch_size"]


# A study.


def test_settings_are_parameters_of_the_trials_and_the_winner_is_trained_with_its_own(
    make_study: MakeStudy, tmp_path: Path
) -> None:
    study = make_study(module=Watched, tune=TUNE, trials=4, trial_epochs=1, finalists=2, seeds=2)
    summary = study.run()
    trials = study.arm_trials("search")
    assert [tuned(trial) for trial in trials] == [each[:2] for each in Watched.trained if each[2]]
    assert all(1e-4 <= rate <= 1e-1 and size in (4, 8) for rate, size in map(tuned, trials))
    assert len(set(map(tuned, trials))) == 4
    best = min(trials, key=lambda trial: trial.value)
    finals = [each[:2] for each in Watched.trained if not each[2]]
    row = summary.rows[0]
    winner = next(trial for trial in trials if trial.user_attrs["settings"] == row.settings)
    assert finals.count(tuned(winner)) == 4, "once a seed, on those that choose and those that are shown"
    assert winner is best or finals.count(tuned(best)) == 2
    # Shown, and kept.
    rate, size = tuned(winner)
    assert f"search was trained with module.learning_rate={rate:.3g}, data.batch_size={size}" in summary.lines()
    assert Summary.from_json(study.folder.summary.read_text()) == summary
    lines = csv.DictReader(study.folder.trials.read_text().splitlines())
    told = [(float(line["module.learning_rate"]), int(line["data.batch_size"])) for line in lines]
    assert told == list(map(tuned, trials))
    assert json.loads(study.folder.settings.read_text()) == row.settings
    result = load_result(study.folder.path, PerceptronSpace())
    assert result.settings == row.settings
    assert result.scores["val_loss"] == row.validation_mean
    # Another `tune` is another study; the same one goes on.
    for other, named in (
        ({**TUNE, "data.batch_size": [4]}, "tune.data.batch_size=[4, 8], this one has [4]"),
        (None, "tune"),
        (
            {**TUNE, "module.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}},
            "tune.module.learning_rate.high=0.1",
        ),
    ):
        with pytest.raises(StudyError, match="give this one another folder") as told:
            make_study(module=Watched, tune=other, trial_epochs=1).prepare()
        assert f"begun with {named}" in str(told.value)
    again = make_study(module=Watched, tune=TUNE, trials=4, trial_epochs=1, finalists=2, seeds=2)
    again.prepare()
    assert again.finals.winner.contender.settings == row.settings


def test_equal_architectures_with_other_settings_are_other_contenders(make_study: MakeStudy) -> None:
    space = PerceptronSpace(widest=2)
    study = make_study(space=space, tune=TUNE, trials=8, finalists=8, sampler="RandomSampler")
    study.run()
    contenders = study.finals.finalists("search")
    architectures = {contender.architecture for contender in contenders}
    assert len(contenders) == len({contender.key for contender in contenders}) == 8 > len(architectures)
    for contender in contenders:
        kept = json.loads((study.folder.contender(contender.key) / "settings.json").read_text())
        assert kept == contender.settings


def test_a_sampler_of_architectures_carries_settings(make_study: MakeStudy) -> None:
    sampler = {"class_path": "evolution", "init_args": {"population": 2, "tournament": 1}}
    study = make_study(space=PerceptronSpace(widest=4), sampler=sampler, tune=TUNE, trials=4)
    study.run()
    assert len(set(map(tuned, study.arm_trials("search")))) == 4


def test_a_study_that_was_killed_asks_for_the_same_settings_again(make_study: MakeStudy, tmp_path: Path) -> None:
    whole = make_study(tune=TUNE, trials=4, folder=tmp_path / "whole")
    whole.run()
    half = make_study(tune=TUNE, trials=2, folder=tmp_path / "half")
    half.run()
    rest = make_study(tune=TUNE, trials=4, folder=tmp_path / "half")
    rest.run()
    assert [t.params for t in rest.arm_trials("search")] == [t.params for t in whole.arm_trials("search")]
    assert [t.value for t in rest.arm_trials("search")] == [t.value for t in whole.arm_trials("search")]


# What is refused before anything is trained.


@pytest.mark.parametrize(
    ("tune", "told"),
    [
        ([], "tune is a mapping of settings"),
        ({"learning_rate": [1]}, "tune.learning_rate is no setting"),
        ({"trainer.max_epochs": [1]}, "tune.trainer.max_epochs is no setting"),
        ({"module": {"learning_rate": [1]}}, "tune.module is no setting"),
        (
            {"module.learning_rat": [1]},
            "tune.module.learning_rat: the module takes no such argument; did you mean 'learning_rate'",
        ),
        ({"module.network": [1]}, "tune.module.network: the module takes no such argument"),
        ({"data.batchsize": [1]}, "tune.data.batchsize: WavesData takes no such argument; did you mean 'batch_size'"),
        ({"data.batch_size": []}, r"tune.data.batch_size=\[\]: there is no value"),
        ({"data.batch_size": 4}, "tune.data.batch_size is a list of values, or {low: .*; got 4"),
        ({"data.batch_size": "48"}, "tune.data.batch_size is a list of values"),
        ({"data.batch_size": [4, 8, 4]}, "tune.data.batch_size has 4 twice"),
        ({"data.batch_size": [[4], [8]]}, r"got \[4\]"),
        ({"data.batch_size": [math.nan]}, "finite numbers; got nan"),
        ({"module.learning_rate": {"low": 1.0}}, "tune.module.learning_rate: high is missing"),
        ({"module.learning_rate": {"low": 1.0, "high": 10**400}}, "module.learning_rate.high is a finite number"),
        ({"data.batch_size": {"low": 1, "high": 10**30}}, "tune.data.batch_size: whole numbers are at most 9,0"),
        ({"module.learning_rate": {"low": 1, "high": 1}}, "low=1 is not below high=1"),
        ({"module.learning_rate": {"low": 2, "high": 1}}, "low=2 is not below high=1"),
        ({"module.learning_rate": {"low": 0.0, "high": 1, "log": True}}, "with log, low is greater than 0; got 0.0"),
        ({"module.learning_rate": {"low": "a", "high": 1}}, "low is a finite number; got 'a'"),
        ({"module.learning_rate": {"low": math.nan, "high": 1}}, "low is a finite number; got nan"),
        ({"module.learning_rate": {"low": 1, "high": math.inf}}, "high is a finite number; got inf"),
        ({"module.learning_rate": {"low": 1, "high": 2, "log": "yes"}}, "log is true or false; got 'yes'"),
        ({"module.learning_rate": {"low": 1, "high": 2, "steps": 3}}, "learning_rate.steps is not valid"),
    ],
)
def test_what_is_no_tuning_is_refused_at_once(tune: Any, told: str, make_study: MakeStudy) -> None:
    with pytest.raises(ValueError, match=told) as refusal:
        make_study(tune=tune)
    assert "\n" not in str(refusal.value)


def test_scalars_of_numpy_are_the_numbers_that_they_are() -> None:
    tune = {"module.rate": list(np.linspace(0.25, 0.5, 2)), "data.size": {"low": np.int64(2), "high": np.int64(4)}}
    described = make_tuning(tune, PerceptronSpace()).described
    assert described == {"module.rate": [0.25, 0.5], "data.size": {"low": 2, "high": 4, "log": False}}
    assert [type(value) for value in described["module.rate"]] == [float, float]
    assert type(described["data.size"]["low"]) is int


def test_a_choice_of_the_space_is_no_setting() -> None:
    space = PerceptronSpace()
    space.choices[0].__dict__["name"] = "module.depth"
    with pytest.raises(ValueError, match="has a choice of that name"):
        make_tuning({"module.depth": [1]}, space)


@pytest.mark.parametrize(
    ("tune", "told"),
    [
        ({"module.learning_rate": [1e-2, "fast"]}, "tune.module.learning_rate: 'fast' is refused .*TypeError"),
        (
            {"data.images": [32, 64]},
            "tune.data.images changes the data that trials are judged by.*8 validation samples",
        ),
        ({"data.seed": [0, 1]}, "tune.data.seed changes the data that trials are judged by"),
        ({"data.channels": [3, 4]}, "tune.data.channels changes the task from"),
        ({"data.batch_size": [4, -4]}, "tune.data.batch_size: -4 is refused .*ValueError"),
    ],
)
def test_what_the_module_or_the_data_refuse_or_what_changes_the_judgement_is_said_before_a_training(
    tune: dict[str, Any], told: str, make_study: MakeStudy
) -> None:
    class Picky(Watched):
        def __init__(self, network: nn.Module, task: Task, learning_rate: float = 1e-2) -> None:
            super().__init__(network, task, learning_rate / 1)

    study = make_study(module=Picky, tune=tune, data=Channels())
    with pytest.raises(StudyError, match=told):
        study.prepare()
    assert not Watched.trained
    assert not study.folder.path.exists()


class Channels(WavesData):
    """Waves with a number of channels that the task is of."""

    def __init__(self, images: int = 32, batch_size: int = 8, seed: int = 0, channels: int = 3) -> None:
        super().__init__(images, batch_size, seed)
        self.channels = channels

    @property
    def task(self) -> Task:
        return Task("pixel", "regression", in_channels=self.channels, out_channels=1)


def test_names_are_known_of_the_registered_modules_before_the_data_are_read(tmp_path: Path) -> None:
    make = partial(Study, AGNNSpace(layers=1), WavesData(), tmp_path, trainer={"max_epochs": 1})
    make(tune={"module.weight_decay": [0.0]})
    with pytest.raises(
        ValueError, match=r"module.weightdecay: the module takes no such argument; did you mean 'weight_d"
    ):
        make(tune={"module.weightdecay": [0.0]})


# Datamodules.


class Saved(WavesData):
    """One that keeps its arguments as hyperparameters alone."""

    def __init__(self, size: int = 8, **others: Any) -> None:
        super().__init__(batch_size=size, **others)
        self.save_hyperparameters()


class Forgetful(WavesData):
    """One that keeps its batch size and forgets another argument."""

    def __init__(self, batch_size: int = 8, forgotten: int = 0) -> None:
        super().__init__(32 + 4 * forgotten, batch_size)


class Deaf(Forgetful):
    """One whose loaders do not heed the attribute."""

    def _loader(self, part: int) -> DataLoader[Any]:
        return DataLoader(self.parts[part], batch_size=8)


def test_data_are_made_anew_of_their_hyperparameters_or_given_another_batch_size(make_study: MakeStudy) -> None:
    for data, name in ((Saved(seed=1), "data.size"), (Forgetful(forgotten=8), "data.batch_size")):
        study = make_study(data=data, tune={name: [2, 4]})
        study.prepare()
        projects = study.comparison.projects
        for size in (2, 4):
            other = projects({name: size}).data
            assert other is not data
            assert [len(next(iter(each.train_dataloader()))[0]) for each in (other, data)] == [size, 8]
            assert len(other.parts[0]) == len(data.parts[0])


def test_data_that_cannot_be_made_anew_are_refused_with_the_cure(make_study: MakeStudy) -> None:
    with pytest.raises(
        StudyError, match=r"tune.data.batch_size: Deaf does not keep its arguments forgotten, .* save_hyper"
    ):
        make_study(data=Deaf(), tune={"data.batch_size": [2, 4]}).prepare()
    with pytest.raises(StudyError, match=r"Forgetful does not keep its arguments forgotten"):
        make_study(data=Forgetful(), tune={"data.forgotten": [0, 1]}).prepare()


def test_a_datamodule_of_hooks_alone_is_told_that_it_takes_no_argument(make_study: MakeStudy) -> None:
    waves = WavesData()
    waves.setup()
    data = pl.LightningDataModule.from_datasets(waves.parts[0], waves.parts[1], batch_size=8)
    with pytest.raises(ValueError, match=r"data.batch_size: LightningDataModule takes no such argument; there is none"):
        make_study(data=data, tune={"data.batch_size": [2, 4]})
