"""Files of one graph, as other people write them: read as they are meant, or refused by name."""

from __future__ import annotations

import io
import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from automl_plugins.training.data import arrays as reading
from gnn_space.data import NpzGraphData

NODES, FEATURES = 12, 4
NUMBERS = np.arange(NODES)
GRAPH: dict[str, Any] = {
    "adj_indptr": np.arange(NODES + 1),
    "adj_indices": (NUMBERS + 1) % NODES,
    "x_indptr": np.arange(NODES + 1),
    "x_indices": NUMBERS % FEATURES,
    "x_data": 1.0 + NUMBERS,
    "x_shape": np.array([NODES, FEATURES]),
    "y": NUMBERS % 3,
}
PARTS = {"train_idx": NUMBERS[:6], "val_idx": NUMBERS[6:9], "test_idx": NUMBERS[9:]}


def write(path: Path, **changes: Any) -> Path:
    np.savez(path, **{name: value for name, value in {**GRAPH, **changes}.items() if value is not None})
    return path


def loaded(path: Path, **arguments: Any) -> Any:
    data = NpzGraphData(path, normalize_features=False, **arguments)
    data.setup()
    return data.loaded.graph


KINDS = (np.int32, np.int64, np.uint8, np.uint64, np.float32, np.float64, ">i4")


@given(st.tuples(*[st.sampled_from(KINDS)] * 5), st.sampled_from([np.float16, np.float32, np.float64, np.uint8, ">f8"]))
def test_whole_numbers_are_read_whatever_type_they_were_saved_as(
    tmp_path_factory: pytest.TempPathFactory, kinds: tuple[Any, ...], values: Any
) -> None:
    names = ("adj_indptr", "adj_indices", "x_indptr", "x_indices", "y")
    changes = {name: GRAPH[name].astype(kind) for name, kind in zip(names, kinds, strict=True)}
    folder = tmp_path_factory.mktemp("kinds")
    found = loaded(write(folder / "changed.npz", x_data=GRAPH["x_data"].astype(values), **changes))
    plain = loaded(write(folder / "plain.npz"))
    for name in ("x", "y", "edge_index", "train_mask"):
        assert torch.equal(found[name], plain[name])


def test_edges_and_features_may_be_in_pygs_form(tmp_path: Path) -> None:
    sparse = loaded(write(tmp_path / "sparse.npz"))
    without: dict[str, Any] = dict.fromkeys(name for name in GRAPH if name != "y")
    edge_index, x = np.stack([NUMBERS, (NUMBERS + 1) % NODES]), sparse.x.numpy()
    dense = loaded(write(tmp_path / "dense.npz", **{**without, "edge_index": edge_index, "x": x}))
    assert all(torch.equal(dense[name], sparse[name]) for name in ("x", "edge_index", "y"))
    for changes, message in (
        ({"edge_index": edge_index.T, "x": x}, r"edge_index has the shape \[2, num_edges\]; got \[12, 2\]"),
        ({"edge_index": edge_index + 1, "x": x}, "edge_index names node 12, but there are 12"),
        ({"edge_index": edge_index + 0.5, "x": x}, r"edge_index holds whole numbers; got 0\.5"),
        ({"edge_index": edge_index, "x": x[:, 0]}, r"x has a row for each node .*; got \[12\]"),
        ({"edge_index": edge_index, "x": x, "y": NUMBERS[1:] % 3}, "x says 12 nodes, so y has 12 entries; got 11"),
        ({"x": x}, "lacks adj_indptr, adj_indices; it has x, y"),
    ):
        with pytest.raises(ValueError, match=message):
            loaded(write(tmp_path / "wrong.npz", **{**without, **changes}))


def test_a_part_is_a_list_of_nodes_or_a_mask(tmp_path: Path) -> None:
    listed = loaded(write(tmp_path / "listed.npz", **PARTS))
    masks = {name: np.isin(NUMBERS, part) for name, part in PARTS.items()}
    renamed = {name.replace("idx", "mask"): part for name, part in masks.items()}
    for parts in (masks, renamed, {**PARTS, "val_idx": masks["val_idx"]}):
        found = loaded(write(tmp_path / "masks.npz", **parts))
        for name in ("train_mask", "val_mask", "test_mask"):
            assert torch.equal(found[name], listed[name])


def test_three_lists_beside_three_masks_are_refused(tmp_path: Path) -> None:
    masks = {name.replace("idx", "mask"): np.isin(NUMBERS, part) for name, part in PARTS.items()}
    message = "has train_idx, val_idx, test_idx, and train_mask, val_mask, test_mask as well; leave out either three$"
    with pytest.raises(ValueError, match=message):
        loaded(write(tmp_path / "both.npz", **PARTS, **masks))


