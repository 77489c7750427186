"""A study's progress, as a live table in a terminal and as plain lines elsewhere."""

from __future__ import annotations

import json
import math
import threading
import time
from collections import Counter
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial
from rich.console import Console
from rich.live import Live
from rich.table import Table

from automl_plugins.errors import StudyError
from automl_plugins.report.forecast import clock, seconds_left
from automl_plugins.report.trials import outcome
from automl_plugins.studies.outcomes import counts
from automl_plugins.studies.pulse import forget_pulses, pulses

if TYPE_CHECKING:
    from automl_plugins.studies.study import Study

_REFRESH_SECONDS = 1.0
_FIRST_LINES_SECONDS = 8.0
_LAST_LINES_SECONDS = 60.0
"""Between plain lines: the longer a study runs, the rarer they are."""
_TRACEBACK_LINES = 12
_ASIDE = ("pruned", "diverged", "failed", "refused")
_FINALS = "final trainings"


class Progress:
    """Show, while the block runs: what is done and runs, the best so far, failures, the time left for all.

    It reads the storage and the result files, so it sees all workers alike and slows none down.

    Args:
        study: the study that runs.
        console: where to; standard error where left out.
    """

    def __init__(self, study: Study, console: Console | None = None) -> None:
        self.study = study
        self.console = console or Console(stderr=True)
        self._started = time.monotonic()
        self._shown_failures: set[tuple[str, int]] = set()
        self._printed: dict[str, str] = {}
        self._phase_shown = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)

    def __enter__(self) -> Progress:
        forget_pulses(self.study.folder)
        earlier = {arm: self.study.arm_trials(arm) for arm in self.study.arms}
        for arm, trials in earlier.items():
            self._shown_failures |= {(arm, trial.number) for trial in trials if "failure" in trial.user_attrs}
        done = {arm: sum(map(counts, trials)) for arm, trials in earlier.items()}
        trained = len(self._final_seconds("train"))
        if any(done.values()) or trained:
            told = [f"{count} of {self.study.trials} trials of {arm}" for arm, count in done.items()]
            told += [f"{trained} final trainings"] if trained else []
            self.console.print(f"goes on after {' and '.join(told)}", highlight=False)
        self._phase_shown = self._phase()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _show(self) -> None:
        # A storage that is gone for good ends the study itself, with a word of its own.
        with suppress(StudyError):
            self._show_on()

    def _show_on(self) -> None:
        if self.console.is_terminal:
            with Live(console=self.console, refresh_per_second=4, transient=False) as live:
                while not self._stop.wait(_REFRESH_SECONDS):
                    live.update(self._table())
                live.update(self._table())
            return
        last = 0.0
        while not self._stop.wait(_REFRESH_SECONDS):
            elapsed = self._elapsed()
            pause = min(_LAST_LINES_SECONDS, max(_FIRST_LINES_SECONDS, elapsed / 20))
            if elapsed - last >= pause or self._phase() != self._phase_shown:
                last = elapsed
                self._print_lines()
        self._print_lines()

    def _elapsed(self) -> float:
        return time.monotonic() - self._started

    def _print_lines(self) -> None:
        self._phase_shown = self._phase()
        for name, *cells in self._rows():
            line = ", ".join(filter(None, cells))
            if self._printed.get(name) != line:
                self._printed[name] = line
                self.console.print(f"{name}: {line}", highlight=False)

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for column in ("", "done", "running", "best"):
            table.add_column(column)
        for row in self._rows():
            table.add_row(*row)
        return table

    def _phase(self) -> str:
        """The part of the study that runs now."""
        for arm in self.study.arms:
            if sum(map(counts, self.study.arm_trials(arm))) < self.study.trials:
                return arm
        return _FINALS if self._final_seconds("test") == [] else "tests"

    def _rows(self) -> list[tuple[str, str, str, str]]:
        trials = {arm: self.study.arm_trials(arm) for arm in self.study.arms}
        rows = [self._arm_row(arm, each) for arm, each in trials.items()]
        seconds = self._final_seconds("train")
        searched = all(sum(map(counts, each)) >= self.study.trials for each in trials.values())
        expected = self._expected_finals(trials, searched)
        if searched:
            rows.append((_FINALS, f"{len(seconds)} of {expected} done", "", ""))
        tested = len(self._final_seconds("test"))
        if tested:
            rows.append(("tests", f"{tested} done", "", ""))
        left = seconds_left(
            trials, self.study.trials, seconds, max(0, expected - len(seconds)), self._longer(), self.study.workers
        )
        told = "" if left is None or left < 1 else f"about {clock(left)} left"
        rows.append(("in all", clock(self._elapsed()), "; ".join(pulses(self.study.folder)), told))
        return rows

    def _expected_finals(self, trials: dict[str, list[FrozenTrial]], searched: bool) -> int:
        """How many final trainings there are in the end: for certain once all trials have ended."""
        if searched:
            return len({contender.key for contender in self.study.finals.contenders}) * self.study.seeds
        finalists = min(self.study.finalists, self.study.trials)
        return (len(trials) * finalists + len(self.study.references)) * self.study.seeds

    def _final_seconds(self, stage: str) -> list[float]:
        """How long each final training (`train`) or test took that has ended."""
        seconds = []
        for path in self.study.folder.path.glob(f"contenders/*/*-{stage}.json"):
            with suppress(OSError, ValueError):
                seconds.append(float(json.loads(path.read_text("utf-8")).get("seconds", 0.0)))
        return seconds

    def _longer(self) -> float:
        """How many times as long a final training is as a trial, by their epochs."""
        epochs = self.study.trainer.get("max_epochs")
        if self.study.trial_epochs is None or not isinstance(epochs, int) or epochs < 1:
            return 1.0
        return epochs / self.study.trial_epochs

    def _arm_row(self, arm: str, trials: list[FrozenTrial]) -> tuple[str, str, str, str]:
        self._show_failures(arm, trials)
        outcomes = Counter(map(outcome, trials))
        aside = [f"{outcomes[name]} {name}" for name in _ASIDE if outcomes[name]]
        done = f"{sum(map(counts, trials))} of {self.study.trials} done" + (f" ({', '.join(aside)})" if aside else "")
        values = [trial.values[0] for trial in trials if outcome(trial) == "completed"]
        finite = [value for value in values if math.isfinite(value)]
        best = (min if self.study.direction == "minimize" else max)(finite, default=None)
        what = self.study.monitor if self.study.goal.reward is None else "reward"
        return (
            arm,
            done,
            f"{outcomes['running']} running" if outcomes["running"] else "",
            f"best {what} {best:.4f}" if best is not None else "",
        )

    def _show_failures(self, arm: str, trials: list[FrozenTrial]) -> None:
        for trial in trials:
            if "failure" in trial.user_attrs and (arm, trial.number) not in self._shown_failures:
                self._shown_failures.add((arm, trial.number))
                lines = str(trial.user_attrs.get("traceback", "")).splitlines()[-_TRACEBACK_LINES:]
                self.console.print(f"trial {trial.number} of {arm} failed:", *lines, sep="\n  ", markup=False)
