"""Trials have seeds of their own, and finalists are different networks: a search finds no luck, and no twins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from optuna.samplers import PartialFixedSampler, RandomSampler
from scored_study import Scored

from automl_plugins.objectives.contender import Contender
from automl_plugins.studies.study import Study
from automl_plugins.studies.trial import seed_of
from gnn_space import AGNNSpace

MakeStudy = Callable[..., Study]
TUNE = {"module.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}


@given(rate=st.floats(1e-4, 1e-2), seed=st.integers(0, 2**32 - 1))
def test_a_seed_is_of_a_network_its_settings_and_the_study(rate: float, seed: int) -> None:
    one = Contender("one", reference="gcn", settings={"module.learning_rate": rate})
    assert 0 <= seed_of(one, seed) < 2**32
    again = Contender("asked for again", reference="gcn", settings={"module.learning_rate": rate})
    assert seed_of(one, seed) == seed_of(again, seed)
    others = [Contender("plain", reference="gcn"), Contender("other", reference="gin", settings=one.settings)]
    assert len({seed_of(each, seed) for each in (one, *others)} | {seed_of(one, (seed + 1) % 2**32)}) == 4


def test_trials_are_trained_with_their_own_seeds_in_every_run(
    scored: MakeStudy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(
        Scored,
        "on_fit_start",
        lambda self: None if self.is_final else seeds.append(torch.initial_seed()),
        raising=False,
    )
    study = scored(tune=TUNE, trials=4)
    study.run()
    trials = [trial for trial in study.arm_trials("search") if trial.value is not None]
    own = [seed_of(study.finals._contender("search", trial), 0) for trial in trials]
    assert len(set(own)) == 4
    assert seeds[-4:] == own
    assert not any(seeds[:-4]), "what is tried before the first trial has the study's own, 0"
    seeds.clear()
    scored(tune=TUNE, trials=4, folder=tmp_path / "again").run()
    assert seeds[-4:] == own


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_finalists_are_different_networks_and_then_other_settings(scored: MakeStudy) -> None:
    """Though all trials of the smaller network are better than any of the larger one."""
    space = AGNNSpace(layers=1, hidden_channels=(4, 8), heads=(1,))
    fixed = dict(space.sample(np.random.default_rng(0)))
    (width,) = [name for name, value in fixed.items() if value in (4, 8)]
    del fixed[width]
    study = scored(
        space=space, tune=TUNE, trials=8, finalists=3, sampler=PartialFixedSampler(fixed, RandomSampler(seed=0))
    )
    study.run()
    trials = sorted(study.arm_trials("search"), key=lambda trial: -trial.value)
    assert [trial.params[width] for trial in trials[:3]] == [4, 4, 4]
    finalists = study.finals.finalists("search")
    assert [each.architecture[width] for each in finalists] == [4, 8, 4]
    best = [next(trial for trial in trials if trial.params[width] == value) for value in (4, 8)]
    assert [each.settings for each in finalists] == [trial.user_attrs["settings"] for trial in (*best, trials[1])]
