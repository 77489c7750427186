"""`automl-plugins evaluate RUN -- python train.py`: what was found beside the script's own network and random ones."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import join
from typing import Any

import numpy as np
from rich.table import Table

from automl_plugins.cli.attach import REPLACED, check_call, check_script, launch
from automl_plugins.cli.commands import over_run
from automl_plugins.cli.console import output
from automl_plugins.cli.errors import INTERRUPTED, UsageError, say, told_briefly
from automl_plugins.cli.network_file import UNREADABLE, NetworkFile, network_at
from automl_plugins.cli.parser import Settings
from automl_plugins.cli.settings import Given
from automl_plugins.report.search import SearchSummary
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.studies.evaluation import MOST_RANDOM
from automl_plugins.system.arguments import at_least
from automl_plugins.system.files import write_whole
from automl_plugins.system.finite import finite, spread, strict_json

_UNKNOWN_COST = 3
"""Random architectures where it is not known what the search has cost."""


def evaluate_script(given: Given, command: str) -> int:
    """Run the script with each network, print the table, and return the exit code.

    Raises:
        UsageError: a mistake in the arguments, or the script ended with an error or without a training.
    """
    found = network_at(given.targets[0], key="")
    given = found.under(over_run("attach", given, found.run.config))
    check_script(given)
    kinds: dict[str, Any] = {"random": int | None, "folder": str | None, "monitor": str | None, "direction": str | None}
    settings = Settings(given, ("space", "part of a task"), **kinds, **REPLACED)
    space = settings.make("space")
    found.contender(space)
    check_call(space, settings["call"])
    folder = Path(settings["folder"] or found.run.evaluation.path)
    folder.mkdir(parents=True, exist_ok=True)
    shared = {"space": settings.plain["space"], "task": settings.part_of_a_task()}
    shared |= {key: settings.plain[key] for key in REPLACED}
    runs = _Runs(folder, given.script, shared, command)
    records = {"the script's own": runs.record("own", None), "found": runs.record("found", found.path.absolute())}
    count = settings["random"]
    if count is None:
        count = _as_many_as_the_search(found, records["found"]["seconds"])
    with told_briefly("", 2, ValueError):
        count = at_least("random", count, 0, most=MOST_RANDOM)
    for number in range(1, count + 1):
        records[f"random {number}"] = runs.record(f"random{number}", _drawn(space, folder, number))
    monitor, direction = _judged_by(settings, records["the script's own"])
    write_whole(folder / "evaluation.json", strict_json({"monitor": monitor, "direction": direction, "runs": records}))
    output().print(_table(records, monitor, direction))
    output().out(f"kept: {folder}", highlight=False)
    return 0


@dataclass(frozen=True)
class _Runs:
    """The runs of a script, each kept in a file, so that the same command goes on."""

    folder: Path
    script: tuple[str, ...]
    shared: Mapping[str, Any]
    command: str

    def record(self, name: str, architecture: Path | None) -> dict[str, Any]:
        """The record of the script with a network; None: with its own."""
        path = self.folder.absolute() / f"{name}.record.json"
        if not path.is_file():
            say(f"{name}: {join(self.script)}", self.command)
            replaced = {} if architecture is None else {"architecture": str(architecture)}
            code = launch(self.script, {**self.shared, **replaced, "record": str(path)})
            if code == INTERRUPTED:
                raise UsageError("stopped; the same command goes on from here", code=code)
            if code != 0 or not path.is_file():
                how = f"ended with the exit code {code}" if code else "ran no training of Lightning's"
                raise UsageError(f"{join(self.script)} {how}, with the network {name}", code=code or 1)
        with told_briefly(str(path), 2, *UNREADABLE):
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return record


def _as_many_as_the_search(found: NetworkFile, seconds: float) -> int:
    """The number of trainings that cost the time of the search."""
    if not found.run.search.is_file():
        return _UNKNOWN_COST
    with told_briefly(str(found.run.search), 2, *UNREADABLE):
        cost = SearchSummary.from_json(found.run.search.read_text(encoding="utf-8")).seconds
    return max(1, math.ceil(cost / max(seconds, 1e-9)))


def _drawn(space: SearchSpace, folder: Path, number: int) -> Path:
    """The file of a random architecture."""
    path = folder.absolute() / f"random{number}.json"
    write_whole(path, space.sample(np.random.default_rng(number)).to_json())
    return path


def _judged_by(settings: Settings, own: Mapping[str, Any]) -> tuple[str, str]:
    """The metric, and its direction: as asked for, else that of the script's ModelCheckpoint."""
    monitor = settings["monitor"] or own["monitor"]
    direction = settings["direction"] or (own["direction"] if monitor == own["monitor"] else None)
    if monitor not in own["metrics"]:
        raise UsageError(f"monitor={monitor!r}: the script logs {', '.join(own['metrics']) or 'no metric'}")
    if direction not in ("minimize", "maximize"):
        raise UsageError(f"direction={direction!r} of {monitor}: it is minimize or maximize")
    return str(monitor), str(direction)


def _table(records: Mapping[str, Mapping[str, Any]], monitor: str, direction: str) -> Table:
    """The runs, the best first."""

    def rank(name: str) -> float:
        value = finite(records[name]["metrics"].get(monitor))
        return math.inf if value is None else value if direction == "minimize" else -value

    table = Table(title=f"{monitor}, {direction}d, in the script")
    others = [name for name in records["the script's own"]["metrics"] if name.startswith("test") and name != monitor]
    for column in ("network", "parameters", monitor, *others, "seconds"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for name in sorted(records, key=rank):
        record = records[name]
        values = (spread(finite(record["metrics"].get(column)), None) for column in (monitor, *others))
        table.add_row(name, f"{record['parameters']:,}", *values, f"{record['seconds']:.1f}")
    return table
