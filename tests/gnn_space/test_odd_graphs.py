"""Graphs that nobody draws on a slide: every network of every space computes with them, forwards and backwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from automl_plugins import SearchSpace, Task, registry
from gnn_space import AGNNSpace, EGNASSpace, GNNPlusSpace

SPACES: dict[str, SearchSpace] = {
    "agnn": AGNNSpace(layers=2),
    "egnas": EGNASSpace(nodes=3, operations="extended"),
    "gnn-plus": GNNPlusSpace(depths=(2,), channels=(16,)),
}
# Node 1 hears of node 0 three times, node 2 of itself, and node 5 of nobody; not contiguous, as PyG often has them.
EDGES = torch.tensor([[0, 1], [0, 1], [0, 1], [1, 0], [2, 2], [3, 1], [5, 4]]).t()


def networks(task: Task) -> Iterator[tuple[str, nn.Module]]:
    """Hand-made networks, and a few random ones of each space."""
    torch.manual_seed(0)
    for name in registry.names("references"):
        make = registry.load("references", name)
        if task.level in make.levels:
            yield name, make(task)
    for name, space in SPACES.items():
        for seed in range(3):
            architecture = space.sample(torch.Generator().manual_seed(seed))
            yield f"{name} {architecture}", space.network(architecture, task)


@pytest.mark.parametrize("level", ["node", "edge", "graph"])
def test_edges_of_narrow_integers_are_those_of_wide_ones(level: str) -> None:
    task = Task(level, "classes", in_channels=5, out_channels=2)
    x, batch = torch.randn(6, 5, dtype=torch.float64), torch.tensor([0, 0, 0, 0, 1, 1])
    for name, network in networks(task):
        found = []
        for kind in (torch.int64, torch.int32):
            given = x.clone().requires_grad_()
            made = network.double().eval()(given, EDGES.to(kind), None, batch.to(kind), 2)
            found.append((made, *torch.autograd.grad(made.square().sum(), given)))
        for wide, narrow in zip(*found, strict=True):
            assert torch.equal(wide, narrow), name
