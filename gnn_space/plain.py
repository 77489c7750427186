"""Parts of exported files that all networks of graphs may have; see `automl_plugins.spaces.plain_source`.

Edges are `edge_index` `[2, num_edges]`, sources in row 0 and targets in row 1; messages `[num_edges, ...]` have the
order of edges. All is in gathers and scatters of torch, which its exporters know.
"""

from typing import Any

import torch
from torch import Tensor


def received(messages: Tensor, target: Tensor, num_nodes: int, how: str = "sum") -> Tensor:
    """The sum (or `amax`, the maximum) of the messages that each node receives, 0 where it receives none."""
    index = target.view(-1, *[1] * (messages.dim() - 1)).expand_as(messages)
    empty = messages.new_zeros(num_nodes, *messages.shape[1:])
    return empty.scatter_reduce(0, index, messages, how, include_self=False)


def mean(messages: Tensor, target: Tensor, num_nodes: int) -> Tensor:
    """The mean of the messages that each node receives, 0 where it receives none."""
    count = received(torch.ones_like(messages), target, num_nodes).clamp(min=1)
    return received(messages, target, num_nodes) / count


def softmax(scores: Tensor, target: Tensor, num_nodes: int) -> Tensor:
    """The softmax of scores `[num_edges, heads]` over the edges into each node."""
    shares = (scores - received(scores.detach(), target, num_nodes, "amax")[target]).exp()
    return shares / (received(shares, target, num_nodes)[target] + 1e-16)


def with_loops(edge_index: Tensor, num_nodes: int) -> Tensor:
    """The edges between different nodes, and one from each node to itself behind them."""
    nodes = torch.arange(num_nodes, device=edge_index.device)
    return torch.cat([edge_index[:, edge_index[0] != edge_index[1]], nodes.expand(2, -1)], dim=1)


def with_featured_loops(edge_index: Tensor, edge_attr: Tensor, num_nodes: int) -> tuple[Tensor, Tensor]:
    """The edges between different nodes, then one from each node to itself with the mean features of its others."""
    between = edge_index[0] != edge_index[1]
    edges, features = edge_index[:, between], edge_attr[between]
    nodes = torch.arange(num_nodes, device=edges.device)
    return torch.cat([edges, nodes.expand(2, -1)], dim=1), torch.cat([features, mean(features, edges[1], num_nodes)])


def with_missing_loops(edge_index: Tensor, num_nodes: int) -> Tensor:
    """The edges, and behind them one to itself from each node that has none."""
    loops = edge_index[0][edge_index[0] == edge_index[1]]
    missing = (received(torch.ones_like(loops), loops, num_nodes) == 0).nonzero().flatten()
    return torch.cat([edge_index, missing.expand(2, -1)], dim=1)


def propagate(x: Tensor, looped: Tensor) -> Tensor:
    """The sum of what arrives along edges, over the roots of both ends' degrees (Kipf and Welling 2017)."""
    scale = received(torch.ones_like(x[looped[1], :1]), looped[1], x.size(0)).rsqrt()
    return scale * received((scale * x)[looped[0]], looped[1], x.size(0))


def scale_rows(x: Tensor) -> Tensor:
    """Features times what makes the mean square of each row one; a row of zeros stays one."""
    greatest = x.abs().amax(dim=1, keepdim=True)
    x = x / greatest.masked_fill(greatest == 0, 1.0)  # squares of greater numbers may be infinite
    square = x.square().mean(dim=1, keepdim=True)
    return x * square.masked_fill(square == 0, 1.0).rsqrt()


def return_probabilities(edge_index: Tensor, batch: Tensor, num_graphs: int, steps: int, like: Tensor) -> Tensor:
    """The probabilities of random walks to be back after 1, 2, ... steps; zeros in graphs of more than 500 nodes."""
    count = received(torch.ones_like(batch), batch, num_graphs)
    small = (count <= 500)[batch]
    place = (torch.arange(batch.size(0), device=batch.device) - (count.cumsum(0) - count)[batch]) * small
    source, target = edge_index[:, small[edge_index[0]]]
    width: Any = place.max().item() + 1
    counts = like.new_zeros(num_graphs, width, width)
    counts = counts.index_put((batch[source], place[source], place[target]), like.new_ones(1), accumulate=True)
    walk = counts / counts.sum(dim=2, keepdim=True).clamp(min=1.0)
    powers = [walk]
    for _ in range(steps - 1):
        powers.append(powers[-1] @ walk)
    return torch.stack([power[batch, place, place] for power in powers], dim=1) * small.unsqueeze(1)