def test_weights_and_features_of_edges_are_named_that_are_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "weighted.npz", edge_weight=np.ones(NODES))
    with pytest.warns(UserWarning, match="edge_weight are not read: edges of this graph have neither weights nor fea"):
        loaded(path)


def test_durations_are_no_features(tmp_path: Path) -> None:
    path = write(tmp_path / "durations.npz", x_data=GRAPH["x_data"].astype("m8[s]"))
    with pytest.raises(ValueError, match="x_data holds durations, which are not read; save it as numbers"):
        loaded(path)


def test_an_edge_counts_once_in_both_directions_however_often_it_is_listed(tmp_path: Path) -> None:
    # Node 0 names node 1 twice and itself, node 1 names node 0.
    indptr = np.array([0, 3, *[4] * (NODES - 1)])
    graph = loaded(write(tmp_path / "graph.npz", adj_indptr=indptr, adj_indices=np.array([1, 1, 0, 0])))
    assert sorted(map(tuple, graph.edge_index.t().tolist())) == [(0, 0), (0, 1), (1, 0)]


def test_a_feature_that_is_listed_twice_is_the_sum_as_scipy_has_it(tmp_path: Path) -> None:
    scipy = pytest.importorskip("scipy.sparse")
    sparse = {"x_indices": np.zeros(NODES, int), "x_indptr": np.array([0, 2, *range(2, NODES + 1)])}
    sparse["x_indptr"][-1] = NODES
    path = write(tmp_path / "graph.npz", **sparse)
    matrix = scipy.csr_matrix((GRAPH["x_data"], sparse["x_indices"], sparse["x_indptr"]), shape=(NODES, FEATURES))
    assert np.array_equal(loaded(path).x.numpy(), matrix.toarray().astype(np.float32))


def test_a_node_without_a_class_belongs_to_no_part(tmp_path: Path) -> None:
    y = np.r_[NUMBERS[:-1] % 3, -1]
    parts = {**PARTS, "test_idx": NUMBERS[9:-1]}
    assert loaded(write(tmp_path / "graph.npz", y=y, **parts)).y[-1] == -1
    with pytest.raises(ValueError, match="test nodes have the class -1; classes count from 0"):
        loaded(write(tmp_path / "graph.npz", y=y, **PARTS))


def huge(shape: str, kind: str = "<f4") -> bytes:
    """An npy file whose header promises more than follows."""
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(64)


