"""Judging samplers where the truth is known."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.tables.table import Table

_MOST_TRIALS = 5
"""A sampler that keeps asking for what it knows is stopped after so many trials for each look-up."""


@dataclass(frozen=True)
class Judgement:
    """Searches of one table with one sampler.

    Args:
        table: that was searched.
        sampler: its name.
        validation: `[num_seeds, budget]`, the best validation score after so many look-ups.
        test: `[num_seeds, budget]`, the test score of the architecture with that validation score.
        trials: `[num_seeds]`, how many trials it took.
        milliseconds: CPU time of an ask and a tell, mean over all trials.
    """

    table: Table
    sampler: str
    validation: np.ndarray
    test: np.ndarray
    trials: np.ndarray
    milliseconds: float

    @property
    def validation_regret(self) -> np.ndarray:
        """`[num_seeds, budget]`: the distance to the best architecture's validation score."""
        return np.nanmax(self.table.columns[self.table.validation]) - self.validation

    @property
    def test_regret(self) -> np.ndarray:
        """`[num_seeds, budget]`: the distance to the best test score of all."""
        return np.nanmax(self.table.columns[self.table.test]) - self.test


def judge(
    table: Table,
    sampler: str,
    make: Callable[[int], BaseSampler],
    budget: int,
    seeds: range,
    first: Sequence[Architecture] = (),
) -> Judgement:
    """Search a table with a sampler, by validation score alone, once for each seed.

    Only the look-up of an architecture that was not looked up before counts; others, isomorphic
    ones among them, are free. A sampler that finds nothing new for long ends with what it has.

    Args:
        table: to search.
        sampler: the name to report.
        make: the sampler of a seed.
        budget: the number of look-ups.
        seeds: one search for each.
        first: looked up before the sampler is asked, in each search.
    """
    validation = np.empty((len(seeds), budget))
    test = np.empty((len(seeds), budget))
    trials = np.empty(len(seeds), dtype=int)
    began = time.process_time()
    for place, seed in enumerate(seeds):
        rows, trials[place] = look_ups(table, make(seed), budget, first)
        scores = table.columns[table.validation][rows]
        best = [int(np.argmax(scores[: count + 1])) for count in range(len(rows))]
        best += [best[-1]] * (budget - len(rows))
        validation[place] = scores[best]
        test[place] = table.columns[table.test][rows][best]
    spent = 1000 * (time.process_time() - began)
    return Judgement(table, sampler, validation, test, trials, float(spent / trials.sum()))


def look_ups(
    table: Table, sampler: BaseSampler, budget: int, first: Sequence[Architecture] = ()
) -> tuple[list[int], int]:
    """The rows that one search looks up, in order, and the number of its trials."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for architecture in first:
        study.enqueue_trial(dict(architecture))
    rows: dict[int, None] = {}
    asked = 0
    while len(rows) < budget and asked < _MOST_TRIALS * budget:
        asked += 1
        trial = study.ask()
        row = table.row(table.space.suggest(trial))
        score = np.nan if row is None else table.columns[table.validation][row]
        if row is None or np.isnan(score):
            study.tell(trial, state=TrialState.FAIL)
        else:
            rows[row] = None
            study.tell(trial, score)
    if len(rows) < budget:
        warnings.warn(
            f"{type(sampler).__name__} found {len(rows)} architectures in {asked} trials; {budget} were asked for",
            stacklevel=2,
        )
    return list(rows), asked
