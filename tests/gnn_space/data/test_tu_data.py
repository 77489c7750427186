"""Graph classification on TU data sets."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from gnn_space.data.tudataset import TUData


def place(shared: Path, name: str, root: Path) -> TUData:
    raw = shared / "graph" / "tudataset" / name / "raw"
    if not raw.is_dir():
        pytest.skip(f"{raw.name} files of {name} are not among the shared data")
    shutil.copytree(raw, root / name / "raw")
    return TUData(name, root)


@pytest.mark.parametrize(
    ("name", "graphs", "channels", "edge_channels", "classes"), [("MUTAG", 188, 7, 4, 2), ("ENZYMES", 600, 21, 0, 6)]
)
def test_labels_and_attributes_become_features(
    shared_data: Path, tmp_path: Path, name: str, graphs: int, channels: int, edge_channels: int, classes: int
) -> None:
    data = place(shared_data, name, tmp_path)
    task = data.task
    assert (task.level, task.target, task.in_channels, task.out_channels) == ("graph", "classes", channels, classes)
    assert task.edge_channels == edge_channels
    sizes = [len(store) for store in (data.loaded.train, data.loaded.val, data.loaded.test)]
    assert sum(sizes) == graphs
    assert sizes[0] == round(0.8 * graphs)
    batch = next(iter(data.train_dataloader()))
    assert batch.x.shape[1] == channels
    assert batch.y.shape == (32,)


def test_a_data_set_that_describes_no_nodes_gives_each_a_one(tmp_path: Path) -> None:
    raw = tmp_path / "BARE" / "raw"
    raw.mkdir(parents=True)
    edges = [(2 * graph + 1, 2 * graph + 2) for graph in range(20)]
    (raw / "BARE_A.txt").write_text("".join(f"{a}, {b}\n{b}, {a}\n" for a, b in edges))
    (raw / "BARE_graph_indicator.txt").write_text("".join(f"{graph + 1}\n" * 2 for graph in range(20)))
    (raw / "BARE_graph_labels.txt").write_text("".join(f"{graph % 2}\n" for graph in range(20)))
    data = TUData("BARE", tmp_path)
    assert (data.task.in_channels, data.task.edge_channels) == (1, 0)
    batch = next(iter(data.val_dataloader()))
    assert torch.equal(batch.x, torch.ones(4, 1))