def with_member(path: Path, name: str, content: bytes) -> Path:
    """The graph's file, with an array of other bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, **{key: value for key, value in GRAPH.items() if key != name})
    path.write_bytes(buffer.getvalue())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{name}.npy", content)
    return path


class Runs:
    def __reduce__(self) -> Any:
        return os.mkdir, ("it-was-run",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": NUMBERS % 3 + 0.7}, r"y holds whole numbers; got 0\.7 at place 0"),
        ({"y": np.r_[np.nan, NUMBERS[1:] % 3]}, "y holds whole numbers; got nan at place 0"),
        ({"y": np.array(["a"] * NODES)}, "y holds text, which are not read"),
        ({"y": np.eye(3)[NUMBERS % 3]}, r"y is a list of whole numbers; got the shape \[12, 3\]"),
        ({"y": NUMBERS % 3 == 0}, r"y holds whole numbers; got yes and no"),
        ({"y": np.zeros(NODES)}, "all nodes have the class 0: there is nothing to learn"),
        ({"y": np.r_[NUMBERS[:-1] % 3, 9999]}, "there are 4 classes, but the greatest is 9999; number them 0 to 3"),
        ({"y": 10 * (1 + NUMBERS % 3)}, "there are 3 classes, but the greatest is 30"),
        ({"y": np.array([Runs()] * NODES)}, "y holds Python objects, which are not read"),
        ({"x_data": GRAPH["x_data"] * 1j}, "x_data holds complex numbers, which are not read"),
        ({"x_data": np.r_[np.inf, GRAPH["x_data"][1:]]}, r"the node features have 1 values .* inf at \[0, 0\]"),
        ({"x_data": np.r_[1e39, GRAPH["x_data"][1:]]}, "the node features have 1 values that are not finite"),
        ({"x_data": GRAPH["x_data"][:-1]}, r"x_indices has 12 entries, so x_data has too; got \[11\]"),
        ({"x_indices": np.full(NODES, FEATURES)}, "x_indices names feature 4 at place 0, but there are 4"),
        ({"x_indices": np.full(NODES, -1)}, "x_indices names feature -1 at place 0"),
        (
            {"x_shape": np.array([NODES, 10**12])},
            "x of the shape .* would take .* GiB, more than half",
        ),
        ({"x_shape": np.array([NODES])}, r"x_shape is the number of nodes and of features, .* got \[12\]"),
        ({"x_shape": np.array([0, 0])}, r"both at least 1; got \[0, 0\]"),
        ({"adj_indptr": np.r_[1, NUMBERS + 1]}, "adj_indptr rises from 0 to the 12 entries .* it goes from 1 to 12"),
        ({"adj_indptr": np.r_[0, 5, NUMBERS[1:] + 1]}, "adj_indptr rises .*; it falls at place 2"),
        ({"adj_indptr": np.arange(NODES)}, "so adj_indptr has 13 entries; got 12"),
        ({"adj_indices": np.full(NODES, -1)}, "adj_indices names node -1 at place 0, but there are 12"),
        ({**PARTS, "train_idx": NUMBERS[:0]}, "there is no training node"),
        ({**PARTS, "train_idx": NUMBERS[:8]}, "training and validation share 2 nodes, the first of them 6"),
        ({**PARTS, "train_idx": np.array([-1, 0])}, "train_idx names node -1"),
        ({**PARTS, "train_idx": np.array([0.5])}, r"train_idx holds whole numbers; got 0\.5"),
        ({**PARTS, "train_idx": NUMBERS[:5] < 9}, r"train_idx is a mask of 12 nodes; got the shape \[5\]"),
        (
            {**PARTS, "train_idx": (NUMBERS < 6).astype(int)},
            "train_idx looks like a mask of 0 and 1; save it",
        ),
        ({"train_idx": NUMBERS[:6], "valid_idx": NUMBERS[6:9]}, "lacks val_idx, test_idx"),
        ({"training": NUMBERS[:6]}, "has training; parts are train_idx, val_idx, test_idx, or train_mask"),
    ],
)
def test_what_is_no_graph_is_refused_with_the_file_and_the_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "graph.npz", **changes)
    with pytest.raises(ValueError, match=message) as raised:
        NpzGraphData(path).setup()
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "it-was-run").exists()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("(1000000000000,)", r"y says that it has the shape \[1000000000000\], 4000000000000 bytes, but 64 follow"),
        ("(-1,)", "y says that it has the shape|y is not an array"),
        ("('a',)", "y is not an array as numpy writes them"),
        ("__import__('os').mkdir('it-was-run')", "y is not an array as numpy writes them"),
    ],
)
def test_a_header_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = with_member(tmp_path / "graph.npz", "y", huge(shape))
    with pytest.raises(ValueError, match=message):
        NpzGraphData(path).setup()
    assert not (tmp_path / "it-was-run").exists()


def test_what_unpacks_to_more_than_memory_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "graph.npz"
    np.savez_compressed(path, **{**GRAPH, "y": np.zeros(2_000_000)})
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(reading, "memory_limit", lambda: 10_000_000)
    with pytest.raises(ValueError, match=r"together would take 0\.0 GiB, more than half of this machine's memory"):
        NpzGraphData(path).setup()


def test_a_file_that_is_cut_off_or_is_none_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.npz").read_bytes()
    path = tmp_path / "graph.npz"
    for content in (b"", b"smiles,y\n", whole[: len(whole) // 2], pickle.dumps({}), np.lib.format.MAGIC_PREFIX):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=re.escape(f"{path} is not a whole npz file")):
            NpzGraphData(path).setup()
    middle = len(whole) // 2
    path.write_bytes(whole[:500] + bytes(byte ^ 255 for byte in whole[500:middle]) + whole[middle:])
    with pytest.raises(ValueError, match=re.escape(str(path))):
        NpzGraphData(path).setup()
    os.mkfifo(tmp_path / "pipe.npz")
    for path in (tmp_path, tmp_path / "pipe.npz"):
        with pytest.raises(ValueError, match="is not a file"):
            NpzGraphData(path).setup()
    with pytest.raises(FileNotFoundError, match="there is no file"):
        NpzGraphData(tmp_path / "absent.npz").setup()


def test_a_class_that_no_training_node_has_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "graph.npz", y=np.where(NUMBERS < 6, NUMBERS % 2, 2), **PARTS)
    with pytest.warns(UserWarning, match=r"graph\.npz: no training node has the class 2, so nothing learns it"):
        NpzGraphData(path).setup()


def test_a_graph_without_edges_is_said_to_be_one(tmp_path: Path) -> None:
    path = write(tmp_path / "graph.npz", adj_indptr=np.zeros(NODES + 1), adj_indices=NUMBERS[:0])
    with pytest.warns(UserWarning, match="the graph has no edges"):
        NpzGraphData(path).setup()
