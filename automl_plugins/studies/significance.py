"""Evidence of a study: its search's network against the others over the seeds, and the worth of random networks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from optuna.trial import FrozenTrial, TrialState

from automl_plugins.objectives.contender import Contender
from automl_plugins.objectives.paired import PairedTest, paired_tests
from automl_plugins.objectives.standing import Standing
from automl_plugins.report.front import candidates
from automl_plugins.report.trial_cost import counts
from automl_plugins.report.verdict import random_line
from automl_plugins.studies.comparison import Comparison

FEW = 8
"""The number of random networks whose mean is told."""
_STAGES = ("val", "valid", "validation")


def tests_of(
    comparison: Comparison, standings: Mapping[str, Standing], monitor: str
) -> dict[str, dict[str, PairedTest]]:
    """Paired tests of the search's network against each other one, by metric and by who found that one.

    The test's metric is there where the tests logged one of the validation metric's name: `test_rmse` for `val_rmse`.

    Args:
        comparison: their trainings and tests.
        standings: of one network for each that found any: `search`, `random search`, `hand`.
        monitor: what the standings' values are: the validation metric, or `reward`.
    """
    maximize = all(standing.maximize for standing in standings.values())
    tests = {monitor: _tests({name: each.values for name, each in standings.items()}, maximize)}
    metric = test_metric(monitor)
    if metric is not None and monitor == comparison.project.monitor:
        measured = {name: _tested(comparison, each.contender, metric) for name, each in standings.items()}
        tests[metric] = _tests(measured, maximize)
    return {metric: by_name for metric, by_name in tests.items() if by_name or metric == monitor}


def _tests(values: Mapping[str, Sequence[float | None]], maximize: bool) -> dict[str, PairedTest]:
    others = {name: each for name, each in values.items() if name != "search"}
    return paired_tests(values["search"], others, maximize) if "search" in values else {}


def test_metric(monitor: str) -> str | None:
    """The name that a validation metric has in the test; None where its name does not say that it is one."""
    stage, separator, name = monitor.partition("_")
    return f"test_{name}" if separator and stage in _STAGES else None


def _tested(comparison: Comparison, contender: Contender, metric: str) -> list[float | None]:
    tested = comparison.tested(contender)
    return [tested[seed].metrics.get(metric) if seed in tested else None for seed in comparison.seeds]


def random_networks(trials: Mapping[str, Sequence[FrozenTrial]], maximize: bool, monitor: str) -> list[str]:
    """A line on random search's first trials, if any two of them ended with a value: they are a sample of the space."""
    first = [trial for trial in trials.get("random", ()) if counts(trial)][:FEW]
    values = [trial.values[0] if trial.state is TrialState.COMPLETE else None for trial in first]
    values = [value if value is not None and math.isfinite(value) else None for value in values]
    if len(values) - values.count(None) < 2:
        return []
    choose = max if maximize else min
    best = {arm: choose((trial.values[0] for trial in candidates(each)), default=None) for arm, each in trials.items()}
    return [random_line(values, best, monitor)]
