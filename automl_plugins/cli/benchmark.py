"""`automl-plugins benchmark`: judge samplers on tables of trained architectures."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import optuna

from automl_plugins.cli.checks import check_keys, convert
from automl_plugins.cli.console import output
from automl_plugins.cli.errors import UsageError, told_briefly
from automl_plugins.cli.plugins import check_part
from automl_plugins.cli.settings import Given, plain, read
from automl_plugins.report.judgement import judgement_figure, judgement_table
from automl_plugins.studies.optuna_parts import sampler_factory
from automl_plugins.system.nearest import did_you_mean
from automl_plugins.tables import nas_bench_201, nas_bench_graph, transnas_bench_101
from automl_plugins.tables.judge import judge
from automl_plugins.tables.table import Table

_TABLES: dict[str, tuple[Callable[..., Table], float]] = {
    "nas-bench-graph": (nas_bench_graph, 100.0),
    "nas-bench-201": (nas_bench_201, 1.0),
    "transnas-bench-101": (transnas_bench_101, 1.0),
}
_KEYS = ("data", "sampler", "budget", "seeds", "seed", "folder", "figure")


def run(arguments: list[str], command: str = "benchmark") -> int:
    """Run the command.

    Args:
        arguments: what follows it.
        command: its name.

    Returns:
        The exit code.

    Raises:
        UsageError: a mistake in the arguments, or a table that is not there.
    """
    given = read(arguments, switches=("help",), targets=1)
    console = output()
    check_keys(given.settings, _KEYS)
    table, scale, figure = _table(given)
    budget = _at_least(given, "budget", 400, 1)
    seed = _at_least(given, "seed", 0, 0)
    seeds = range(seed, seed + _at_least(given, "seeds", 30, 1))
    makers = {"RandomSampler": sampler_factory("RandomSampler")}
    for config in _samplers(given):
        with told_briefly("sampler", 2, ValueError, TypeError):
            name = config if isinstance(config, str) else str(config["class_path"])
            makers.setdefault(name, sampler_factory(config, table.space))
    # Optuna tells of every study and trial.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    judgements = [judge(table, name, partial(factory, ordinal=0), budget, seeds) for name, factory in makers.items()]
    console.print(judgement_table(judgements, scale))
    if figure is not None:
        with told_briefly("figure", 1, OSError, ValueError, ImportError):
            judgement_figure(judgements, figure, scale)
        console.out(f"kept: {figure}", highlight=False)
    return 0


def _table(given: Given) -> tuple[Table, float, Path | None]:
    if not given.targets:
        raise UsageError(f"name a table: {', '.join(_TABLES)}")
    name = given.targets[0]
    if name not in _TABLES:
        raise UsageError(f"there is no table {name!r}; {did_you_mean(name, _TABLES)}")
    read_table, scale = _TABLES[name]
    arguments: dict[str, Any] = {"folder": plain(given.settings.get("folder"))}
    default = next(iter(inspect.signature(read_table).parameters.values())).default
    data = str(given.settings.get("data", default))
    with told_briefly("data", 2, ValueError), told_briefly("folder", 1, FileNotFoundError):
        table = read_table(data, **arguments)
    figure = plain(given.settings.get("figure", f"runs/benchmark/{name}-{data}.png"))
    return table, scale, None if figure is None else Path(str(figure))


def _at_least(given: Given, key: str, default: int, least: int) -> int:
    value: int = convert(key, given.settings.get(key, default), int)
    if value < least:
        raise UsageError(f"{key} is at least {least}; got {value}")
    return value


def _samplers(given: Given) -> list[Any]:
    value = plain(given.settings.get("sampler", "evolution"))
    return [check_part("sampler", each) for each in (value if isinstance(value, list) else [value])]
