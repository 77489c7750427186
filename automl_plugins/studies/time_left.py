"""The time that a study has, as it runs out: when its searches end, and how many seeds its final trainings have."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from statistics import fmean

import numpy as np
from optuna.trial import FrozenTrial

from automl_plugins.objectives.contender import Contender
from automl_plugins.report.trial_cost import cost_of, spent
from automl_plugins.studies.equal_cost import count_macs, unit_of
from automl_plugins.studies.finals import Finals
from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.plan import Plan
from automl_plugins.system.files import read_object, write_whole
from automl_plugins.system.waiting import patient_lock

FINALS = 0.45
"""The part of the time that final trainings may take before the search ends for them: rule of thumb."""
_SPARE = 0.03
"""Of the time, for tests, bootstraps and the verdict: rule of thumb."""
_LEAST_SEEDS = 2
_MOST_OVERHEAD = 2.0
"""Of what is beside trainings, more is taken for an exception, such as a wait."""


@dataclass(frozen=True)
class TimeLeft:
    """Looks at what is left of a study's time, and at what the rest of it will take at the speed measured so far.

    After each trial it is asked whether the search should end: where what is left is just enough for the other arms to
    catch up and for the final trainings. These are forecast from the finalists' own trials, which took their part of
    a final training, and for networks without a trial from the time of a step, a line over multiply-accumulates. They
    are judged on as many seeds as fit, two at least and the study's `seeds` at most: settled when finalists were
    chosen, by what trainings in full took.

    Args:
        finals: the choice of finalists, from the trials as they are when it is asked.
        minutes: that the study has.
        since: when they began; what the books have of earlier runs counts too.
    """

    finals: Callable[[], Finals]
    minutes: float
    since: datetime

    def is_up(self) -> bool:
        """True where the search should take no more trials."""
        finals = self.finals()
        rest = self._rest(finals)
        if rest is None:
            return False
        # A trial of the search, and what the other arms are given for it: half of it too late, or half too early.
        turn = sum(map(_seconds, _every(finals))) / max(
            1, sum(_seconds(trial) > 0 for trial in finals.trials["search"])
        )
        return self.left(finals) <= (rest + turn / 2) * _overhead(finals) / finals.plan.workers

    def left(self, finals: Finals) -> float:
        """The seconds that are left."""
        passed = (datetime.now() - self.since).total_seconds()
        trained = [_seconds(trial) for trial in _every(finals) if _is_before(trial, self.since)]
        folder, began = finals.comparison.folder, self.since.timestamp()
        before = (path for path in folder.path.glob("contenders/*/*-train.json") if path.stat().st_mtime < began)
        trained += [float((read_object(path) or {}).get("seconds", 0.0)) for path in before]
        return 60 * self.minutes * (1 - _SPARE) - passed - sum(trained) / finals.plan.workers

    def settle_seeds(self) -> None:
        """Keep for how many seeds the time is enough, now that finalists were trained in full; once for all workers."""
        finals = self.finals()
        path = finals.comparison.folder.settled_seeds
        with patient_lock(finals.comparison.folder.claim_lock, "settles the seeds"):
            if _settled(path, self.minutes) is not None:
                return
            each = _judged(finals, self._expected(finals)) * _overhead(finals)
            seeds = round(max(0.0, self.left(finals)) * finals.plan.workers / each) if each else finals.plan.seeds
            write_whole(path, json.dumps({"minutes": self.minutes, "seeds": max(_LEAST_SEEDS, seeds)}))

    def _rest(self, finals: Finals) -> float | None:
        """The seconds that the study takes if its search ends now, by one worker; None: nothing tells yet."""
        if not finals.finalists("search"):
            return None
        expected = self._expected(finals)
        chooses = finals.choosing.seeds != finals.comparison.seeds
        chosen = sum(expected[each] for each in finals.chosen_among) * len(finals.choosing.seeds) if chooses else 0.0
        each = _judged(finals, expected)
        most = FINALS * 60 * self.minutes * finals.plan.workers / _overhead(finals)
        seeds = min(finals.plan.seeds, max(_LEAST_SEEDS, int((most - chosen) / each) if each else 0))
        return self._behind(finals) + chosen + each * seeds

    def _behind(self, finals: Finals) -> float:
        """The seconds that the other arms take until they have had the search's cost."""
        plan, references = finals.plan, len(finals.hand_made)
        unit = unit_of(finals.project, plan, references)
        due, anyone = spent(finals.trials["search"], unit), _rate(_every(finals), unit)
        behind = 0.0
        for arm in plan.paid(references):
            trials = finals.trials[arm]
            behind += max(0.0, due - spent(trials, unit)) * (_rate(trials, unit) or anyone)
        return behind

    def _expected(self, finals: Finals) -> dict[Contender, float]:
        """The seconds of a final training, of each that may have one."""
        every = _every(finals)
        longer = finals.plan.longer(finals.project.trainer.get("max_epochs"))
        trials, speed, count = finals.trial_seconds(), Speed.of(every), count_macs(finals.project)
        steps = max((cost_of(trial, "steps") for trial in every), default=0.0)
        found = {}
        for each in chain(finals.chosen_among, *map(finals.finalists, finals.arms), finals.references):
            if finals.choosing.is_trained(each):
                found[each] = fmean(result.seconds for result in finals.choosing.trained(each))
            else:
                found[each] = longer * (trials.get(each.key) or steps * speed.of_step(count(each) or 0))
        return found


