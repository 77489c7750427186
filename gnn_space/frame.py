"""The frame around the layers of every graph network: input encoders, and the head of each task level."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import BatchNorm, global_add_pool, global_max_pool, global_mean_pool

from automl_plugins.spaces.task import Task
from gnn_space.compressed import is_traced, widened
from gnn_space.dropout import dropout
from gnn_space.input_checks import check_call, check_features


def feature_dropout(
    x: Tensor, rate: float, training: bool, draw: Callable[[Tensor, float, bool], Tensor] = dropout
) -> Tensor:
    """Dropout of node features `[num_nodes, channels]`, dense or in CSR layout.

    A bag of words is mostly zeros; dropping zeros costs as much as dropping anything else, and is
    most of a training step on Cora. In CSR layout only what is there is drawn for.

    Args:
        x: the features.
        rate: at which numbers become 0.
        training: whether anything is dropped.
        draw: the dropout of dense numbers.
    """
    if x.layout != torch.sparse_csr:
        return draw(x, rate, training)
    if not training or rate == 0.0:
        return x
    values = draw(x.values(), rate, training)
    return torch.sparse_csr_tensor(x.crow_indices(), x.col_indices(), values, x.shape, check_invariants=False)


def batch_norm(channels: int, affine: bool = True) -> nn.Module:
    """Batch normalisation of node or edge states `[num_rows, channels]`.

    The last batch of an epoch may be one molecule of one atom, which has no variance: it is
    normalised by the running statistics, where torch's own raises an error.
    """
    return BatchNorm(channels, affine=affine, allow_single_element=True)


class RowNorm(nn.Module):
    """Layer normalisation (Ba et al. 2016): each row `[num_rows, channels]` has mean zero and variance one.

    It knows no batch and keeps no statistics, so that dropout, hubs and short trainings cannot set them apart from what
    they are in evaluation; and as many channels as its weights have, so that weights may be narrowed.

    Args:
        channels: of a row.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias)


WIDE = 64
"""From so many columns on, features are taken for bags of words or fingerprints, whose scale says little."""


def has_wide_features(task: Task) -> bool:
    """True where node features are real-valued and of `WIDE` columns at least; narrow ones may be measurements."""
    return not task.node_categories and task.in_channels >= WIDE


def drops_much(task: Task) -> bool:
    """True where networks of nodes drop half of what they read, as published: where features are wide.

    Of wide features the others still tell most. Narrow ones are the only sign of what they are: on CLUSTER, with seven
    kinds of nodes, GAT, APPNP and GIN have validation accuracies of .21, .27 and .20 after a trial with the published
    dropout and .35, .36 and .29 without, and of 43 random networks of GNN+ in full trainings 10 of 24 with .5 or .6 end
    below .25, and 4 of 19 with 0 or .2.
    """
    return task.level == "node" and has_wide_features(task)


def scale_rows(x: Tensor) -> Tensor:
    """Features `[num_nodes, channels]`, dense or in CSR layout, times what makes each row's mean square one.

    A bag of words of length one over thousands of columns has maps of a hundredth of the biases behind them. A row of
    zeros stays one. Each row is first divided by its greatest number: of others the squares are infinite or zero, in
    16 bits from 256 on.
    """
    if x.layout != torch.sparse_csr:
        x = by_greatest(x)
        square = x.square().mean(dim=1, keepdim=True)
        return x * square.masked_fill(square == 0, 1.0).rsqrt()
    starts, values = x.crow_indices(), x.values()
    count = starts.diff()
    rows = torch.arange(x.size(0), device=values.device).repeat_interleave(count)
    greatest = values.new_zeros(x.size(0)).scatter_reduce_(0, rows, values.detach().abs(), "amax")
    values = values / greatest.masked_fill(greatest == 0, 1.0).index_select(0, rows)
    square = values.new_zeros(x.size(0)).index_add_(0, rows, values.square()) / x.size(1)
    values = values * square.masked_fill(square == 0, 1.0).rsqrt().index_select(0, rows)
    return torch.sparse_csr_tensor(starts, x.col_indices(), values, x.shape, check_invariants=False)


