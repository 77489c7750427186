from __future__ import annotations

from collections.abc import Callable

import numpy as np
import optuna
import pytest
import yaml
from optuna.pruners import MedianPruner, NopPruner
from optuna.samplers import NSGAIISampler, RandomSampler, TPESampler

from automl_plugins import registry
from automl_plugins.studies import optuna_parts
from automl_plugins.studies.hyperband import HyperbandPruner
from automl_plugins.studies.optuna_parts import make_pruner, sampler_factory
from automl_plugins.studies.study import Study
from automl_plugins.studies.study_config import config_text
from automl_plugins.training.description import describe


class MySampler(RandomSampler):
    """A user's own."""


@pytest.mark.parametrize(
    ("config", "cls"),
    [
        ("TPESampler", TPESampler),
        ("optuna.samplers.NSGAIISampler", NSGAIISampler),
        ("RandomSampler", RandomSampler),
        ({"class_path": "TPESampler", "init_args": {"n_startup_trials": 3}}, TPESampler),
        ({"class_path": "optuna.samplers._random.RandomSampler"}, RandomSampler),
        (NSGAIISampler(), NSGAIISampler),
    ],
    ids=str,
)
def test_a_sampler_by_name_by_class_path_or_as_it_is(config: object, cls: type) -> None:
    assert type(sampler_factory(config)(0, 0)) is cls


def test_a_registered_sampler_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "names", lambda group: ["mine"] if group == "samplers" else [])
    monkeypatch.setattr(registry, "load", lambda group, name: MySampler)
    assert type(sampler_factory("mine")(0, 0)) is MySampler


def test_every_trial_has_a_sampler_of_its_own_seed() -> None:
    def drawn(seed: int, ordinal: int) -> list[float]:
        study = optuna.create_study(sampler=sampler_factory("RandomSampler")(seed, ordinal))
        trial = study.ask()
        return [trial.suggest_float(name, 0, 1) for name in "abc"]

    assert drawn(0, 4) == drawn(0, 4)
    assert len({tuple(drawn(seed, ordinal)) for seed in range(3) for ordinal in range(3)}) == 9


def test_a_seed_among_the_arguments_comes_before_the_studys() -> None:
    factory = sampler_factory({"class_path": "RandomSampler", "init_args": {"seed": 3}})
    first, second = (optuna.create_study(sampler=factory(seed, 0)).ask() for seed in (1, 2))
    assert first.suggest_float("x", 0, 1) == second.suggest_float("x", 0, 1)


def test_a_class_is_made_one() -> None:
    assert type(sampler_factory(RandomSampler)(0, 0)) is RandomSampler
    assert type(make_pruner(optuna.pruners.MedianPruner)) is optuna.pruners.MedianPruner


@pytest.mark.parametrize("config", [3, ["TPESampler"], optuna.pruners.MedianPruner, optuna.pruners.NopPruner()])
def test_what_is_no_sampler_is_named(config: object) -> None:
    with pytest.raises(TypeError, match="sampler is a name, a mapping with class_path, or a BaseSampler; got"):
        sampler_factory(config)  # type: ignore[arg-type]


