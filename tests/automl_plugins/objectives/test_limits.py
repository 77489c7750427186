from __future__ import annotations

import optuna
import pytest

from automl_plugins.objectives.limits import set_limits
from automl_plugins.report.front import candidates


def test_limits_are_constraints_relative_to_themselves() -> None:
    study = optuna.create_study()
    trial = study.ask()
    set_limits(trial, {"latency_ms": 30.0, "params": 500.0}, {"latency_ms": 20.0, "params": 1000.0})
    study.tell(trial, 0.0)
    assert study.trials[0].constraints == {"latency_ms": 0.5, "params": -0.5}


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"latency": 1.0}, "a limit for 'latency', and no such figure; figures: latency_ms"),
        ({"latency_ms": 0.0}, "above 0"),
        ({"latency_ms": float("nan")}, "a number above 0; got nan"),
        ({"latency_ms": float("inf")}, "a number above 0; got inf"),
    ],
)
def test_a_limit_without_meaning_is_refused(limits: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        set_limits(optuna.create_study().ask(), {"latency_ms": 1.0}, limits)


def test_a_figure_that_is_nan_keeps_no_limit() -> None:
    study = optuna.create_study()
    trial = study.ask()
    set_limits(trial, {"latency_ms": float("nan")}, {"latency_ms": 20.0})
    study.tell(trial, 0.0)
    assert candidates(study.trials) == []
    assert study.trials[0].constraints == {"latency_ms": float("inf")}
