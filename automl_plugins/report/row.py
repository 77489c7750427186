"""The lines of a final table."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from automl_plugins.objectives.contender import Contender, Tested, Trained
from automl_plugins.system.finite import finite, mean_and_deviation

Spread = tuple[float | None, float | None]
"""Mean and standard deviation; None where undefined, the deviation also where there is one value."""


@dataclass(frozen=True)
class Row:
    """A contender's line; means and standard deviations (of the sample) are over seeds.

    Args:
        label: what the table calls it.
        params: trainable parameters; None where the network could not be built.
        seeds: how many seeds were asked for.
        completed: how many of them ended with a finite validation score.
        validation_mean: of those; None where there is none.
        validation_deviation: likewise; None for a single one.
        test: of each test metric.
        cpu_seconds: of a training.
        found_by: `search`, `random search` or `hand`.
        folder: its trainings, within the run's folder.
        figures: its costs, by name.
        notes: what went wrong, a sentence each.
        settings: the training settings that were tuned for it.
    """

    label: str
    params: int | None
    seeds: int
    completed: int
    validation_mean: float | None
    validation_deviation: float | None
    test: Mapping[str, Spread]
    cpu_seconds: float | None
    found_by: str = ""
    folder: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str] = field(default_factory=list)
    settings: Mapping[str, Any] = field(default_factory=dict)


def row_of(
    contender: Contender,
    results: Mapping[int, Trained],
    tests: Mapping[int, Tested],
    label: str | None = None,
    figures: Mapping[str, float] | None = None,
) -> Row:
    """The line of a contender whose trainings have ended.

    Args:
        contender: whose line.
        results: of its trainings, by seed; at least one.
        tests: of its tests, by seed; those of trainings without a score are left out.
        label: what the table calls it, where it is not the contender's own label.
        figures: its costs.
    """
    tests = {seed: test for seed, test in tests.items() if results[seed].score is not None}
    mean, deviation = mean_and_deviation(result.score for result in results.values())
    metrics = dict.fromkeys(name for test in tests.values() for name in test.metrics)
    failures = {seed: result.failure for seed, result in results.items() if result.failure}
    told = _failed("", failures, len(results))
    told += _failed("test ", {seed: test.failure for seed, test in tests.items() if test.failure}, len(tests))
    spreads: dict[str, Spread] = {}
    for name in metrics:
        values = [test.metrics.get(name) for test in tests.values() if not test.failure]
        undefined = sum(value is None for value in values)
        # A mean without the seeds on which it is undefined would make a broken network look well.
        spreads[name] = (None, None) if undefined else mean_and_deviation(values)
        if undefined:
            told.append(f"{name} is undefined (not a number) on {undefined} of {len(values)} seeds")
    told += dict.fromkeys(result.note for result in results.values() if result.note)
    counts = [result.params for result in results.values() if result.params is not None]
    return Row(
        label=label or contender.label,
        params=counts[0] if counts else None,
        seeds=len(results),
        completed=len(results) - len(failures),
        validation_mean=mean,
        validation_deviation=deviation,
        test=spreads,
        cpu_seconds=statistics.fmean(result.cpu_seconds for result in results.values()),
        found_by=contender.found_by,
        folder=f"contenders/{contender.key}",
        figures=dict(figures or {}),
        notes=told,
        settings=dict(contender.settings),
    )


def settings_text(settings: Mapping[str, Any]) -> str:
    """Training settings for a person: `module.learning_rate=0.00317, data.batch_size=64`."""
    shown = {name: f"{value:.3g}" if isinstance(value, float) else value for name, value in settings.items()}
    return ", ".join(f"{name}={value}" for name, value in shown.items())


def _failed(what: str, failures: Mapping[int, str], seeds: int) -> list[str]:
    """A sentence for each kind of failure, with the seeds that it came on."""
    told = []
    for failure in dict.fromkeys(failures.values()):
        on = [seed for seed, each in failures.items() if each == failure]
        place = "" if len(on) == seeds else f" (seed {', '.join(map(str, on))} of {seeds} seeds)"
        told.append(f"{what}{failure}{place}")
    return told


def mean_row(label: str, rows: Sequence[Row]) -> Row:
    """The line of several networks together: means and deviations are over them, of each the mean over its seeds.

    Args:
        label: what the table calls them.
        rows: their own lines, at least one. Those without a validation score are left out and named.
    """
    worked = [row for row in rows if row.validation_mean is not None]
    mean, deviation = mean_and_deviation(row.validation_mean for row in worked)
    counts = [row.params for row in worked if row.params is not None]
    seconds = [finite(row.cpu_seconds) or 0.0 for row in rows]
    return Row(
        label=label,
        params=round(statistics.fmean(counts)) if counts else None,
        seeds=len(rows),
        completed=len(worked),
        validation_mean=mean,
        validation_deviation=deviation,
        test={name: _mean_of(worked, name) for name in dict.fromkeys(name for row in worked for name in row.test)},
        cpu_seconds=statistics.fmean(seconds),
        found_by="random search",
        notes=[f"without {row.label}: {note}" for row in rows if row.validation_mean is None for note in row.notes[:1]],
    )


def _mean_of(rows: Sequence[Row], name: str) -> Spread:
    values = [row.test.get(name, (None, None))[0] for row in rows]
    return (None, None) if None in values else mean_and_deviation(values)
