"""A step of GNN+'s supernet beside its networks', and beside AGNN's.

    python benchmarks/gnn_plus_step.py            a batch of molecules (graph level, with edge features)
    python benchmarks/gnn_plus_step.py --cora     Cora (node level, without), features in CSR layout

A step is a forward and a backward pass to the weights in training mode. Times are processor seconds, the least of
several runs, in turn in one process, one thread. Peak memory is what a forked copy of this process adds to its resident
memory. A mixture has soft gates of equal size, all options open; a path one-hot gates. The network beside a mixture is
the dearest reference.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import least, peak
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from automl_plugins import Architecture, Task
from automl_plugins.supernets.gates import option_mask
from automl_plugins.supernets.space import SupernetSpace
from gnn_space import AGNNSpace, GNNPlusSpace
from gnn_space.data.molecules import SmilesTable
from gnn_space.data.npz import NpzGraphData

DATA = Path(os.environ.get("AUTOML_PLUGINS_DATA", "../shared/data"))


def step(module: nn.Module, inputs: tuple[Any, ...], **options: Any) -> Callable[[], None]:
    """A forward and a backward pass."""
    module.train()

    def run() -> None:
        module.zero_grad()
        module(*inputs, **options).square().mean().backward()

    return run


def uniform(space: SupernetSpace) -> dict[str, Tensor]:
    """Equal gates for all options."""
    mask = option_mask(space.gate_choices).float()
    rows = mask / mask.sum(dim=1, keepdim=True)
    return {choice.name: row[: len(choice.options)] for choice, row in zip(space.gate_choices, rows, strict=True)}


def batch(cora: bool) -> tuple[tuple[Any, ...], Task]:
    """The arguments of a forward pass, and the task."""
    if cora:
        data = NpzGraphData(DATA / "graph/cora.npz")
        graph = data.loaded.graph
        x = graph.x if graph.x.layout == torch.sparse_csr else graph.x.to_sparse_csr()
        return (x, graph.edge_index), data.task
    table = SmilesTable(DATA / "graph/molecules/esol.csv", "smiles", "logSolubility", batch_size=128)
    table.setup("fit")
    graphs = next(iter(table.train_dataloader()))
    return (graphs.x, graphs.edge_index, graphs.edge_attr, graphs.batch, graphs.num_graphs), table.task


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cora", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    inputs, task = batch(arguments.cora)
    space = GNNPlusSpace()
    supernet = space.supernet(task)
    agnn = AGNNSpace(layers=4, hidden_channels=(4, 8, 16), heads=(2, 4, 8))

    def dearest(known: dict[str, Architecture]) -> nn.Module:
        networks = {name: space.network(each, task) for name, each in known.items()}
        # Twice: the first run of a kind pays for what torch sets up.
        seconds = least(2, **{name: step(each, inputs) for name, each in networks.items()})
        return networks[max(seconds, key=lambda name: seconds[name])]

    steps = {
        "network": step(dearest(space.references(task)), inputs),
        "mixture": step(supernet, inputs, gates=uniform(space)),
        "AGNN's mixture": step(agnn.supernet(task), inputs, gates=uniform(agnn)),
    }
    memory = {name: peak(each) for name, each in steps.items()}
    seconds = least(arguments.runs, **steps)
    table = Table("step", "CPU s", "of the network's", "peak MiB", "of the network's")
    for name in steps:
        ratios = seconds[name] / seconds["network"], memory[name] / max(memory["network"], 1.0)
        table.add_row(name, f"{seconds[name]:.3f}", f"{ratios[0]:.1f}", f"{memory[name]:.0f}", f"{ratios[1]:.1f}")
    Console(width=120).print(table)
    table = Table("single path", "supernet, CPU s", "derived network, CPU s", "ratio")
    generator, offered = np.random.default_rng(0), space.within(task)
    paths = {**space.references(task), **{f"draw {number}": offered.sample(generator) for number in range(4)}}
    for name, architecture in paths.items():
        network = space.inherited(supernet.train(), architecture, task)
        path = step(supernet, inputs, gates=space.gates(architecture))
        took = least(arguments.runs, path=path, network=step(network, inputs))
        table.add_row(name, f"{took['path']:.4f}", f"{took['network']:.4f}", f"{took['path'] / took['network']:.2f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
