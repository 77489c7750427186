"""Steps of graph networks by sparse products beside PyG's layers: processor time and peak memory, one thread.

    python benchmarks/aggregation.py                  all settings
    python benchmarks/aggregation.py blocks agnn      some: blocks, agnn, words, small

A step is a forward pass in training mode, a loss, a backward pass and Adam. Times are processor seconds, the least of
several runs, the forms in turn; memory is what a forked copy of this process adds to its resident memory in two steps,
a lower bound where the process has freed memory that the copy uses again.

- `blocks`: a block model of 10,000 nodes and 500,000 edges, 128 features; GCN, GAT and GraphSAGE of PyG's layers on an
  `edge_index`, and on a torch sparse adjacency where a layer takes one, beside ours.
- `agnn`: on the same graph, two layers of AGNN (6 heads of 64 channels, then 2 of 16) with each attention and each
  aggregation, and eight random architectures, beside our GCN.
- `words`: GraphSAGE on Cora's 1,433 columns and on a generated bag of words of 8,000, beside PyG's layer on the dense
  features and our GCN.
- `small`: a batch of ESOL and one of CLUSTER, beside PyG's layers; and AGNN's beside the form that makes messages.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from measuring import least, peak
from rich.console import Console
from torch import Tensor, nn
from torch_geometric import nn as pyg
from torch_geometric.utils import stochastic_blockmodel_graph, to_torch_csr_tensor

import gnn_space.aggregation
from automl_plugins import Task
from gnn_space import AGNNSpace, GATLayer, GCNLayer, GINLayer, SAGELayer
from gnn_space.agnn.network import AGNNNetwork
from gnn_space.agnn.sizes import LayerOptions
from gnn_space.data import ClusterData, NpzGraphData, SolubilityData
from gnn_space.operations import AGGREGATIONS, ATTENTIONS
from gnn_space.references import GAT, GCN, GIN, GraphSAGE

DATA = Path(os.environ.get("AUTOML_PLUGINS_DATA", "../shared/data"))
NODES, EDGES, CHANNELS, CLASSES = 10_000, 500_000, 128, 10


class OnEdges(nn.Module):
    """A layer of PyG in the place of one of ours; with an adjacency, on that."""

    def __init__(self, layer: nn.Module, adjacency: Tensor | None) -> None:
        super().__init__()
        self.layer, self.adjacency = layer, adjacency

    def forward(self, x: Tensor, edges: Any, edge_attr: Tensor | None = None) -> Tensor:
        edge_index = edges.edge_index if self.adjacency is None else self.adjacency
        x = x.to_dense() if x.layout == torch.sparse_csr and not isinstance(self.layer, pyg.GCNConv) else x
        return self.layer(x, edge_index) if edge_attr is None else self.layer(x, edge_index, edge_attr)


def of_pyg(network: nn.Module, adjacency: Tensor | None = None) -> nn.Module:
    """The network with PyG's layers in place of ours, the same weights."""
    layers = nn.ModuleList()
    for layer in network.layers:
        theirs = counterpart(layer)
        theirs.load_state_dict(layer.state_dict())
        layers.append(OnEdges(theirs, adjacency))
    network.layers = layers
    return network


def counterpart(layer: nn.Module) -> nn.Module:
    """PyG's layer for one of ours."""
    if isinstance(layer, GCNLayer):
        return pyg.GCNConv(layer.lin.in_features, layer.lin.out_features)
    if isinstance(layer, SAGELayer):
        return pyg.SAGEConv(layer.lin_l.in_features, layer.lin_l.out_features)
    if isinstance(layer, GATLayer):
        edge_dim = None if layer.lin_edge is None else layer.lin_edge.in_features
        width = layer.att_src.size(2)
        return pyg.GATConv(layer.lin.in_features, width, layer.heads, dropout=layer.dropout, edge_dim=edge_dim)
    if isinstance(layer, GINLayer) and layer.lin is not None:
        return pyg.GINEConv(layer.nn, train_eps=True, edge_dim=layer.lin.in_features)
    return pyg.GINConv(layer.nn, train_eps=True)


