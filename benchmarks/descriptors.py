"""What features of whole molecules are worth: networks with none, RDKit's descriptors, Morgan counts, and both.

    python benchmarks/descriptors.py esol freesolv bbbp
    python benchmarks/descriptors.py esol --networks gated-gcn --report

Hand-made networks with their module's own settings, which read what the data bring at their readout. Only validation is
looked at, since it chooses what a table of molecules is read with where nothing is said. A training is a line in
benchmarks/results, so the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import race
import torch
from measuring import commit, cpu
from rich.console import Console
from rich.table import Table

from automl_plugins import registry
from automl_plugins.training import fit as training
from gnn_space.modules import GraphClassification, GraphRegression

STORE = Path(__file__).parent / "results" / "descriptors.jsonl"
KINDS: tuple[tuple[str, ...], ...] = ((), ("rdkit",), ("morgan",), ("rdkit", "morgan"))
SETS = ("esol", "freesolv", "bbbp")
NETWORKS = ("gin", "gated-gcn")


def trained(name: str, network: str, kinds: tuple[str, ...], seed: int) -> dict[str, Any]:
    """One training: its validation score after the last epoch, and what it took."""
    setting, began = race.SETTINGS[name], time.process_time()
    data = setting.data()
    data.descriptors = kinds
    data.prepare_data()
    data.setup("fit")
    kind = GraphRegression if data.task.target == "regression" else GraphClassification
    read = time.process_time()
    with training.seeded(seed):
        module = kind(registry.load("references", network)(data.task), data.task)
        options = {"max_epochs": setting.epochs, "accelerator": "cpu"}
        result = training.train(module, data, module.monitor, module.direction, options)
    return {
        "score": result.score,
        "reading_seconds": round(read - began, 2),
        "cpu_seconds": round(time.process_time() - read, 2),
    }


def lines() -> list[dict[str, Any]]:
    """The trainings that the store has."""
    return [json.loads(line) for line in STORE.read_text().splitlines()] if STORE.exists() else []


def table(every: list[dict[str, Any]]) -> Table:
    """A line for each data set and network: mean and standard deviation over seeds for each kind of features."""
    shown = Table(title="validation over seeds, and CPU seconds of a training")
    for column in ("data", "network", *(" and ".join(kinds) or "none" for kinds in KINDS)):
        shown.add_column(column)
    for name, network in dict.fromkeys((line["data"], line["network"]) for line in every):
        cells = []
        for kinds in KINDS:
            wanted = {"data": name, "network": network, "descriptors": list(kinds)}
            chosen = [line for line in every if all(line[key] == value for key, value in wanted.items())]
            scores = [line["score"] for line in chosen]
            seconds = np.mean([line["cpu_seconds"] for line in chosen]) if chosen else 0.0
            cells.append(f"{np.mean(scores):.3f} ± {np.std(scores):.3f}, {seconds:.0f} s" if chosen else "-")
        shown.add_row(name, network, *cells)
    return shown


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", default=list(SETS), help=f"of {', '.join(SETS)}, zinc-like")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--report", action="store_true", help="run nothing, print what is there")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    every = lines()
    asked = [(n, w, k, s) for s in range(options.seeds) for n in options.data for w in options.networks for k in KINDS]
    for name, network, kinds, seed in [] if options.report else asked:
        identity = {"data": name, "network": network, "descriptors": list(kinds), "seed": seed}
        if any(all(line[key] == value for key, value in identity.items()) for line in every):
            continue
        line = {**identity, **trained(name, network, kinds, seed), "commit": commit(), "cpu": cpu()}
        every.append(line)
        with STORE.open("a") as file:
            file.write(json.dumps(line) + "\n")
    Console(width=160).print(table(every))


if __name__ == "__main__":
    main()
