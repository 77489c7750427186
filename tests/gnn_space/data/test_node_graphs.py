"""One graph: citation networks, shops and authors, and plain npz files."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.datasets import Amazon, Coauthor, Planetoid, TUDataset
from torch_geometric.utils import is_undirected

from gnn_space.data.amazon import AmazonData, CoauthorData
from gnn_space.data.features import normalize_rows
from gnn_space.data.npz import NpzGraphData
from gnn_space.data.planetoid import PlanetoidData
from gnn_space.data.single import SingleGraphData
from gnn_space.data.tudataset import TUData


def arrays(nodes: int = 10) -> dict[str, np.ndarray]:
    """A directed ring; node i has the features i % 3 and (i + 1) % 3."""
    columns = np.stack([np.arange(nodes) % 3, (np.arange(nodes) + 1) % 3], axis=1)
    return {
        "adj_indptr": np.arange(nodes + 1),
        "adj_indices": (np.arange(nodes) + 1) % nodes,
        "x_indptr": np.arange(nodes + 1) * 2,
        "x_indices": columns.ravel(),
        "x_data": np.full(2 * nodes, 4, dtype=np.uint8),
        "x_shape": np.array([nodes, 3]),
        "y": np.arange(nodes) % 2,
    }


def write(path: Path, **changes: np.ndarray | None) -> Path:
    kept = {name: value for name, value in {**arrays(), **changes}.items() if value is not None}
    np.savez(path, **kept)
    return path


def graph_of(data: SingleGraphData) -> Data:
    return next(iter(data.val_dataloader()))


def check_masks(graph: Data, sizes: tuple[int, int, int]) -> None:
    masks = torch.stack([graph.train_mask, graph.val_mask, graph.test_mask])
    assert masks.sum(dim=1).tolist() == list(sizes)
    assert masks.sum(dim=0).max() == 1, "splits are disjoint"


def test_an_npz_graph(tmp_path: Path) -> None:
    data = NpzGraphData(write(tmp_path / "ring.npz"), steps_per_epoch=5)
    graph = graph_of(data)
    assert (data.task.in_channels, data.task.out_channels, data.task.level) == (3, 2, "node")
    assert graph.num_edges == 20
    assert is_undirected(graph.edge_index)
    assert graph.x[1].tolist() == pytest.approx([0.0, 0.5**0.5, 0.5**0.5])
    check_masks(graph, (6, 2, 2))
    loaders = data.train_dataloader(), data.val_dataloader(), data.test_dataloader()
    assert [len(loader) for loader in loaders] == [5, 1, 1]


def test_features_stay_as_they_are_if_asked(tmp_path: Path) -> None:
    graph = graph_of(NpzGraphData(write(tmp_path / "ring.npz"), normalize_features=False))
    assert graph.x[1].tolist() == [0.0, 4.0, 4.0]


def test_rows_of_zeros_are_left_alone() -> None:
    scaled = normalize_rows(torch.tensor([[0.0, 0.0], [3.0, -4.0]]))
    torch.testing.assert_close(scaled, torch.tensor([[0.0, 0.0], [0.6, -0.8]]))


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_rows_of_any_size_have_the_length_one(size: float) -> None:
    scaled = normalize_rows(torch.tensor([[3.0, -4.0]]) * size)
    torch.testing.assert_close(scaled, torch.tensor([[0.6, -0.8]]))


def test_a_split_of_the_files_own_is_used(tmp_path: Path) -> None:
    path = write(tmp_path / "g.npz", train_idx=np.array([3, 2]), val_idx=np.array([0]), test_idx=np.array([9]))
    for seed in range(2):
        graph = graph_of(NpzGraphData(path, seed=seed))
        check_masks(graph, (2, 1, 1))
        assert graph.train_mask.nonzero().flatten().tolist() == [2, 3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_data": None, "y": None}, "lacks x_data, y; it has adj_indices, adj_indptr"),
        ({"train_idx": np.array([0])}, "lacks val_idx, test_idx"),
        ({"y": np.zeros(7)}, "x_shape says 10 nodes, so y has 10 entries; got 7"),
        ({"adj_indices": np.full(10, 12)}, "adj_indices names node 12 at place 0, but there are 10"),
    ],
)
def test_a_file_that_lacks_something_is_refused(tmp_path: Path, changes: dict, message: str) -> None:
    data = NpzGraphData(write(tmp_path / "bad.npz", **changes))
    with pytest.raises(ValueError, match=message):
        data.setup()


def test_an_npz_file_is_never_unpickled(tmp_path: Path) -> None:
    data = NpzGraphData(write(tmp_path / "bad.npz", y=np.array([object()] * 10)))
    with pytest.raises(ValueError, match="y holds Python objects, which are not read; save it as numbers"):
        data.setup()


def test_cora_is_as_published(shared_data: Path) -> None:
    data = NpzGraphData(shared_data / "graph" / "cora.npz")
    graph = graph_of(data)
    assert (graph.num_nodes, graph.num_edges, data.task.in_channels, data.task.out_channels) == (2708, 10556, 1433, 7)
    check_masks(graph, (140, 500, 1000))
    assert torch.allclose(graph.x.norm(dim=1), torch.ones(2708))


def test_amazon_photo_is_split_60_20_20(shared_data: Path) -> None:
    data = NpzGraphData(shared_data / "graph" / "amazon_photo.npz")
    graph = graph_of(data)
    assert (graph.num_nodes, graph.num_edges, data.task.out_channels) == (7650, 2 * 119_081, 8)
    check_masks(graph, (4590, 1530, 1530))


def write_planetoid(folder: Path) -> None:
    """Raw files as PyG expects them: 20 training, 500 validation and 100 test nodes."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    nodes, test = 700, 100
    x, y = (random.random((nodes, 6)) < 0.5).astype(np.float32), np.eye(4, dtype=np.int32)[np.arange(nodes) % 4]
    pieces = {
        "x": x[:20],
        "tx": x[-test:],
        "allx": x[:-test],
        "y": y[:20],
        "ty": y[-test:],
        "ally": y[:-test],
        "graph": {node: [(node + 1) % nodes] for node in range(nodes)},
    }
    for name, value in pieces.items():
        (folder / f"ind.cora.{name}").write_bytes(pickle.dumps(value))
    (folder / "ind.cora.test.index").write_text("".join(f"{node}\n" for node in range(nodes - test, nodes)))


