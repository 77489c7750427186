"""Features of whole graphs: from a table of molecules to every network's readout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.data import Batch

from automl_plugins import Task
from gnn_space import AGNNSpace, EGNASSpace
from gnn_space.batch_checks import check_batch
from gnn_space.data.descriptors import ranks
from gnn_space.dmpnn import DMPNN
from gnn_space.gated_gcn import GatedGCN
from gnn_space.references import GIN

TASK = Task("graph", "regression", in_channels=3, out_channels=1, graph_channels=5)
EDGES = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
MEMBERS = torch.tensor([0, 0, 1, 1])
SPACES = {"agnn": AGNNSpace(layers=1), "egnas": EGNASSpace(cells=1, nodes=2, node_channels=8, edge_channels=4)}


def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    made: dict[str, nn.Module] = {
        type(network).__name__: network for network in (DMPNN(TASK), GIN(TASK), GatedGCN(TASK))
    }
    for name, space in SPACES.items():
        made[name] = space.network(space.sample(torch.Generator().manual_seed(0)), TASK)
        made[f"{name}, supernet"] = space.searchable(TASK)
    return made


def test_every_network_reads_them_at_its_readout() -> None:
    x, features = torch.randn(4, 3), torch.randn(2, 5)
    for name, network in networks().items():
        network.eval()
        before = network(x, EDGES, None, MEMBERS, 2, features)
        features[1] += 1.0
        changed = (network(x, EDGES, None, MEMBERS, 2, features) != before).flatten().tolist()
        assert changed == [False, True], name
        with pytest.raises(ValueError, match="5 features of a whole graph, but graph_attr is None"):
            network(x, EDGES, None, MEMBERS, 2)


def test_other_levels_have_none() -> None:
    with pytest.raises(ValueError, match=r"Task\.graph_channels=5 is for the level graph; got 'node'"):
        replace(TASK, level="node")


def test_a_batch_without_them_is_refused_before_training() -> None:
    batch = Batch(x=torch.randn(4, 3), edge_index=EDGES, y=torch.zeros(2, 1), batch=MEMBERS)
    batch._num_graphs = 2
    for features, told in (
        (None, "no graph_attr, and the task has graph_channels=5"),
        (torch.zeros(2, 4), "graph_attr has the shape \\[2, 5\\]"),
        (torch.zeros(2, 5, dtype=torch.int64), "graph_attr is of int64, and the network's weights of float32"),
        (torch.full((2, 5), torch.nan), "features of graphs"),
    ):
        batch.graph_attr = features
        with pytest.raises(ValueError, match=told):
            check_batch(batch, TASK, "train", torch.float32)


def test_ranks_are_those_among_training_rows() -> None:
    values = np.array([[1.0, 7.0], [2.0, 7.0], [np.inf, 7.0], [np.nan, np.nan], [1.5, 9.0]])
    expected = [[-1 / 3, 0.0], [0.0, 0.0], [1 / 3, 0.0], [0.0, 0.0], [-1 / 6, 0.5]]
    known = torch.from_numpy(np.sort(values[:3], axis=0))
    torch.testing.assert_close(ranks(values, known), torch.tensor(expected))
    assert not ranks(np.ones((3, 1)), torch.full((3, 1), torch.nan)).any()


def test_molecules_bring_descriptors_and_fragments(tmp_path: Path) -> None:
    pytest.importorskip("rdkit")
    from gnn_space.data.molecules import SmilesTable

    table = tmp_path / "table.csv"
    table.write_text("smiles,energy\n" + "".join(f"{'C' * size}O,{size}\n" for size in range(1, 11)), encoding="utf-8")
    data = SmilesTable(table, "smiles", "energy", descriptors=["rdkit", "morgan"], batch_size=4)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch.graph_attr.shape == (4, data.task.graph_channels)
    assert data.task.graph_channels > 2048 + 150
    assert torch.equal(Batch.from_data_list(batch.to_data_list()).graph_attr, batch.graph_attr)
    check_batch(batch, data.task, "train", torch.float32)
    with pytest.raises(ValueError, match="descriptors: there is no 'morgen'; did you mean 'morgan'"):
        SmilesTable(table, "smiles", "energy", descriptors="morgen")
    with pytest.raises(ValueError, match="names a kind twice"):
        SmilesTable(table, "smiles", "energy", descriptors=("morgan", "morgan"))
