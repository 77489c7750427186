"""Random AGNN networks learn to tell communities apart from their bags of words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins import Task
from gnn_space import AGNNSpace

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")

CLASSES, NODES = 3, 90


def papers(columns: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Row-normalised bags of eight words, in CSR layout, links of which four in five stay inside, and classes."""
    random = np.random.default_rng(seed)
    y = np.arange(NODES) % CLASSES
    shares = np.exp(random.normal(size=(CLASSES, columns))) / np.arange(1, columns + 1)
    shares /= shares.sum(axis=1, keepdims=True)
    x = torch.zeros(NODES, columns)
    for node in range(NODES):
        x[node, random.choice(columns, size=8, replace=False, p=shares[y[node]])] = 1 / 8
    source = random.integers(NODES, size=2 * NODES)
    step = CLASSES * random.integers(NODES // CLASSES, size=len(source))
    target = np.where(random.random(len(source)) < 0.8, source + step, random.integers(NODES, size=len(source))) % NODES
    edge_index = torch.from_numpy(np.stack([np.append(source, target), np.append(target, source)]))
    return x.to_sparse_csr(), edge_index, torch.from_numpy(y)


def accuracy_after(steps: int, network: nn.Module, x: Tensor, edge_index: Tensor, y: Tensor) -> float:
    """Accuracy on two thirds of the nodes, after Adam at a constant rate on the others."""
    train = torch.arange(NODES) < NODES // 3
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(network.train()(x, edge_index)[train], y[train]).backward()
        optimizer.step()
    with torch.no_grad():
        right = network.eval()(x, edge_index).argmax(dim=1) == y
    return float(right[~train].double().mean())


def test_the_median_random_network_learns_in_a_plain_loop() -> None:
    # Narrower than the space's, which learn worse; `benchmarks/random_draws.py` draws from all.
    space = AGNNSpace(layers=2, hidden_channels=(4, 8, 16), heads=(1, 2, 4))
    x, edge_index, y = papers(columns=500)
    task = Task("node", "classes", in_channels=500, out_channels=CLASSES)
    generator = np.random.default_rng(0)
    torch.manual_seed(0)
    gcn = accuracy_after(60, AGNNSpace().network(AGNNSpace().references(task)["gcn"], task), x, edge_index, y)
    random = [accuracy_after(60, space.network(space.sample(generator), task), x, edge_index, y) for _ in range(7)]
    assert gcn > 0.8
    assert np.median(random) >= (1 / CLASSES + gcn) / 2, random
