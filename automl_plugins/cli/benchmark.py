"""Judge samplers on tables of architectures that have all been trained.

usage: automl-plugins benchmark <table> [--data D] [--sampler S] [--budget 400] [--seeds 30] [--figure F.png]

Search a table of architectures that have all been trained, by validation score alone, and see how far the
search is from the best of all. Only architectures that are new to a search count.

table: {tables}

options:
  --data D              of the table: a graph (arxiv), an image set (cifar10), a task (segmentsemantic)
  --sampler S           a sampler, or [several, of, them]; random search always stands beside them (evolution);
                        its arguments follow: --sampler.population 50
  --budget N            how many look-ups (400)
  --seeds N             how many searches (30), with the seeds --seed (0) and the following
  --folder F            the folder with tables/ (that of AUTOML_PLUGINS_DATA; nas-bench-graph is also
                        read from the package of that name)
  --figure F.png        best-so-far over look-ups (runs/benchmark/<table>-<data>.png; null: none)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna

from automl_plugins.cli.classes import KINDS
from automl_plugins.cli.console import output
from automl_plugins.cli.errors import told_briefly
from automl_plugins.cli.look import over
from automl_plugins.cli.parser import Settings
from automl_plugins.cli.settings import Given, Item
from automl_plugins.report.judgement import judgement_figure, judgement_table
from automl_plugins.studies.optuna_parts import sampler_factory
from automl_plugins.system.arguments import at_least
from automl_plugins.tables import nas_bench_201, nas_bench_graph, transnas_bench_101
from automl_plugins.tables.judge import judge
from automl_plugins.tables.table import Table

_TABLES: dict[str, tuple[Callable[..., Table], float]] = {
    "nas-bench-graph": (nas_bench_graph, 100.0),
    "nas-bench-201": (nas_bench_201, 1.0),
    "transnas-bench-101": (transnas_bench_101, 1.0),
}


def run(given: Given, command: str) -> int:
    """Run the command, see `automl_plugins.cli.commands.Command`."""
    name = given.targets[0]
    read_table, scale = _TABLES[name]
    default = next(iter(inspect.signature(read_table).parameters.values())).default
    several = given.get("sampler")
    counts, texts = {"budget": 400, "seeds": 30, "seed": 0}, ("data", "folder", "figure")
    kinds: dict[str, Any] = dict.fromkeys(counts, int) | dict.fromkeys(texts, str | None)
    with_counts = replace(given, items=(Item("", counts), *given.items))
    settings = Settings(with_counts.without("sampler"), (), **kinds)
    if isinstance(several, list):
        samplers = [Settings(over({"sampler": each}), ("sampler",)) for each in several]
    else:
        samplers = [Settings(over({"sampler": "evolution"}, given.without(*kinds)), ("sampler",))]
    with told_briefly("", 2, ValueError):
        budget, seed = at_least("budget", settings["budget"], 1), at_least("seed", settings["seed"], 0)
        seeds = range(seed, seed + at_least("seeds", settings["seeds"], 1))
    data = settings["data"] or default
    with told_briefly("data", 2, ValueError), told_briefly("folder", 1, FileNotFoundError):
        table = read_table(data, folder=settings["folder"])
    makers = {"RandomSampler": sampler_factory("RandomSampler")}
    with told_briefly("sampler", 2, ValueError, TypeError):
        for config in (each.plain["sampler"] for each in samplers):
            label = config if isinstance(config, str) else KINDS["sampler"].short(config["class_path"])
            makers.setdefault(label, sampler_factory(config, table.space))
    # Optuna tells of every study and trial.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    judgements = [judge(table, label, partial(make, ordinal=0), budget, seeds) for label, make in makers.items()]
    output().print(judgement_table(judgements, scale))
    figure = settings["figure"] if "figure" in given else f"runs/benchmark/{name}-{data}.png"
    if figure is not None:
        with told_briefly("figure", 1, OSError, ValueError, ImportError):
            judgement_figure(judgements, Path(figure), scale)
        output().out(f"kept: {figure}", highlight=False)
    return 0
