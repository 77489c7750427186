"""The position of a node in its graph: eigenvectors of the Laplacian, and the returns of random walks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.utils import to_dense_adj

_LARGEST_GRAPH = 1_000
_LARGEST_WALKED = 500


@torch.no_grad()
def laplacian_eigenvectors(
    edge_index: Tensor, batch: Tensor, num_graphs: int, count: int, random_signs: bool
) -> Tensor:
    """The first non-trivial eigenvectors of each graph's symmetrically normalised Laplacian (Dwivedi et al. 2023).

    They are computed densely at every call, the graphs of a batch side by side: milliseconds for a
    molecule, too much for a large graph.

    Args:
        edge_index: `[2, num_edges]`; directions are ignored.
        batch: the graph of each node, `[num_nodes]`, ascending.
        num_graphs: how many graphs there are.
        count: how many eigenvectors.
        random_signs: flip each graph's eigenvectors at random (global generator), since their signs mean nothing.

    Returns:
        `[num_nodes, count]`; zero where a graph has too few nodes.

    Raises:
        ValueError: a graph of more than 1,000 nodes.
    """
    nodes = torch.bincount(batch, minlength=num_graphs)
    largest = int(nodes.max()) if len(nodes) else 0
    if largest > _LARGEST_GRAPH:
        raise ValueError(
            f"positional encodings are computed for graphs of up to {_LARGEST_GRAPH:,} nodes; one has {largest:,}"
        )
    adjacency = to_dense_adj(edge_index, batch, max_num_nodes=largest, batch_size=num_graphs).double().clamp(max=1.0)
    adjacency = torch.maximum(adjacency, adjacency.mT)
    scale = adjacency.sum(dim=2).clamp(min=1.0).rsqrt()
    laplacian = -scale.unsqueeze(2) * adjacency * scale.unsqueeze(1)
    positions = torch.arange(largest, device=batch.device)
    is_node = positions < nodes.unsqueeze(1)
    # Eigenvalues are at most 2; those of the padding come last.
    diagonal = torch.where(is_node, 1.0, 4.0)
    values, vectors = torch.linalg.eigh(laplacian + torch.diag_embed(diagonal.double()))
    vectors = vectors[:, :, 1 : count + 1].masked_fill((values > 3.0)[:, None, 1 : count + 1], 0.0)
    vectors = torch.nn.functional.pad(vectors, (0, count - vectors.size(2)))
    if random_signs:
        signs = torch.randint(0, 2, (num_graphs, 1, count), device=batch.device) * 2 - 1
        vectors = vectors * signs
    return vectors[is_node]


@torch.no_grad()
def return_probabilities(edge_index: Tensor, batch: Tensor, num_graphs: int, steps: int, dtype: torch.dtype) -> Tensor:
    """The probabilities that a random walk is back after 1, 2, ... steps (Dwivedi et al. 2022, RWPE).

    They are computed densely at every call, the graphs of a batch side by side, with half as many products of matrices
    as steps. A graph of more than 500 nodes, for which that is too much, has zeros.

    Args:
        edge_index: `[2, num_edges]`.
        batch: the graph of each node, `[num_nodes]`, ascending.
        num_graphs: how many graphs there are.
        steps: the longest walk.
        dtype: of the result.

    Returns:
        `[num_nodes, steps]`.
    """
    counts = torch.bincount(batch, minlength=num_graphs)
    is_small = counts <= _LARGEST_WALKED
    result = torch.zeros(len(batch), steps, dtype=dtype, device=batch.device)
    nodes = is_small[batch]
    if not nodes.any():
        return result
    edges = edge_index[:, nodes[edge_index[0]]]
    # Numbered anew within each graph: larger graphs would widen the matrices of all others.
    first = torch.cumsum(counts, 0) - counts
    width = int(counts[is_small].max())
    adjacency = torch.zeros(num_graphs * width * width, dtype=dtype, device=batch.device)
    graph = batch[edges[0]]
    place = (graph * width + edges[0] - first[graph]) * width + edges[1] - first[graph]
    adjacency = adjacency.index_add(0, place, torch.ones_like(place, dtype=dtype)).view(num_graphs, width, width)
    walk = adjacency / adjacency.sum(dim=2, keepdim=True).clamp(min=1.0)
    powers = [walk]
    while len(powers) < (steps + 1) // 2:
        powers.append(powers[-1] @ walk)
    returns = []
    for step in range(1, steps + 1):
        half = step // 2
        if half == 0:
            returns.append(walk.diagonal(dim1=1, dim2=2))
        else:
            returns.append((powers[half - 1] * powers[step - half - 1].mT).sum(dim=2))
    places = (batch * width + torch.arange(len(batch), device=batch.device) - first[batch])[nodes]
    result[nodes] = torch.stack(returns, dim=2).flatten(0, 1)[places]
    return result
