"""A study that is planned for a time: how long a training takes here is measured, and epochs and finals follow."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median_low

import numpy as np

from automl_plugins.objectives.contender import Contender
from automl_plugins.report.forecast import clock
from automl_plugins.studies.equal_cost import count_macs
from automl_plugins.training.lightning import pl
from automl_plugins.training.project import Project

_DRAWS = 8
_FINALS = 0.45
"""The most of the time that final trainings may take: rule of thumb."""
_SPARE = 0.08
"""Of the time, for tests and for what is between trainings: rule of thumb."""
_LEAST_TRIALS = 6
_MOST_TRIALS = 1000


@dataclass(frozen=True)
class Timing:
    """The time of trainings, as one was measured.

    Args:
        epoch: seconds of an epoch of a random network, its validation included.
        start: seconds of a training beside its epochs.
    """

    epoch: float
    start: float

    def training(self, epochs: int) -> float:
        """The seconds of a training."""
        return self.start + epochs * self.epoch


@dataclass(frozen=True)
class TimePlan:
    """The settings of a study that takes a given time.

    Args:
        max_epochs: of a final training.
        trial_epochs: of a trial.
        trials: the most that the search has.
        search_minutes: what its trials take in all, after which it ends.
        finalists: of each search.
        seeds: of final trainings.
    """

    max_epochs: int
    trial_epochs: int
    trials: int
    search_minutes: float
    finalists: int
    seeds: int


def measure(project: Project) -> Timing:
    """Train a random network of a middling size for two epochs, the second of which is measured.

    Times are scaled from its multiply-accumulates to the mean of some random networks, where they can be counted.
    """
    generator = np.random.default_rng(project.seed)
    drawn = [project.narrowed.sample(generator) for _ in range(_DRAWS)]
    count = count_macs(project)
    macs = [count(Contender("random", each)) or 1 for each in drawn]
    middle = macs.index(median_low(macs))
    watch = _Clock()
    result = project.train(project.build(drawn[middle]), epochs=2, callbacks=[watch], keep_weights=False)
    epoch = watch.epoch
    return Timing(epoch * fmean(macs) / macs[middle], max(0.0, result.seconds - 2 * epoch))


class _Clock(pl.Callback):
    """The time of a training's last epoch."""

    def __init__(self) -> None:
        self.began = self.epoch = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.began = time.perf_counter()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.epoch = time.perf_counter() - self.began


def plan_for(
    seconds: float,
    timing: Timing,
    arms: int,
    finals: Callable[[int, int], int],
    sizes: Sequence[tuple[int, int]],
    max_epochs: int,
    may_shorten: bool = True,
    trial_epochs: int | None = None,
) -> TimePlan:
    """Epochs, trials and finals for a time.

    Final trainings have at most a share of it; if they would be shorter than a quarter of what they should be, there
    are fewer of them. The rest is the searches', in equal parts.

    Args:
        seconds: that are left, of all workers together.
        timing: of trainings.
        arms: searches of equal cost.
        finals: the number of final trainings with so many finalists and seeds.
        sizes: finalists and seeds, those wished for first.
        max_epochs: of a final training, where there is time.
        may_shorten: final trainings may have fewer.
        trial_epochs: of a trial; a quarter of a final training's where left out.

    Raises:
        ValueError: the time is too short; the message says how much would do.
    """
    left = seconds * (1 - _SPARE)
    for finalists, seeds in sizes:
        count = finals(finalists, seeds)
        fitting = int((_FINALS * left / count - timing.start) / timing.epoch)
        whole = min(max_epochs, fitting) if may_shorten else max_epochs
        if (fitting >= max_epochs) if not may_shorten else whole >= max(2, max_epochs // 4):
            break
    whole = max(2, whole)
    short = trial_epochs if trial_epochs is not None else max(1, whole // 4)
    search = (left - count * timing.training(whole)) / max(1, arms)
    trial = timing.training(short)
    if search < _LEAST_TRIALS * trial:
        least = (count * timing.training(whole) + arms * _LEAST_TRIALS * trial) / (1 - _SPARE)
        raise ValueError(
            f"{clock(seconds)} minutes of training are too short for {count} final trainings of {whole} epochs and "
            f"{arms * _LEAST_TRIALS} trials of {short}, which take about {clock(least)} here; give more, or fewer "
            "references"
        )
    # The time ends the search, also where this machine is faster in the end; the number is what it stays below.
    trials = min(_MOST_TRIALS, round(3 * search / trial))
    return TimePlan(whole, short, max(_LEAST_TRIALS, trials), search / 60, finalists, seeds)
