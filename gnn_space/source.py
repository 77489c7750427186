"""The parts of plain sources that all networks of graphs have: their arguments, embeddings and heads."""

from __future__ import annotations

from itertools import accumulate

from automl_plugins.spaces.source_text import call
from automl_plugins.spaces.task import Task

EMBEDDINGS = {"encoder.nodes.table": "embedding", "encoder.edges.table": "edge_embedding"}
"""The names of an encoder's weights, see `automl_plugins.spaces.plain_source.PlainSource`."""
_POOLS = {
    "mean": "mean(x, batch, num_graphs)",
    "sum": "received(x, batch, num_graphs) / 32",
    "max": 'received(x, batch, num_graphs, "amax")',
}


def parameters(reads_edges: bool, reads_batch: bool, reads_graphs: bool = False) -> list[str]:
    """The arguments of `Network.forward`.

    Args:
        reads_edges: whether features of edges are read.
        reads_batch: whether nodes are told apart by their graphs.
        reads_graphs: whether features of whole graphs are read.
    """
    found = ["x: Tensor", "edge_index: Tensor", *(["edge_attr: Tensor"] if reads_edges else [])]
    if reads_graphs:
        return [*found, "batch: Tensor", "graph_attr: Tensor"]
    return [*found, "batch: Tensor | None = None"] if reads_batch else found


def membership(reads_graphs: bool) -> list[str]:
    """The lines of `forward` that count graphs, and take nodes without a batch for one graph."""
    if reads_graphs:
        return ["num_graphs = graph_attr.size(0)"]
    alone = "torch.zeros(x.size(0), dtype=torch.long, device=x.device)"
    return [f"batch = {alone} if batch is None else batch", "num_graphs = batch.max().item() + 1"]


def embedding(name: str, variable: str, categories: tuple[int, ...], channels: int) -> tuple[str, str]:
    """The lines that make an embedding of categories of several columns, and that embed them and add them up."""
    starts = [0, *accumulate(categories[:-1])]
    moved = f"{variable} + {variable}.new_tensor({starts})" if len(starts) > 1 else variable
    made = f"self.{name} = nn.Embedding({sum(categories)}, {channels})"
    return made, call(f"{variable} = self.{name}(", [moved], ").sum(dim=1)", 8)


def embeddings(task: Task, node_channels: int, edge_channels: int) -> tuple[list[str], list[str]]:
    """The lines of `__init__` and of `forward` that embed categories of nodes and of edges.

    Args:
        task: of the network; without the categories that it does not read.
        node_channels: of embedded nodes.
        edge_channels: of embedded edges.
    """
    made = []
    if task.node_categories:
        made.append(embedding("embedding", "x", task.node_categories, node_channels))
    if task.edge_categories:
        made.append(embedding("edge_embedding", "edge_attr", task.edge_categories, edge_channels))
    return [init for init, _ in made], [forward for _, forward in made]


def head(
    task: Task, channels: int, edge_channels: int, pools: tuple[str, ...], edges: str, hidden: int = 64
) -> tuple[str, list[str]]:
    """The line of `__init__` of a head, and those of `forward` that give its `outputs` of `x`.

    Args:
        task: of the network.
        channels: of node states.
        edge_channels: of the features or states of edges; 0: there are none.
        pools: on graph level, what is joined of `mean`, `sum` and `max`.
        edges: the variable that has the features or states of edges.
        hidden: channels between the maps.
    """
    if task.level == "node":
        return f"self.output = nn.Linear({channels}, {task.out_channels})", ["outputs = self.output(x)"]
    if task.level == "edge":
        inputs = 2 * channels + edge_channels
        joined = ["x[edge_index[0]]", "x[edge_index[1]]", *([edges] if edge_channels else [])]
    else:
        inputs = len(pools) * channels + task.graph_channels
        joined = [_POOLS[pool] for pool in pools] + (["graph_attr"] if task.graph_channels else [])
    maps = f"nn.Linear({inputs}, {hidden}), nn.ReLU(), nn.Linear({hidden}, {task.out_channels})"
    made = f"self.output = nn.Sequential({maps})"
    return made, joined_outputs(joined)


def joined_outputs(joined: list[str]) -> list[str]:
    """The lines that give an output perceptron's `outputs` of several things, side by side."""
    if len(joined) == 1:
        return [f"outputs = self.output({joined[0]})"]
    line = f"outputs = self.output(torch.cat([{', '.join(joined)}], dim=1))"
    if len(line) <= 112:
        return [line]
    *some, last = joined
    return [f"joined = {', '.join(some)}", f"outputs = self.output(torch.cat([*joined, {last}], dim=1))"]


def returned(lines: list[str]) -> list[str]:
    """Lines whose last one gives its value to `outputs`, and returns it in place of that."""
    *others, last = lines
    return [*others, f"return {last.removeprefix('outputs = ')}"]


def given_by(task: Task) -> str:
    """The outputs of a network, in words."""
    kind = {"classes": "logits", "binary": "logit", "multilabel": "logits", "regression": "values"}[task.target]
    if task.out_channels == 1:
        kind = kind.removesuffix("s")
    return f"{task.out_channels} {kind} of each {task.level}"
