"""Samplers of ours in the study and on its command line, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from perceptron_space.module import PixelRegression

from automl_plugins.cli import main
from automl_plugins.estimators import Context, rank
from automl_plugins.estimators.training import TrainingEstimator
from automl_plugins.studies.arm import arms_of
from automl_plugins.studies.study import Study


@pytest.mark.parametrize("name", ["controller", "evolution", "predictor", "priorband", "reinforce"])
def test_a_study_searches_with_a_registered_sampler_and_goes_on_as_if_never_stopped(
    name: str, make_study: Callable[..., Study], tmp_path: Path
) -> None:
    config = {"class_path": name, "init_args": {"evolution": {"population": 3, "tournament": 2}}.get(name, {})}
    whole = make_study(sampler=config, trials=6, folder=tmp_path / "whole")
    whole.run()
    make_study(sampler=config, trials=3, folder=tmp_path / "parts").run()
    parts = make_study(sampler=config, trials=6, folder=tmp_path / "parts")
    parts.run()
    first, second = ([trial.params for trial in study.arm_trials("search")] for study in (whole, parts))
    assert first == second
    assert len({tuple(sorted(parameters.items())) for parameters in first}) == 6


def test_a_study_tells_priorband_what_its_settings_are_without_tuning(make_study: Callable[..., Study]) -> None:
    tune = {"module.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}, "data.batch_size": [4, 64]}

    def defaults(**arguments: object) -> object:
        sampler = {"class_path": "priorband", "init_args": arguments}
        study = make_study(sampler=sampler, tune=tune, module=partial(PixelRegression, learning_rate=0.03))
        study.project.read_data()
        return arms_of(study.project, study.plan, study.store)[0].sampler(0, 0).defaults

    # The batch size of the data is not among those that are offered.
    assert defaults() == {"module.learning_rate": 0.03}
    assert defaults(defaults={"data.batch_size": 64}) == {"data.batch_size": 64}


def test_a_sampler_s_arguments_follow_its_name_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["study", "--space", "agnn", "--data", "freesolv", "--sampler", "evolution"]
    assert main([*arguments, "--sampler.population", "7", "--print_config"]) == 0
    sampler = yaml.safe_load(capsys.readouterr().out)["sampler"]
    assert sampler == {"class_path": "evolution", "init_args": {"population": 7}}
    assert main([*arguments, "--sampler.populatio", "7", "--print_config"]) == 2
    assert "did you mean 'population'" in capsys.readouterr().err
    assert main([*arguments, "--sampler.population", "many", "--print_config"]) == 2
    assert "sampler.population is an integer" in capsys.readouterr().err


def test_a_study_judges_first_trials_by_an_estimator_in_its_own_project(make_study: Callable[..., Study]) -> None:
    proxy = {"class_path": "training", "init_args": {"epochs": 1}}
    arguments = {"population": 2, "tournament": 1, "proxy": proxy, "proxy_pool": 4}
    study = make_study(sampler={"class_path": "evolution", "init_args": arguments}, trials=2)
    study.run()
    generator = np.random.default_rng(study.project.seed)
    pool = list(dict.fromkeys(study.project.space.sample(generator) for _ in range(4)))
    estimates = TrainingEstimator(1).estimate_all(pool, Context.of(study.project))
    best = [pool[place] for place in rank(estimates)[:2]]
    assert [study.project.space.architecture(trial.params) for trial in study.arm_trials("search")] == best


def test_a_study_searches_with_a_controller_that_a_comparator_rewards(make_study: Callable[..., Study]) -> None:
    reward = {"class_path": "comparator", "init_args": {"epochs": 2, "width": 8}}
    arguments = {"startup": 2, "hidden": 8, "reward": reward}
    study = make_study(sampler={"class_path": "controller", "init_args": arguments}, trials=4)
    study.run()
    assert len({tuple(sorted(trial.params.items())) for trial in study.arm_trials("search")}) == 4


@pytest.mark.parametrize(
    ("sampler", "argument", "estimator", "options"),
    [
        ("evolution", "proxy", "training", {"epochs": 2}),
        ("controller", "reward", "comparator", {"epochs": 5}),
        ("predictor", "predictor", "ranker", {"loss": "hinge"}),
    ],
)
def test_an_estimator_and_its_arguments_are_named_in_a_configuration(
    sampler: str,
    argument: str,
    estimator: str,
    options: dict[str, object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "config.yaml"

    def shown(**estimators: object) -> str:
        part = {"class_path": sampler, "init_args": {argument: estimators}}
        config.write_text(yaml.safe_dump({"space": "agnn", "data": "freesolv", "sampler": part}))
        main(["study", "--config", str(config), "--print_config"])
        out, err = capsys.readouterr()
        return out or err

    given = yaml.safe_load(shown(class_path=estimator, init_args=options))["sampler"]["init_args"][argument]
    assert given["class_path"].rpartition(".")[2].lower().startswith(estimator)
    assert given["init_args"] == options
    assert "it is no Estimator" in shown(class_path="optuna.samplers.TPESampler")
    assert "no such Estimator; did you mean" in shown(class_path=f"{estimator}r")
    assert "did you mean" in shown(class_path=estimator, init_args={f"{next(iter(options))}s": 1})
