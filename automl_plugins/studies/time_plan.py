"""A study that is planned for a time: how long trainings take here is measured, and epochs and finals follow."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

import numpy as np

from automl_plugins.objectives.contender import Contender
from automl_plugins.report.forecast import clock
from automl_plugins.studies.equal_cost import count_macs
from automl_plugins.studies.time_left import FINALS
from automl_plugins.training.lightning import pl
from automl_plugins.training.project import Project

_DRAWS = 8
_EPOCHS = 4
"""Of a training that is measured, at most; the first of several is not counted."""
_MEASURING = 0.03
"""Of the time, for each of the two trainings that are measured; there is an epoch at least."""
_SPARE = 0.08
"""Of the time, for tests and for what is between trainings: rule of thumb."""
_LEAST_TRIALS = 6
_ENOUGH_TRIALS = 50
"""Of a search, from which on time is spent on longer trials instead of more of them: chosen by validation on Cora."""
_MOST_TRIALS = 1000


@dataclass(frozen=True)
class Timing:
    """The time of trainings, as some were measured.

    Args:
        epoch: seconds of an epoch of a random network of mean multiply-accumulates, its validation included.
        start: seconds of a training beside its epochs.
        macs: the mean multiply-accumulates of random networks, on the first validation batch.
        mac: seconds of an epoch for each multiply-accumulate; 0: all networks take the same.
    """

    epoch: float
    start: float
    macs: float = 0.0
    mac: float = 0.0

    def training(self, epochs: int) -> float:
        """The seconds of a training of such a network."""
        return self.start + epochs * self.epoch

    def times(self, macs: float | None) -> float:
        """The time that another network takes, in that of such a one; 1 where its size is not known."""
        return 1.0 if macs is None else max(0.0, 1 + (macs - self.macs) * self.mac / self.epoch)


@dataclass(frozen=True)
class TimePlan:
    """The settings of a study that takes a given time.

    Args:
        max_epochs: of a final training.
        trial_epochs: of a trial.
        trials: the most that the search has; the time ends it before.
        finalists: of each search.
        seeds: of final trainings that are reckoned with; as many as fit in the end.
    """

    max_epochs: int
    trial_epochs: int
    trials: int
    finalists: int
    seeds: int


def measure(project: Project, seconds: float) -> Timing:
    """Train a small and a large random network for a few epochs each.

    Args:
        project: what is trained on what.
        seconds: that the study has, of which measuring takes a little.
    """
    generator = np.random.default_rng(project.seed)
    count = count_macs(project)
    drawn = [project.narrowed.sample(generator) for _ in range(_DRAWS)]
    sizes = {each: count(Contender("random", each)) or 0 for each in drawn}
    by_size = sorted(sizes, key=lambda each: sizes[each])
    told = []
    for architecture in dict.fromkeys((by_size[len(by_size) // 4], by_size[-1 - len(by_size) // 4])):
        watch = _Clock(_MEASURING * seconds)
        result = project.train(project.build(architecture), epochs=_EPOCHS, callbacks=[watch], keep_weights=False)
        told.append((sizes[architecture], watch.epoch, max(0.0, result.seconds - sum(watch.epochs))))
    (small, short, _), (large, long, _) = told[0], told[-1]
    mean = fmean(sizes[each] for each in drawn)
    mac = max(0.0, (long - short) / (large - small)) if large > small else 0.0
    mac = min(mac, long / large) if large else 0.0
    epoch = fmean(each for _, each, _ in told) + (mean - (small + large) / 2) * mac
    return Timing(max(epoch, min(short, long) / 2), fmean(start for *_, start in told), mean, mac)


class _Clock(pl.Callback):
    """The times of a training's epochs; ends it after the one in which its time is spent.

    Args:
        seconds: that it has.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.epochs: list[float] = []

    @property
    def epoch(self) -> float:
        """The median of its epochs but for the first, in which much is done once."""
        return median(self.epochs[1:] or self.epochs)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._began = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.epochs.append(time.perf_counter() - self._began)
        if sum(self.epochs) >= self.seconds:
            trainer.should_stop = True


def plan_for(
    seconds: float,
    timing: Timing,
    arms: int,
    finals: Callable[[int, int], float],
    sizes: Sequence[tuple[int, int]],
    max_epochs: int,
    may_shorten: bool = True,
    trial_epochs: int | None = None,
) -> TimePlan:
    """Epochs, trials and finals for a time.

    Final trainings have at most a share of it; if they would be shorter than a quarter of what they should be, there
    are fewer of them. The rest is the searches', in equal parts; when they end is decided as the time runs out
    (`studies.time_left`), so the number of trials is only what they stay below. Trials are longer than a quarter where
    there is time for fifty of them all the same: what is best in a short training, its learning rate above all, is not
    what is best in a long one (Cora, ten minutes: 70 whole trainings found a network of validation accuracy .796,
    and as many of a quarter as fitted one of .791).

    Args:
        seconds: that are left, of all workers together.
        timing: of trainings.
        arms: searches of equal cost.
        finals: the final trainings with so many finalists and seeds, as a number of those that were measured.
        sizes: finalists and seeds, those wished for first.
        max_epochs: of a final training, where there is time.
        may_shorten: final trainings may have fewer.
        trial_epochs: of a trial; a quarter of a final training's, or more, where left out.

    Raises:
        ValueError: the time is too short; the message says how much would do.
    """
    left = seconds * (1 - _SPARE)
    for finalists, seeds in sizes:
        count = finals(finalists, seeds)
        fitting = int((FINALS * left / count - timing.start) / timing.epoch)
        whole = min(max_epochs, fitting) if may_shorten else max_epochs
        if (fitting >= max_epochs) if not may_shorten else whole >= max(2, max_epochs // 4):
            break
    whole = max(2, whole)
    search = (left - count * timing.training(whole)) / max(1, arms)
    roomy = int((search / _ENOUGH_TRIALS - timing.start) / timing.epoch)
    short = trial_epochs if trial_epochs is not None else min(whole, max(1, whole // 4, roomy))
    trial = timing.training(short)
    if search < _LEAST_TRIALS * trial:
        least = (count * timing.training(whole) + arms * _LEAST_TRIALS * trial) / (1 - _SPARE)
        raise ValueError(
            f"{clock(seconds)} minutes of training are too short for {count:.0f} final trainings of {whole} epochs and "
            f"{arms * _LEAST_TRIALS} trials of {short}, which take about {clock(least)} here; give more, or fewer "
            "references"
        )
    # Below three times what is expected, also where this machine is faster in the end.
    trials = min(_MOST_TRIALS, round(3 * search / trial))
    return TimePlan(whole, short, max(_LEAST_TRIALS, trials), finalists, seeds)