def step_of(network: nn.Module, inputs: tuple[Any, ...], target: Tensor) -> Callable[[], None]:
    """A training step."""
    optimizer = torch.optim.Adam(network.train().parameters())
    loss = nn.functional.cross_entropy if target.dtype == torch.long else nn.functional.l1_loss

    def step() -> None:
        loss(network(*inputs), target).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


class Report:
    """Prints figures and keeps them as JSON lines.

    Args:
        file: that lines are added to.
        runs: of each step.
    """

    def __init__(self, file: Path, runs: int) -> None:
        self.file, self.runs = file, runs
        self.console = Console(width=120)
        asked = ["git", "rev-parse", "--short", "HEAD"]
        commit = subprocess.run(asked, capture_output=True, text=True, check=True)  # noqa: S603 - words of our own
        self.machine = {"commit": commit.stdout.strip(), "cpu": cpu_name(), "torch": torch.__version__}

    def compare(self, setting: str, reference: str, steps: dict[str, Callable[[], None]], memory: bool = True) -> None:
        """Measure steps, and their times as parts of the reference's."""
        grown = {name: peak(step) if memory else None for name, step in steps.items()}
        seconds = least(self.runs, **steps)
        for name in steps:
            ratio = seconds[reference] / seconds[name]
            row = {"setting": setting, "step": name, "cpu_s": round(seconds[name], 5), "reference": reference}
            row |= {"times_faster": round(ratio, 2), "peak_mib": None if grown[name] is None else round(grown[name])}
            self.console.print(*(f"{key}={value}" for key, value in row.items()))
            self.file.parent.mkdir(exist_ok=True)
            with self.file.open("a") as lines:
                lines.write(json.dumps(row | self.machine) + "\n")