def test_a_sampler_that_is_given_is_kept() -> None:
    sampler = TPESampler(seed=1)
    factory = sampler_factory(sampler)
    assert factory(0, 0) is factory(0, 1) is sampler


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("TPESamplr", "sampler='TPESamplr' is unknown; did you mean 'TPESampler'"),
        ("nowhere.Sampler", "sampler='nowhere.Sampler' cannot be imported: No module named 'nowhere'"),
        ("optuna.Study", "sampler='optuna.Study' is no BaseSampler"),
        (
            {"class_path": "TPESampler", "init_args": {"n_startup": 3}},
            "init_args.n_startup is no argument of TPESampler",
        ),
        ({"class_path": "TPESampler", "init_arg": {}}, "sampler.init_arg is not valid; did you mean 'init_args'"),
        ({"init_args": {}}, "sampler needs a class_path"),
    ],
    ids=str,
)
def test_a_mistyped_sampler_is_named(config: optuna_parts.PartConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sampler_factory(config)


def test_an_argument_of_the_wrong_value_is_refused_when_the_sampler_is_named() -> None:
    with pytest.raises(ValueError, match="population"):
        sampler_factory({"class_path": "NSGAIISampler", "init_args": {"population_size": 0}})


def test_a_pruner_by_name_with_arguments_as_it_is_or_none() -> None:
    assert isinstance(make_pruner(None), NopPruner)
    assert isinstance(make_pruner("MedianPruner"), MedianPruner)
    assert isinstance(make_pruner({"class_path": "HyperbandPruner", "init_args": {"min_resource": 2}}), HyperbandPruner)
    pruner = MedianPruner()
    assert make_pruner(pruner) is pruner


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("MedianPrune", "pruner='MedianPrune' is unknown; did you mean 'MedianPruner'"),
        ({"class_path": "MedianPruner", "init_args": {"warmup": 3}}, "init_args.warmup is no argument of MedianPruner"),
        ("TPESampler", "pruner='TPESampler' is unknown"),
    ],
    ids=str,
)
def test_a_mistyped_pruner_is_named(config: optuna_parts.PartConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_pruner(config)


@pytest.mark.parametrize(
    ("options", "brackets"),
    [
        ({}, HyperbandPruner(max_resource=2)),  # the fixture's epochs
        ({"trial_epochs": 9}, HyperbandPruner(max_resource=9)),
        ({"trial_epochs": 9, "trainer": {"max_epochs": 20, "check_val_every_n_epoch": 3}}, HyperbandPruner(1, 3)),
        ({"trainer": {"max_steps": 7}}, HyperbandPruner()),
        ({"pruner": "MedianPruner"}, MedianPruner()),
        ({"pruner": "NopPruner"}, NopPruner()),
        ({"costs": ["params"]}, NopPruner()),
        ({"sampler": "evolution"}, NopPruner()),
    ],
)
def test_priorband_comes_with_hyperband_where_no_pruner_is_named(
    options: dict[str, object], brackets: optuna.pruners.BasePruner, make_study: Callable[..., Study]
) -> None:
    study = make_study(**{"sampler": "priorband", **options})
    assert describe(study.plan.pruner) == describe(brackets)
    # The configuration that is kept makes the same pruner.
    kept = yaml.safe_load(config_text(study.project, study.plan, None))["pruner"]
    assert describe(make_study(**{"sampler": "priorband", **options, "pruner": kept}).plan.pruner) == describe(brackets)


def test_hyperband_s_brackets_and_verdicts_are_those_of_a_study_that_was_never_killed() -> None:
    def value(trial: optuna.Trial, epoch: int) -> float:
        return trial.params["x"] + epoch / 100

    def train(study: optuna.Study, x: float, epochs: int = 9, *, is_cut_off: bool = False) -> int:
        study.enqueue_trial({"x": x})
        trial = study.ask({"x": optuna.distributions.FloatDistribution(0.0, 1.0)})
        for epoch in range(epochs):
            trial.report(value(trial, epoch), epoch)
            if trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                return epoch
        if is_cut_off:
            trial.set_user_attr("interrupted", True)
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, value(trial, epochs))
        return epochs

    def study_of(pruner: optuna.pruners.BasePruner) -> optuna.Study:
        return optuna.create_study(study_name="brackets", direction="maximize", pruner=pruner)

    drawn = np.random.default_rng(0).random(40).tolist()
    whole = study_of(HyperbandPruner(max_resource=9))
    expected = [train(whole, x) for x in drawn]
    killed = study_of(HyperbandPruner(max_resource=9))
    found = []
    for place, x in enumerate(drawn):
        if place % 2:
            train(killed, x, epochs=min(5, expected[place]), is_cut_off=True)
        found.append(train(killed, x))
    assert found == expected
    assert 0 < sum(epochs < 9 for epochs in expected) < 40
    # Optuna's own is the same in a study without a kill.
    optunas = study_of(optuna.pruners.HyperbandPruner(max_resource=9))
    assert [train(optunas, x) for x in drawn] == expected


def test_where_optuna_s_hyperband_is_named_ours_is_taken() -> None:
    for named in ("HyperbandPruner", "optuna.pruners.HyperbandPruner", optuna.pruners.HyperbandPruner):
        assert type(make_pruner(named)) is HyperbandPruner
    given = optuna.pruners.HyperbandPruner()
    assert make_pruner(given) is given
