"""An Optuna objective may have parameters of its own beside a space's."""

from __future__ import annotations

import optuna
import pytest

from automl_plugins.spaces.space import SearchSpace
from gnn_space import AGNNSpace, EGNASSpace
from seg_space import AutoDeepLabSpace, SmpSpace


@pytest.mark.parametrize(
    "space",
    [AGNNSpace(layers=1), EGNASSpace(nodes=2), AutoDeepLabSpace(layers=2, blocks=1), SmpSpace()],
    ids=lambda space: space.name,
)
def test_best_params_are_an_architecture_whatever_is_beside_it(space: SearchSpace) -> None:
    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
        space.suggest(trial)
        trial.suggest_categorical("optimizer", ["adam", "sgd"])
        return rate

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=2)
    own = {name: value for name, value in study.best_params.items() if name not in ("learning_rate", "optimizer")}
    assert dict(space.architecture(study.best_params)) == own


@pytest.mark.parametrize("name", ["layer0.head", "layer1.heads"])
def test_a_choice_that_is_misspelt_or_of_a_larger_space_is_still_refused(name: str) -> None:
    space = AGNNSpace(layers=1)
    values = _any(space)
    with pytest.raises(ValueError, match=f"has no choice '{name}'; did you mean 'layer0.heads'"):
        space.architecture({**values, name: 1})


def _any(space: SearchSpace) -> dict[str, object]:
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    return dict(space.suggest(trial))
