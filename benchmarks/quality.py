"""The base of the quality benchmarks: networks of one size, a search that is kept, and one table for all."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from torch import nn

from automl_plugins import Architecture, Project, Task
from automl_plugins.measures.latency import measure_latency
from automl_plugins.measures.macs import macs
from automl_plugins.objectives.contender import Contender
from automl_plugins.report.row import Row, mean_row
from automl_plugins.search import ArchitectureSearch
from automl_plugins.spaces.drawing import draw
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.studies.comparison import Comparison
from automl_plugins.studies.folder import RunFolder
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.system.files import write_whole
from automl_plugins.training import fit as training
from automl_plugins.training.fit import ModuleFactory
from automl_plugins.training.lightning import pl

# A step of one path costs less than half a step of the mixture: these search for twice as many epochs.
SINGLE_PATH = ("gdas", "random")


def widest(count: Callable[[int], int], budget: int) -> int:
    """The largest width whose number of parameters is within the budget."""
    channels = 1
    while count(channels + 1) <= budget:
        channels += 1
    return channels


class Budgeted(Comparison):
    """A comparison in which the network of every architecture has the width that a budget of parameters allows.

    Args:
        project: what is trained on what, with the space at width 1.
        seeds: of the trainings.
        space_of_width: the space at each width.
        reference: makes a hand-made network by its name, for a task.
        budget: the most parameters that an architecture's network has.
        others: further spaces by name, whose architectures are built as they are.
    """

    def __init__(
        self,
        project: Project,
        seeds: Sequence[int],
        space_of_width: Callable[[int], SupernetSpace],
        reference: Callable[[str, Task], nn.Module],
        budget: int,
        others: Mapping[str, SearchSpace] | None = None,
    ) -> None:
        super().__init__(project, seeds)
        self.space_of_width = space_of_width
        self.reference = reference
        self.budget = budget
        self.others = others or {}

    def build(self, contender: Contender) -> nn.Module:
        architecture, task = contender.architecture, self.project.task
        if architecture is None:
            return self.reference(str(contender.reference), task)
        if architecture.space in self.others:
            return self.others[architecture.space].network(architecture, task)
        width = widest(lambda each: self.space_of_width(each).num_parameters(architecture, task), self.budget)
        return self.space_of_width(width).network(architecture, task)


def search(
    kept: Path,
    space: SupernetSpace,
    module: ModuleFactory,
    data: Any,
    strategy: str,
    seed: int,
    options: dict[str, Any],
    **settings: Any,
) -> tuple[Architecture, float]:
    """Search once; the architecture, and the CPU seconds that it took.

    Args:
        kept: the file that keeps the result.
        space: what is searched.
        module: makes the LightningModule around the supernet.
        data: the datamodule; half of its training data teach the logits.
        strategy: of the search.
        seed: of everything.
        options: arguments of the Trainer.
        settings: further arguments of `ArchitectureSearch`.
    """
    if not kept.exists():
        data.setup("fit")
        with training.seeded(seed), training.quiet_lightning():
            searchable = space.searchable(data.task, seed=seed)
            callback = ArchitectureSearch(strategy, search_data="split", seed=seed, **settings)
            start = time.process_time()
            # Nothing is selected by validation here, so nothing is validated.
            trainer = pl.Trainer(**{**training.LEAN, **options, "limit_val_batches": 0, "callbacks": [callback]})
            trainer.fit(module(searchable, data.task), datamodule=data)
        content = {
            "architecture": json.loads(searchable.architecture().to_json()),
            "cpu_seconds": time.process_time() - start,
            "entropy": float(searchable.entropy()),
            "probabilities": {name: row.tolist() for name, row in searchable.probabilities().items()},
        }
        write_whole(kept, json.dumps(content, indent=2))
    content = json.loads(kept.read_text())
    return Architecture.from_json(json.dumps(content["architecture"])), content["cpu_seconds"]


def random_contenders(space: SupernetSpace, count: int) -> list[Contender]:
    """Random architectures, always the same ones."""
    generator = np.random.default_rng(0)
    return [Contender(f"random {number}", space.sample(generator)) for number in range(count)]


def compare(
    console: Console,
    comparison: Budgeted,
    searched: Sequence[Contender],
    search_seconds: Sequence[float],
    fixed: Sequence[Contender],
    random: Sequence[Contender],
    metric: str,
    title: str,
    inputs: Sequence[Any] = (),
) -> None:
    """Train all, choose by validation, test once, and print the table.

    Args:
        console: where it is printed.
        comparison: over all seeds; the random ones are trained on the first seed alone.
        searched: what the searches found.
        search_seconds: what each took, CPU seconds.
        fixed: the hand-made ones.
        random: the random ones.
        metric: the test metric of the table.
        title: of the table.
        inputs: the arguments of a network's `forward` that its multiply-accumulates and latency are of; none: the
            table is without them.
    """
    first = comparison.over(comparison.seeds[:1])
    _wait(first, random, "train")
    by_score = {first.trained(each)[0].score: each for each in random}
    best = by_score[(max if comparison.project.sign > 0 else min)(score for score in by_score if score is not None)]
    contenders = [*searched, *fixed, Contender("best random by validation", best.architecture)]
    _wait(comparison, contenders, "train")
    # The test set, once everything has been chosen.
    _wait(first, random, "test")
    _wait(comparison, contenders, "test")
    table = Table(title=title)
    costs = ("million MACs", "latency, ms") if inputs else ()
    for column in ("network", "parameters", *costs, comparison.project.monitor, metric, "CPU s a training"):
        table.add_column(column)
    for contender in contenders:
        label, parameters, *figures = _cells(comparison.row(contender), metric)
        table.add_row(label, parameters, *map(_whole, _costs(comparison.build(contender), inputs)), *figures)
    costs_of_random = [_costs(comparison.build(each), inputs) for each in random]
    mean = mean_row(f"mean of {len(random)} random ones", [first.row(each) for each in random])
    label, parameters, *figures = _cells(mean, metric)
    means = (_whole(statistics.fmean(column)) for column in zip(*costs_of_random, strict=True))
    table.add_row(label, parameters, *means, *figures)
    console.print(table)
    tests = sorted(first.row(each).test[metric][0] for each in random)
    console.print("random ones, test:", " ".join(f"{value:.4f}" for value in tests))
    for contender, seconds in zip(searched, search_seconds, strict=True):
        share = seconds / comparison.row(contender).cpu_seconds
        console.print(f"{contender.label}: the search took {share:.2f} of one training")
        console.print(draw(comparison.project.space.operations(contender.architecture)))


def _wait(comparison: Comparison, contenders: Sequence[Contender], stage: str) -> None:
    """Share the work with other processes until all of it is done."""
    while not (comparison.train(contenders) if stage == "train" else comparison.test(contenders)):
        time.sleep(2.0)


def _cells(row: Row, metric: str) -> tuple[str, ...]:
    mean, deviation = row.test[metric]
    return (
        row.label,
        f"{row.params:,}",
        f"{row.validation_mean:.4f} ± {row.validation_deviation:.4f}",
        f"{mean:.4f} ± {deviation:.4f}",
        f"{row.cpu_seconds:.0f}",
    )


def _costs(network: nn.Module, inputs: Sequence[Any]) -> tuple[float, ...]:
    """Millions of multiply-accumulates, and milliseconds of a forward pass; nothing without inputs."""
    return (macs(network, inputs) / 1e6, measure_latency(network, inputs).milliseconds) if inputs else ()


def _whole(number: float) -> str:
    return f"{number:,.0f}"


def kept_in(folder: Path) -> RunFolder:
    """The folder of a benchmark's results, made where there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    return RunFolder(folder)