def by_greatest(x: Tensor) -> Tensor:
    """Rows `[num_rows, channels]` divided by the greatest absolute number in each; a row of zeros stays one.

    That number is a constant of the derivatives: for what asks for a row's direction alone, they are the same.
    """
    if not x.size(1):
        return x
    greatest = x.detach().abs().amax(dim=1, keepdim=True)
    return x / greatest.masked_fill(greatest == 0, 1.0)


class TakesGraphs(nn.Module):
    """A module that may be called with a graph or batch of PyG in place of its tensors: `network(data)`.

    Edges and batches of narrow integers are widened, see `gnn_space.compressed.widened`.

    Raises:
        ValueError: `x` is no tensor, or edges, edge features and batch are not those of its nodes, see
            `gnn_space.input_checks`.
    """

    def __call__(self, x: Any, *inputs: Any, **options: Any) -> Any:
        """`forward(x, edge_index, edge_attr, batch, num_graphs, graph_attr)`, of the graph where one is given."""
        if not inputs and not isinstance(x, Tensor) and hasattr(x, "edge_index"):
            graph = x
            counts = getattr(graph, "num_graphs", None), getattr(graph, "graph_attr", None)
            x, inputs = graph.x, (graph.edge_index, graph.edge_attr, graph.batch, *counts)
        if not is_traced():
            check_call(x, **{**dict(zip(("edge_index", "edge_attr", "batch"), inputs, strict=False)), **options})
        wide = {name: _widened(value) for name, value in options.items()}
        return super().__call__(x, *map(_widened, inputs), **wide)


def _widened(value: Any) -> Any:
    return widened(value) if isinstance(value, Tensor) else value


class CategoricalEncoder(nn.Module):
    """Embed each categorical column and add the embeddings up, as OGB's atom and bond encoders do.

    Shapes:
        input: integers `[num_rows, len(categories)]`, column c in `0 .. categories[c] - 1`.
        output: `[num_rows, channels]`.

    Raises:
        ValueError: (in `forward`, on the CPU: asking a GPU would wait for it) an integer out of its column's range.
    """

    offsets: Tensor
    sizes: Tensor

    def __init__(self, categories: Sequence[int], channels: int) -> None:
        super().__init__()
        # One table for all columns: a single lookup instead of one for each column.
        self.table = nn.EmbeddingBag(sum(categories), channels, mode="sum")
        nn.init.xavier_uniform_(self.table.weight)
        starts = [sum(categories[:column]) for column in range(len(categories))]
        self.register_buffer("offsets", torch.tensor(starts), persistent=False)
        self.register_buffer("sizes", torch.tensor(list(categories)), persistent=False)

    def forward(self, columns: Tensor) -> Tensor:
        # In one table, a value out of range would silently read another column's rows.
        if not is_traced() and columns.device.type == "cpu" and ((columns < 0) | (columns >= self.sizes)).any():
            column = int(((columns < 0) | (columns >= self.sizes)).any(dim=0).nonzero()[0])
            least, most = int(columns[:, column].min()), int(columns[:, column].max())
            raise ValueError(
                f"categorical column {column} has {int(self.sizes[column])} values, counted from 0; "
                f"the data have {least} to {most}"
            )
        return self.table(columns + self.offsets)


class InputEncoder(nn.Module):
    """Turn a task's node and edge features into real-valued ones.

    Categorical features are embedded, real-valued ones pass as they are. `node_channels` and
    `edge_channels` say how wide the results are.

    Args:
        task: what the inputs look like.
        node_embedding: channels of embedded nodes.
        edge_embedding: channels of embedded edges.

    Raises:
        ValueError: (in `forward`) features are missing, or have another shape or type than the task says.
    """

    def __init__(self, task: Task, node_embedding: int, edge_embedding: int) -> None:
        super().__init__()
        self.task = task
        self.nodes = CategoricalEncoder(task.node_categories, node_embedding) if task.node_categories else nn.Identity()
        self.edges = CategoricalEncoder(task.edge_categories, edge_embedding) if task.edge_categories else nn.Identity()
        self.node_channels = node_embedding if task.node_categories else task.in_channels
        self.edge_channels = edge_embedding if task.edge_categories else task.edge_channels

    def forward(self, x: Tensor, edge_attr: Tensor | None) -> tuple[Tensor, Tensor | None]:
        check_features(self.task, x, edge_attr)
        return self.nodes(x), None if self.edge_channels == 0 else self.edges(edge_attr)


