"""GNN+'s supernet keeps the contract: it computes exactly what its networks compute."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from automl_plugins import Task
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.testing import SupernetContract
from gnn_space import GNNPlusSpace

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")

NODE = Task("node", "classes", in_channels=5, out_channels=3)
EDGE = Task("edge", "classes", 2, 3, edge_channels=2, node_categories=(4, 3), edge_categories=(2, 3))
GRAPH = Task("graph", "regression", in_channels=5, out_channels=1, edge_channels=2, graph_channels=2)


def graph_for(task: Task, num_nodes: int, seed: int) -> Data:
    generator = torch.Generator().manual_seed(seed)
    pairs = [(one, (one + step) % num_nodes) for one in range(num_nodes) for step in (1, 2)] + [(0, 0)]

    def features(rows: int, channels: int, categories: Sequence[int]) -> Tensor:
        if not categories:
            return torch.randn(rows, channels, dtype=torch.float64, generator=generator)
        return torch.stack([torch.randint(count, (rows,), generator=generator) for count in categories], dim=1)

    graph = Data(
        x=features(num_nodes, task.in_channels, task.node_categories), edge_index=torch.tensor(pairs).t().contiguous()
    )
    if task.edge_channels:
        graph.edge_attr = features(len(pairs), task.edge_channels, task.edge_categories)
    if task.graph_channels:
        graph.graph_attr = features(1, task.graph_channels, ())
    return graph


def batch_for(task: Task, dtype: torch.dtype) -> Data:
    batch = Batch.from_data_list([graph_for(task, nodes, seed=nodes) for nodes in (4, 5)])
    return batch.apply(lambda values: values.to(dtype) if values.is_floating_point() else values)


def loss_of(network: nn.Module, task: Task) -> Tensor:
    data = batch_for(task, next(network.parameters()).dtype)
    inputs = (data.x, data.edge_index, data.edge_attr, data.batch, data.num_graphs)
    return network(*inputs, *([data.graph_attr] if task.graph_channels else [])).square().mean()


class TestContract(SupernetContract):
    samples = 4

    def space(self) -> SupernetSpace:
        return GNNPlusSpace(
            depths=(1, 2, 3),
            channels=(4, 8),
            dropouts=(0.0, 0.3),
            heads=2,
            walk_length=3,
            node_embedding=6,
            edge_embedding=3,
        )

    def tasks(self) -> Sequence[Task]:
        return NODE, EDGE, GRAPH

    def loss(self, network: nn.Module, task: Task) -> Tensor:
        return loss_of(network, task)
