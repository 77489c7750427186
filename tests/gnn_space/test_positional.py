"""Laplacian positional encodings."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.utils import get_laplacian, to_dense_adj, to_undirected

from gnn_space.positional import laplacian_eigenvectors


def path(nodes: int) -> torch.Tensor:
    return to_undirected(torch.stack([torch.arange(nodes - 1), torch.arange(1, nodes)]))


def test_they_are_the_eigenvectors_after_the_first_in_order_of_their_eigenvalues() -> None:
    edges = path(6)
    index, weight = get_laplacian(edges, normalization="sym", num_nodes=6)
    laplacian = to_dense_adj(index, edge_attr=weight.double(), max_num_nodes=6)[0]
    vectors = laplacian_eigenvectors(edges, torch.zeros(6, dtype=torch.long), 1, 3, random_signs=False)
    values = torch.linalg.eigvalsh(laplacian)
    for column in range(3):
        assert torch.allclose(laplacian @ vectors[:, column], values[column + 1] * vectors[:, column], atol=1e-6)
    assert torch.allclose(vectors.T @ vectors, torch.eye(3).double(), atol=1e-6)


def test_each_graph_of_a_batch_has_its_own_and_a_small_one_is_filled_up_with_zeros() -> None:
    edges = torch.cat([path(5), path(2) + 5], dim=1)
    batch = torch.tensor([0] * 5 + [1] * 2 + [2])
    together = laplacian_eigenvectors(edges, batch, 3, 3, random_signs=False)
    alone = laplacian_eigenvectors(path(5), batch[:5], 1, 3, random_signs=False)
    assert torch.allclose(together[:5].abs(), alone.abs(), atol=1e-6)
    assert together[5:7, 0].abs().min() > 0.5
    assert (together[5:7, 1:] == 0).all()
    assert (together[7] == 0).all()


def test_only_signs_are_random() -> None:
    batch = torch.zeros(6, dtype=torch.long)
    fixed = laplacian_eigenvectors(path(6), batch, 1, 2, random_signs=False)
    torch.manual_seed(0)
    drawn = [laplacian_eigenvectors(path(6), batch, 1, 2, random_signs=True) for _ in range(8)]
    assert all(torch.equal(each.abs(), fixed.abs()) for each in drawn)
    assert len({tuple(each[0].sign().tolist()) for each in drawn}) > 1


def test_a_graph_too_large_for_a_dense_decomposition_is_refused() -> None:
    with pytest.raises(ValueError, match="up to 1,000 nodes; one has 1,001"):
        laplacian_eigenvectors(path(1001), torch.zeros(1001, dtype=torch.long), 1, 2, random_signs=False)