def cpu_name() -> str:
    """As the system calls it."""
    with Path("/proc/cpuinfo").open() as lines:
        return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def block_graph() -> tuple[Tensor, Tensor, Tensor]:
    """Features, edges and classes; an edge is five times as likely inside a block."""
    torch.manual_seed(0)
    inside = EDGES / (NODES**2 / CLASSES + NODES**2 * (1 - 1 / CLASSES) / 5)
    probabilities = torch.full((CLASSES, CLASSES), inside / 5).fill_diagonal_(inside)
    edge_index = stochastic_blockmodel_graph([NODES // CLASSES] * CLASSES, probabilities, directed=False)
    classes = torch.arange(NODES) // (NODES // CLASSES)
    return torch.randn(NODES, CHANNELS) + torch.randn(CLASSES, CHANNELS)[classes], edge_index, classes


def blocks(report: Report) -> None:
    """Hand-made networks on the block model."""
    x, edge_index, target = block_graph()
    task = Task("node", "classes", CHANNELS, CLASSES)
    adjacency = to_torch_csr_tensor(edge_index.flip(0), size=(NODES, NODES))
    for make in (GCN, GAT, GraphSAGE):
        steps = {
            "ours": step_of(make(task), (x, edge_index), target),
            "edge_index": step_of(of_pyg(make(task)), (x, edge_index), target),
        }
        on_adjacency = step_of(of_pyg(make(task), adjacency), (x, edge_index), target)
        try:
            on_adjacency()
            steps["adjacency"] = on_adjacency
        except Exception as error:  # noqa: BLE001 - whatever a layer says that takes none
            report.console.print(f"{make.__name__} takes no adjacency: {str(error).splitlines()[0]}")
        report.compare(f"blocks {make.__name__}", "edge_index", steps)


def agnn(report: Report) -> None:
    """AGNN's attentions, aggregations and random architectures on the block model."""
    x, edge_index, target = block_graph()
    task = Task("node", "classes", CHANNELS, CLASSES)
    space = AGNNSpace(layers=2)
    ours = step_of(GCN(task), (x, edge_index), target)
    options = [(attention, "sum") for attention in ATTENTIONS] + [("gat", each) for each in AGGREGATIONS[1:]]
    for attention, aggregation in options:
        layers = [
            LayerOptions(
                hidden_channels=width,
                heads=heads,
                attention=attention,
                aggregation=aggregation,
                combine="identity",
                activation="elu",
            )
            for heads, width in ((6, 64), (2, 16))
        ]
        network = AGNNNetwork(layers, task, space.sizes)
        steps = {"gcn": ours, "agnn": step_of(network, (x, edge_index), target)}
        report.compare(f"agnn {attention} {aggregation}", "gcn", steps, memory=False)
    generator = torch.Generator().manual_seed(0)
    for number in range(8):
        architecture = space.sample(generator)
        network = space.network(architecture, task)
        name = " ".join(str(value) for value in architecture.values())
        steps = {"gcn": ours, "agnn": step_of(network, (x, edge_index), target)}
        report.compare(f"agnn random {number}: {name}", "gcn", steps, memory=False)


def words(report: Report) -> None:
    """GraphSAGE on bags of words."""
    data = NpzGraphData(DATA / "graph/cora.npz")
    cora = data.loaded.graph
    torch.manual_seed(0)
    drawn = torch.rand(10_000, 8_000) < 40 / 8_000
    generated = drawn.float() / drawn.sum(1, keepdim=True).clamp(min=1)
    settings = {
        "Cora": (cora.x.to_dense(), cora.edge_index, cora.y),
        "8,000 columns": (generated, torch.randint(10_000, (2, 60_000)), torch.randint(7, (10_000,))),
    }
    for name, (x, edge_index, target) in settings.items():
        task = Task("node", "classes", x.size(1), 7)
        sparse = x.to_sparse_csr()
        steps = {
            "edge_index": step_of(of_pyg(GraphSAGE(task)), (x, edge_index), target),
            "ours": step_of(GraphSAGE(task), (sparse, edge_index), target),
            "gcn": step_of(GCN(task), (sparse, edge_index), target),
        }
        report.compare(f"words {name}", "edge_index", steps)


@contextmanager
def messages_only() -> Iterator[None]:
    """The form that makes messages, whatever the size."""
    kept = gnn_space.aggregation.MESSAGES_BELOW, gnn_space.aggregation._SCORES_BELOW
    gnn_space.aggregation.MESSAGES_BELOW = gnn_space.aggregation._SCORES_BELOW = 2**62
    try:
        yield
    finally:
        gnn_space.aggregation.MESSAGES_BELOW, gnn_space.aggregation._SCORES_BELOW = kept


def small(report: Report) -> None:
    """Batches of small graphs."""
    report.runs *= 8
    molecules, clusters = SolubilityData(batch_size=64), ClusterData(num_train=16, num_val=1, num_test=1, batch_size=16)
    for name, data in (("ESOL", molecules), ("CLUSTER", clusters)):
        data.setup("fit")
        torch.manual_seed(0)
        batch = next(iter(data.train_dataloader()))
        inputs = (batch.x, batch.edge_index, batch.edge_attr, batch.batch, batch.num_graphs)
        target = batch.y if batch.y.dtype == torch.long else batch.y.view(-1, 1)
        for make in (GCN, GAT, GraphSAGE, GIN):
            steps = {
                "ours": step_of(make(data.task), inputs, target),
                "edge_index": step_of(of_pyg(make(data.task)), inputs, target),
            }
            report.compare(f"small {name} {make.__name__}", "edge_index", steps, memory=False)
        space = AGNNSpace(layers=3)
        generator = torch.Generator().manual_seed(0)
        for number in range(4):
            step = step_of(space.network(space.sample(generator), data.task), inputs, target)

            def by_messages(step: Callable[[], None] = step) -> None:
                with messages_only():
                    step()

            steps = {"ours": step, "messages": by_messages}
            report.compare(f"small {name} agnn {number}", "messages", steps, memory=False)
    report.runs //= 8


def main() -> None:
    """Run the benchmark."""
    settings = {each.__name__: each for each in (blocks, agnn, words, small)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", help=", ".join(settings))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--file", type=Path, default=Path(__file__).parent / "results/aggregation.jsonl")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    report = Report(arguments.file, arguments.runs)
    for name in arguments.settings or settings:
        settings[name](report)


if __name__ == "__main__":
    main()