def graph_features(graph_attr: Tensor | None, channels: int) -> list[Tensor]:
    """The features of whole graphs, `[num_graphs, channels]`, for a readout to join; none where a task has none.

    Raises:
        ValueError: the task has some, and the batch brings none or others.
    """
    if not channels:
        return []
    if graph_attr is None or graph_attr.size(-1) != channels:
        got = "None" if graph_attr is None else f"of the shape {list(graph_attr.shape)}"
        raise ValueError(f"the network's task has {channels} features of a whole graph, but graph_attr is {got}")
    return [graph_attr]


GRAPH_SIZE = 32
"""The number of nodes that sums over a graph are counted in, about a molecule's."""


def counted_sum(x: Tensor, batch: Tensor | None, num_graphs: int | None = None) -> Tensor:
    """The sum of a graph's states `[num_graphs, channels]`, divided by `GRAPH_SIZE`.

    One step of Adam moves an output by its learning rate times the sum of what the map reads, so that by sums over
    tens of nodes the first steps throw a network tens of deviations off. In units of about as many nodes as graphs
    have, sums are of the order of means; what a network can compute is the same.
    """
    return global_add_pool(x, batch, num_graphs) / GRAPH_SIZE


POOLS: Mapping[str, Callable[..., Tensor]] = {"mean": global_mean_pool, "sum": counted_sum, "max": global_max_pool}
"""From node states and their graphs to one state a graph."""

READOUTS: Mapping[str, tuple[str, ...]] = {**{name: (name,) for name in POOLS}, "mean-sum-max": tuple(POOLS)}
"""The pools that each readout joins."""


class Head(nn.Module):
    """From node states to the task's outputs.

    Node level: a linear map. Edge level: a two-layer perceptron of both ends' states, and of the
    edge's features where there are any. Graph level: a two-layer perceptron of what the readout makes of a graph's
    node states, and of the graph's own features where the task has them.

    Args:
        task: what the network must fit.
        channels: of node states.
        edge_channels: of edge features or states; 0: there are none.
        hidden_channels: between the maps of the perceptron.
        readout: of `READOUTS`: on graph level, the mean, the sum (see `counted_sum`) and the maximum of node states, or
            one of them.

    Shapes:
        node states: `[num_nodes, channels]`; edge features: `[num_edges, edge_channels]`; features of whole graphs:
        `[num_graphs, task.graph_channels]`.
        output: `[num_nodes | num_edges | num_graphs, task.out_channels]`.
    """

    def __init__(
        self,
        task: Task,
        channels: int,
        edge_channels: int,
        hidden_channels: int = 64,
        readout: str = "mean-sum-max",
    ) -> None:
        super().__init__()
        self.level, self.graph_channels = task.level, task.graph_channels
        self.pools = READOUTS[readout]
        if task.level == "node":
            self.output: nn.Module = nn.Linear(channels, task.out_channels)
            return
        inputs = (
            len(self.pools) * channels + task.graph_channels if task.level == "graph" else 2 * channels + edge_channels
        )
        self.output = nn.Sequential(
            nn.Linear(inputs, hidden_channels), nn.ReLU(), nn.Linear(hidden_channels, task.out_channels)
        )

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None,
        batch: Tensor | None,
        num_graphs: int | None,
        graph_attr: Tensor | None = None,
    ) -> Tensor:
        if self.level == "graph":
            if batch is None:
                batch, num_graphs = x.new_zeros(x.size(0), dtype=torch.long), 1
            pooled = [POOLS[name](x, batch, num_graphs) for name in self.pools]
            return self.output(torch.cat([*pooled, *graph_features(graph_attr, self.graph_channels)], dim=-1))
        if self.level == "edge":
            ends = [x.index_select(0, edge_index[0]), x.index_select(0, edge_index[1])]
            return self.output(torch.cat(ends if edge_attr is None else [*ends, edge_attr], dim=-1))
        return self.output(x)
