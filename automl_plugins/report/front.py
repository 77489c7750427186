"""The fronts of a study with several objectives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from automl_plugins.objectives.pareto import crowding_distances, hypervolume, pareto_front


@dataclass(frozen=True)
class Front:
    """The trials of a search that no other one of it beats in every objective.

    Args:
        objectives: the metric, and the costs.
        trials: their numbers, the best by the metric first.
        values: of each trial, for each objective.
        hypervolume: the share that the front dominates of the box between the worst and the best value of each
            objective, over the trials of all searches of the study.
    """

    objectives: Sequence[str]
    trials: Sequence[int]
    values: Sequence[Sequence[float]]
    hypervolume: float

    def lines(self, arm: str) -> list[str]:
        """The text for a person."""
        told = [f"front of {arm}: {len(self.trials)} trials, hypervolume {self.hypervolume:.4f}"]
        for number, values in zip(self.trials, self.values, strict=True):
            named = ", ".join(f"{name} {value:,.6g}" for name, value in zip(self.objectives, values, strict=True))
            told.append(f"  trial {number}: {named}")
        return told


def candidates(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that a study may choose from: each architecture once, with finite values, all limits kept."""
    return [
        trial
        for trial in trials
        if trial.state is TrialState.COMPLETE
        and "copied_from" not in trial.user_attrs
        and all(map(math.isfinite, trial.values))
        and all(value <= 0 for value in trial.constraints.values())
    ]


def front_of(trials: Sequence[FrozenTrial], maximize_first: bool) -> list[FrozenTrial]:
    """The front, the best by the first objective first.

    Args:
        trials: see `candidates`.
        maximize_first: whether more of the first value is better; of the others, less is.
    """
    if not trials:
        return []
    on_front = pareto_front(_scores(trials, maximize_first))
    front = [trial for trial, is_on in zip(trials, on_front, strict=True) if is_on]
    sign = -1 if maximize_first else 1
    return sorted(front, key=lambda trial: (sign * trial.values[0], trial.number))


def spread(front: Sequence[FrozenTrial], count: int, maximize_first: bool) -> list[FrozenTrial]:
    """So many of a front, in its order: its ends first, then the least crowded (NSGA-II)."""
    distances = crowding_distances(_scores(front, maximize_first))
    kept = set(np.argsort(-distances, kind="stable")[:count].tolist())
    return [trial for place, trial in enumerate(front) if place in kept]


def fronts(
    arms: Mapping[str, Sequence[FrozenTrial]], objectives: Sequence[str], maximize_first: bool
) -> dict[str, Front]:
    """The front of each search that has trials to choose from.

    Args:
        arms: the trials of each, see `candidates`.
        objectives: their names, the metric first.
        maximize_first: see `front_of`.
    """
    every = _scores([trial for trials in arms.values() for trial in trials], maximize_first)
    if len(every) == 0:
        return {}
    worst, best = every.min(axis=0), every.max(axis=0)
    width = np.where(best > worst, best - worst, 1.0)
    # Values that are all equal tell nothing; a small step below makes them count in full.
    reference = np.where(best > worst, 0.0, -1.0)
    told = {}
    for arm, trials in arms.items():
        if not trials:
            continue
        front = front_of(trials, maximize_first)
        share = hypervolume((_scores(front, maximize_first) - worst) / width, reference)
        told[arm] = Front(tuple(objectives), [each.number for each in front], [each.values for each in front], share)
    return told


def _scores(trials: Sequence[FrozenTrial], maximize_first: bool) -> np.ndarray:
    """`[num_trials, num_objectives]`, larger is better."""
    if not trials:
        return np.zeros((0, 1))
    values = -np.array([trial.values for trial in trials], dtype=float)
    if maximize_first:
        values[:, 0] *= -1
    return values
