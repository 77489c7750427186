"""The page of several runs: their finals, their curves together, and what differs between them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from automl_plugins.report.page.curves import best_so_far, curves_drawing
from automl_plugins.report.page.finals import Finals, finals_drawing, finals_table
from automl_plugins.report.page.page import Block, Code, Drawings, Page, Section, Table, Text
from automl_plugins.report.summary import Summary
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.studies.kept_run import KeptRun
from automl_plugins.studies.run_page import standing_of
from automl_plugins.studies.storage import without_password
from automl_plugins.studies.versions import versions_text

_OF_THE_PLACE = ("folder", "storage", "workers")
"""Settings that differ between any two runs, and say nothing."""
_ABSENT = "—"


def compared_page(runs: Sequence[KeptRun]) -> Page:
    """The page of several runs.

    Args:
        runs: two at least.

    Raises:
        ValueError: they are judged by different metrics, or a file cannot be read.
        FormatError: another version wrote one.
        StorageError: trials cannot be read.
    """
    named = _named(runs)
    summaries = {name: found for name, run in named.items() if (found := _summary(run)) is not None}
    _refuse_other_metrics(summaries)
    sections = [
        Section("Final trainings", _finals(summaries)),
        Section("Best so far, over cost", _curves(named)),
        Section("Architectures", _architectures(named)),
        Section("Settings that differ", _settings(named)),
        Section("Verdicts", _verdicts(summaries)),
        Section("Configurations", [_configuration(name, run) for name, run in named.items()]),
    ]
    notices = [f"{name}: {told}" for name, run in named.items() if (told := standing_of(run))]
    notices += [f"{name} has no final trainings yet." for name in named if name not in summaries]
    title = f"{len(runs)} runs beside one another"
    return Page(title, ", ".join(named), sections, _lead(summaries), notices, versions_text())


def _named(runs: Sequence[KeptRun]) -> dict[str, KeptRun]:
    """The runs by the names of their folders; by their paths where two are called alike."""
    short = [run.folder.path.absolute().name for run in runs]
    names = short if len(set(short)) == len(short) else [str(run.folder.path) for run in runs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is named twice; name runs that differ")
    return dict(zip(names, runs, strict=True))


def _summary(run: KeptRun) -> Summary | None:
    """The run's final table, or that of its evaluation."""
    if run.summary is not None or run.evaluation is None:
        return run.summary
    return run.evaluation.summary


def _refuse_other_metrics(summaries: Mapping[str, Summary]) -> None:
    metrics = {name: (found.direction, found.monitor) for name, found in summaries.items()}
    first = next(iter(metrics.items()), None)
    other = next((each for each in metrics.items() if first is not None and each[1] != first[1]), None)
    if first is not None and other is not None:
        told = " and ".join(f"{name!r} by {direction[:-1]}ing {metric}" for name, (direction, metric) in (first, other))
        raise ValueError(f"the runs are judged by different metrics, {told}; compare runs of one metric")


def _together(summaries: Mapping[str, Summary]) -> Finals | None:
    """One table of all rows, each with the name of its run; the winner is the best of all by mean validation."""
    if not summaries:
        return None
    one = next(iter(summaries.values()))
    rows = [replace(row, label=f"{name}: {row.label}") for name, found in summaries.items() for row in found.rows]
    winners = {f"{name}: {found.winner}" for name, found in summaries.items() if found.winner is not None}
    best = [row for row in rows if row.label in winners and row.validation_mean is not None]
    sign = -1 if one.direction == "maximize" else 1
    winner = min(best, key=lambda row: sign * (row.validation_mean or 0.0)).label if best else None
    return Finals(rows, one.monitor, one.direction, winner)


def _lead(summaries: Mapping[str, Summary]) -> list[str]:
    whole = _together(summaries)
    if whole is None or whole.winner is None:
        return ["No run has final trainings with a finite score."]
    told = [f"The best by mean {whole.monitor} is that of {whole.winner}."]
    told.append("Runs of other data, budgets or seeds are not to be compared by their numbers: see what differs below.")
    return told


def _verdicts(summaries: Mapping[str, Summary]) -> list[Block]:
    told = [f"{name}: {line}" for name, found in summaries.items() for line in found.verdict]
    return [Text(told)] if told else []


def _finals(summaries: Mapping[str, Summary]) -> list[Block]:
    whole = _together(summaries)
    if whole is None:
        return []
    drawing = finals_drawing(whole)
    return [finals_table(whole), *([Drawings([drawing])] if drawing is not None else [])]


def _curves(named: Mapping[str, KeptRun]) -> list[Block]:
    """The curves of all searches, over a unit that they share; trials where they share none."""
    searched = {name: run for name, run in named.items() if run.arms.get("search")}
    if not searched:
        return []
    units = {run.summary.unit if run.summary is not None else "trials" for run in searched.values()}
    unit = units.pop() if len(units) == 1 else "trials"
    first = next(iter(searched.values()))
    # Rewards and metrics have no common axis.
    searched = {name: run for name, run in searched.items() if (run.metric == "reward") is (first.metric == "reward")}
    curves = {name: best_so_far(run.arms["search"], unit, run.maximizes) for name, run in searched.items()}
    drawing = curves_drawing(curves, unit, first.metric, first.maximizes)
    return [] if drawing is None else [Drawings([drawing])]


def _architectures(named: Mapping[str, KeptRun]) -> list[Block]:
    found: dict[str, Architecture] = {}
    for name, run in named.items():
        path = next(iter(run.architectures.values()), None)
        if path is not None:
            found[name] = run.architecture(path)
    spaces = {each.space for each in found.values()}
    if len(found) < 2 or len(spaces) > 1:
        why = "They are of different spaces." if len(spaces) > 1 else "Fewer than two runs have found one."
        return [Text([why]), *(Code(each.to_json(), f"choices of {name}") for name, each in found.items())]
    table = _differing({name: {key: _shown(value) for key, value in each.items()} for name, each in found.items()})
    return [Text(["The architectures are equal."]) if table is None else table]


def _settings(named: Mapping[str, KeptRun]) -> list[Block]:
    flat = {
        name: {key: without_password(value) for key, value in _flat("", run.config) if key not in _OF_THE_PLACE}
        for name, run in named.items()
    }
    table = _differing(flat)
    return [Text(["No setting differs."]) if table is None else table]


def _differing(columns: Mapping[str, Mapping[str, str]]) -> Table | None:
    """The rows in which columns differ; None where they do not."""
    keys = dict.fromkeys(key for each in columns.values() for key in each)
    rows = [[key, *(each.get(key, _ABSENT) for each in columns.values())] for key in keys]
    rows = [row for row in rows if len(set(row[1:])) > 1]
    return Table(["", *columns], rows) if rows else None


def _flat(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for name, part in value.items():
            # `class_path` and `init_args` stand between every two names, and say nothing.
            inner = key if name in ("init_args", "class_path") else f"{key}.{name}".lstrip(".")
            yield from _flat(inner, part)
    else:
        yield key, _shown(value)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _configuration(name: str, run: KeptRun) -> Code:
    return Code(without_password(run.folder.config.read_text("utf-8")), f"{name}: {run.folder.config}")
