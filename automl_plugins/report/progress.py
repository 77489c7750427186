"""A study's progress, as a live line in a terminal and as plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.live import Live
from rich.table import Table

from automl_plugins.trial_queue import counts

if TYPE_CHECKING:
    from automl_plugins.study import Study

_REFRESH_SECONDS = 1.0
_LINE_SECONDS = 15.0
_TRACEBACK_LINES = 12


class Progress:
    """Show, while the block runs: trials done and running, the best so far, failures, the time left.

    It reads the storage and the result files, so it sees all workers alike and slows none down.

    Args:
        study: the study that runs.
        console: where to; standard error where left out.
    """

    def __init__(self, study: Study, console: Console | None = None) -> None:
        self.study = study
        self.console = console or Console(stderr=True)
        self._started = time.monotonic()
        self._already: dict[str, int] = {}
        self._shown_failures: set[tuple[str, int]] = set()
        self._printed: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)

    def __enter__(self) -> Progress:
        for arm in self.study.arms:
            trials = self.study.arm_trials(arm)
            self._already[arm] = sum(map(counts, trials))
            self._shown_failures |= {(arm, trial.number) for trial in trials if "failure" in trial.user_attrs}
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _show(self) -> None:
        if self.console.is_terminal:
            with Live(console=self.console, refresh_per_second=4, transient=False) as live:
                while not self._stop.wait(_REFRESH_SECONDS):
                    live.update(self._table())
                live.update(self._table())
            return
        while not self._stop.wait(_LINE_SECONDS):
            self._print_lines()
        self._print_lines()

    def _print_lines(self) -> None:
        for name, *cells in self._rows():
            line = ", ".join(filter(None, cells))
            if self._printed.get(name) != line:
                self._printed[name] = line
                self.console.print(f"{name}: {line}", highlight=False)

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for column in ("", "done", "running", "best", "time left"):
            table.add_column(column)
        for row in self._rows():
            table.add_row(*row)
        return table

    def _rows(self) -> list[tuple[str, str, str, str, str]]:
        rows = [self._arm_row(arm, self.study.arm_trials(arm)) for arm in self.study.arms]
        trained = len(list(self.study.folder.path.glob("contenders/*/*-train.json")))
        if trained:
            expected = (len(self.study.arms) * self.study.finalists + len(self.study.references)) * self.study.seeds
            rows.append(("final trainings", f"{trained} of {expected} done", "", "", ""))
        return rows

    def _arm_row(self, arm: str, trials: list[FrozenTrial]) -> tuple[str, str, str, str, str]:
        self._show_failures(arm, trials)
        done = sum(map(counts, trials))
        running = sum(trial.state is TrialState.RUNNING for trial in trials)
        values = [trial.values[0] for trial in trials if trial.state is TrialState.COMPLETE]
        best = (min if self.study.direction == "minimize" else max)(values, default=None)
        what = self.study.monitor if self.study.goal.reward is None else "reward"
        return (
            arm,
            f"{done} of {self.study.trials} done",
            f"{running} running" if running else "",
            f"best {what} {best:.4f}" if best is not None else "",
            self._time_left(arm, trials, done),
        )

    def _time_left(self, arm: str, trials: list[FrozenTrial], done: int) -> str:
        left = self.study.trials - done
        seconds = [trial.user_attrs["seconds"] for trial in trials if "seconds" in trial.user_attrs]
        if left <= 0 or not seconds or done == self._already.get(arm, 0):
            return ""
        minutes, rest = divmod(int(left * sum(seconds) / len(seconds) / self.study.workers), 60)
        return f"about {minutes}:{rest:02d} left"

    def _show_failures(self, arm: str, trials: list[FrozenTrial]) -> None:
        for trial in trials:
            if "failure" in trial.user_attrs and (arm, trial.number) not in self._shown_failures:
                self._shown_failures.add((arm, trial.number))
                lines = str(trial.user_attrs.get("traceback", "")).splitlines()[-_TRACEBACK_LINES:]
                self.console.print(f"trial {trial.number} of {arm} failed:", *lines, sep="\n  ", markup=False)