def test_a_citation_network_has_its_public_split_unless_asked_otherwise(tmp_path: Path) -> None:
    write_planetoid(tmp_path / "Cora" / "raw")
    data = PlanetoidData("Cora", tmp_path)
    graph = graph_of(data)
    assert (data.task.in_channels, data.task.out_channels) == (6, 4)
    check_masks(graph, (20, 500, 100))
    assert is_undirected(graph.edge_index)
    check_masks(graph_of(PlanetoidData("Cora", tmp_path, split="random")), (420, 140, 140))


def write_shchur(folder: Path, name: str) -> None:
    folder.mkdir(parents=True)
    ring = arrays(20)
    names = {"adj": "adj", "x": "attr"}
    pieces = {f"{new}_{part}": ring[f"{old}_{part}"] for old, new in names.items() for part in ("indptr", "indices")}
    np.savez(
        folder / name,
        **pieces,
        adj_data=np.ones(20, dtype=np.float32),
        adj_shape=np.array([20, 20]),
        attr_data=ring["x_data"].astype(np.float32),
        attr_shape=ring["x_shape"],
        labels=ring["y"],
    )


@pytest.mark.parametrize(
    ("cls", "name", "file"),
    [(AmazonData, "Photo", "amazon_electronics_photo.npz"), (CoauthorData, "CS", "ms_academic_cs.npz")],
)
def test_shops_and_authors_are_split_at_random(tmp_path: Path, cls: type, name: str, file: str) -> None:
    write_shchur(tmp_path / name / "raw", file)
    data = cls(name, tmp_path, seed=1)
    graph = graph_of(data)
    assert (data.task.in_channels, data.task.out_channels) == (3, 2)
    check_masks(graph, (12, 4, 4))
    assert torch.equal(graph.train_mask, graph_of(cls(name, tmp_path, seed=1)).train_mask)
    assert not torch.equal(graph.train_mask, graph_of(cls(name, tmp_path, seed=2)).train_mask)


@pytest.mark.parametrize(
    ("cls", "name", "dataset", "files"),
    [
        (PlanetoidData, "Cora", Planetoid, "ind.cora.x, ind.cora.tx"),
        (AmazonData, "Computers", Amazon, "amazon_electronics_computers.npz"),
        (CoauthorData, "Physics", Coauthor, "ms_academic_phy.npz"),
        (TUData, "MUTAG", TUDataset, "MUTAG_A.txt, MUTAG_graph_indicator.txt"),
    ],
)
def test_without_a_network_one_is_told_which_files_go_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cls: type, name: str, dataset: type, files: str
) -> None:
    def fail(self: object) -> None:
        raise OSError("the network is down")

    monkeypatch.setattr(dataset, "download", fail)
    with pytest.raises(ConnectionError) as raised:
        cls(name, tmp_path).prepare_data()
    message = str(raised.value)
    assert all(part in message for part in ("the network is down", files, str(tmp_path / name / "raw")))


def test_an_error_that_is_not_the_networks_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(Planetoid, "download", fail)
    with pytest.raises(KeyError, match="a bug"):
        PlanetoidData("Cora", tmp_path).prepare_data()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PlanetoidData("cora"), "name is one of Cora, CiteSeer, PubMed; got 'cora'; did you mean 'Cora'"),
        (lambda: PlanetoidData(split="full"), "split is one of public, random; got 'full'"),
        (lambda: PlanetoidData(steps_per_epoch=0), "steps_per_epoch is at least 1; got 0"),
        (lambda: AmazonData("CS"), "name is one of Photo, Computers; got 'CS'"),
        (lambda: CoauthorData("Photo"), "name is one of CS, Physics; got 'Photo'"),
        (lambda: NpzGraphData("absent.npz", seed=-1), "seed is at least 0; got -1"),
        (lambda: PlanetoidData(seed=2**32), "seed is at most 4,294,967,295; got 4,294,967,296"),
        (lambda: PlanetoidData(steps_per_epoch=10**9), "steps_per_epoch is at most 1,000,000; got 1,000,000,000"),
        (lambda: PlanetoidData(steps_per_epoch=1.5), "steps_per_epoch is a whole number of at least 1; got 1.5"),
        (lambda: TUData(batch_size=True), "batch_size is a whole number of at least 1; got True"),
        (lambda: TUData(""), "name is that of a data set"),
        (lambda: TUData(batch_size=0), "batch_size is at least 1; got 0"),
    ],
)
def test_arguments_are_checked_before_anything_is_read(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