@dataclass(frozen=True)
class Speed:
    """The time of an optimizer step, as trials had it: a line over the multiply-accumulates of their networks.

    Args:
        least: seconds of a step that costs nothing.
        mac: seconds more for each multiply-accumulate.
    """

    least: float
    mac: float

    @classmethod
    def of(cls, trials: Iterable[FrozenTrial]) -> Speed:
        """The line of least squares through the trials, that neither falls nor begins below zero."""
        told = [
            (trial.user_attrs.get("macs", 0), _seconds(trial) / cost_of(trial, "steps"))
            for trial in trials
            if cost_of(trial, "steps")
        ]
        if not told:
            return cls(0.0, 0.0)
        macs, seconds = np.array(told, dtype=float).T
        spread = float(macs.var())
        slope = max(0.0, float(((macs - macs.mean()) * (seconds - seconds.mean())).mean()) / spread) if spread else 0.0
        least = float(seconds.mean() - slope * macs.mean())
        if least < 0:
            return cls(0.0, float(seconds.mean() / macs.mean()))
        return cls(least, slope)

    def of_step(self, macs: float) -> float:
        """The seconds of a step of a network."""
        return self.least + self.mac * macs


def seeds_within(folder: RunFolder, plan: Plan) -> int:
    """For how many seeds a study's time is enough; as many as it was asked for, where nothing else was settled."""
    settled = None if plan.minutes is None else _settled(folder.settled_seeds, plan.minutes)
    return plan.seeds if settled is None else min(plan.seeds, settled)


def _settled(path: Path, minutes: float) -> int | None:
    kept = read_object(path) or {}
    seeds = kept.get("seeds") if kept.get("minutes") == minutes else None
    return seeds if isinstance(seeds, int) else None


def _judged(finals: Finals, expected: Mapping[Contender, float]) -> float:
    """The seconds of the final trainings of those that are judged, on one seed."""
    seconds = sum(expected[each] for each in finals.references)
    for arm in finals.arms:
        among = [expected[each] for each in finals.judged(arm) or finals.finalists(arm)]
        # Until one of an arm's finalists is chosen, any of them may be; with costs, all are judged.
        seconds += sum(among) if finals.goal.costs else fmean(among or [0.0])
    further = (finals.plan.ensemble or 0) - len(finals.arms) - len(finals.references)
    return seconds + max(0, further) * fmean(expected.values())


def _overhead(finals: Finals) -> float:
    """The time that passes for each second of training: to make a network and to keep results takes some too."""
    trained = [trial for trial in _every(finals) if _seconds(trial)]
    passed = [trial.duration.total_seconds() for trial in trained if trial.duration is not None]
    return min(_MOST_OVERHEAD, max(1.0, sum(passed) / sum(map(_seconds, trained)))) if trained else 1.0


def _every(finals: Finals) -> list[FrozenTrial]:
    return list(chain.from_iterable(finals.trials.values()))


def _rate(trials: Iterable[FrozenTrial], unit: str) -> float:
    """Seconds for each unit of cost; 0.0 where nothing has cost any."""
    every = list(trials)
    cost = spent(every, unit)
    return sum(map(_seconds, every)) / cost if cost else 0.0


def _seconds(trial: FrozenTrial) -> float:
    return cost_of(trial, "gpu_seconds")


def _is_before(trial: FrozenTrial, moment: datetime) -> bool:
    return trial.datetime_start is not None and trial.datetime_start < moment
