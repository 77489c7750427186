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
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import compared, least, paths_compared, step, uniform
from rich.console import Console
from torch import nn

from automl_plugins import Architecture, Task
from gnn_space import AGNNSpace, GNNPlusSpace
from gnn_space.data.molecules import SmilesTable
from gnn_space.data.npz import NpzGraphData

DATA = Path(os.environ.get("AUTOML_PLUGINS_DATA", "../shared/data"))


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
        "mixture, checkpointing": step(GNNPlusSpace(checkpointing=True).supernet(task), inputs, gates=uniform(space)),
        "AGNN's mixture": step(agnn.supernet(task), inputs, gates=uniform(agnn)),
    }
    console = Console(width=120)
    console.print(compared(steps, arguments.runs, "network"))
    generator, offered = np.random.default_rng(0), space.within(task)
    paths = {**space.references(task), **{f"draw {number}": offered.sample(generator) for number in range(4)}}
    console.print(paths_compared(space, supernet, paths, task, inputs, arguments.runs))


if __name__ == "__main__":
    main()
