"""The share of asked architectures that can be trained under limits that one random network in a hundred keeps.

python benchmarks/limits.py [--spaces agnn auto-deeplab] [--asked 20] [--draws 400] [--results FILE]

Each sampler is asked by an Optuna study whose trials cost nothing: their value is a smooth function of the choices. The
limits are of parameters, multiply-accumulates and activations together, each the same share of its median over random
draws. Beside the shares: the seconds of `within`, and how many asks it took until ten trials could be trained.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from rich.console import Console
from rich.table import Table

from automl_plugins import Architecture, SearchSpace, Task, registry
from automl_plugins.samplers import (
    ControllerSampler,
    EvolutionSampler,
    PredictorSampler,
    PriorBandSampler,
    ReinforceSampler,
)
from automl_plugins.spaces.budget import COUNTED, Budget
from automl_plugins.spaces.limits import REFERENCES, budget_of
from gnn_space import AGNNSpace, EGNASSpace
from seg_space import AutoDeepLabSpace, SmpSpace

TEN = 10
SPACES: dict[str, tuple[Callable[[], SearchSpace], Task]] = {
    "agnn": (partial(AGNNSpace, layers=2), Task("graph", "regression", 9, 1, edge_channels=3)),
    "auto-deeplab": (partial(AutoDeepLabSpace, layers=4, blocks=2, filters=4), Task("pixel", "classes", 3, 4)),
    "egnas": (
        partial(EGNASSpace, cells=2, nodes=2, node_channels=24, edge_channels=12),
        Task("graph", "regression", 9, 1, edge_channels=3),
    ),
    "smp": (SmpSpace, Task("pixel", "classes", 3, 4)),
    "gnn-plus": (
        lambda: registry.load("spaces", "gnn-plus")(),
        Task("graph", "regression", 9, 1, edge_channels=3),
    ),
}
OURS: dict[str, Callable[..., BaseSampler]] = {
    "evolution": partial(EvolutionSampler, population=10, tournament=3),
    "controller": ControllerSampler,
    "reinforce": ReinforceSampler,
    "predictor": partial(PredictorSampler, startup=10),
    "priorband": PriorBandSampler,
}
OPTUNAS: dict[str, Callable[..., BaseSampler]] = {
    "TPESampler": TPESampler,
    "RandomSampler": RandomSampler,
    "NSGAIISampler, population 10": partial(NSGAIISampler, population_size=10),
}


def one_percent(space: SearchSpace, task: Task, draws: int) -> tuple[dict[str, float], float]:
    """Limits that one of a hundred random draws keeps, and the share of the draws that does.

    Args:
        space: whole.
        task: what networks must fit.
        draws: how many are counted.
    """
    unlimited = {**dict.fromkeys(COUNTED, 1e18), REFERENCES: None}
    budget: Budget = budget_of(space, task, unlimited)
    generator = np.random.default_rng(0)
    counted = [budget.figures(space.sample(generator)) for _ in range(draws)]
    figures = np.array([[each[name] for name in COUNTED] for each in counted], dtype=np.float64)
    median = np.median(figures, axis=0)
    share = np.quantile((figures / median).max(axis=1), 0.01, method="higher")
    kept = ((figures / median).max(axis=1) <= share).mean()
    return {name: float(np.ceil(share * each)) for name, each in zip(COUNTED, median, strict=True)}, float(kept)


def worth(space: SearchSpace, architecture: Architecture) -> float:
    """A value that choices share in, and that is better for larger options: a search pulls at the limits."""
    places = [choice.index(architecture[choice.name]) for choice in space.choices if choice.name in architecture]
    return float(np.mean(places))


def asked(space: SearchSpace, sampler: BaseSampler, count: int) -> list[bool]:
    """For each trial that a sampler is asked for: whether it could be trained."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(lambda trial: worth(space.whole, space.suggest(trial)), n_trials=count)
    return ["refused" not in trial.user_attrs for trial in study.trials]


def measure(name: str, count: int, draws: int) -> Iterator[dict[str, Any]]:
    """A record for the narrowing, for `sample`, and for each sampler."""
    make, task = SPACES[name]
    whole = make()
    limits, kept = one_percent(whole, task, draws)
    before = time.process_time()
    space = whole.within(task, limits)
    seconds = time.process_time() - before
    offered = [sum(len(choice.options) for choice in each.choices) for each in (whole, space)]
    yield {"space": name, "limits": limits, "kept": kept, "within_s": round(seconds, 2), "options": offered}
    truth = budget_of(whole, task, {**limits, REFERENCES: None})
    generator = np.random.default_rng(1)
    drawn = [truth.admits(space.sample(generator)) for _ in range(count)]
    yield _record(name, "sample", drawn)
    for label, sampler in (*OURS.items(), *OPTUNAS.items()):
        arguments = {"space": space} if label in OURS else {}
        yield _record(name, label, asked(space, sampler(seed=0, **arguments), count))


def _record(space: str, sampler: str, trained: list[bool]) -> dict[str, Any]:
    enough = np.flatnonzero(np.cumsum(trained) >= TEN)
    return {
        "space": space,
        "sampler": sampler,
        "first_ten": sum(trained[:TEN]),
        "trained": sum(trained),
        "asked": len(trained),
        "asks_for_ten": int(enough[0]) + 1 if len(enough) else None,
    }


def main() -> None:
    """Measure, print a table, and append the records to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [name for name in SPACES if name in registry.names("spaces")]
    parser.add_argument("--spaces", nargs="+", choices=known, default=known)
    parser.add_argument("--asked", type=int, default=20)
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    console = Console()
    for name in arguments.spaces:
        records = []
        for record in measure(name, arguments.asked, arguments.draws):
            records.append(record)
            if arguments.results is not None:
                arguments.results.parent.mkdir(parents=True, exist_ok=True)
                with arguments.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")
        first, *rest = records
        console.print(
            f"{name}: limits that {first['kept']:.1%} of {arguments.draws:,} random networks keep; within() took "
            f"{first['within_s']} CPU s and left {first['options'][1]} of {first['options'][0]} options"
        )
        table = Table("asked of", "trainable of the first 10", f"of {arguments.asked}", "asks for ten trained")
        for each in rest:
            enough = each["asks_for_ten"]
            table.add_row(each["sampler"], str(each["first_ten"]), str(each["trained"]), str(enough or "more"))
        console.print(table)


if __name__ == "__main__":
    main()
