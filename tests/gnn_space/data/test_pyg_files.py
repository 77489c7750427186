"""Files that PyG reads: real-valued targets stay what they are, broken files are named, and nothing in them is run."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from automl_plugins.training.fit import train
from gnn_space import AGNNSpace, GraphRegression
from gnn_space.data import AmazonData, PlanetoidData, TUData
from gnn_space.data.planetoid_files import check_pickles

GRAPHS = 30
EDGES = "".join(f"{node}, {node + 1}\n{node + 1}, {node}\n" for node in range(1, 2 * GRAPHS, 2))


def write(root: Path, **changes: str | None) -> TUData:
    """A TU data set of graphs of two joined nodes; a file is changed, left out, or added."""
    files: dict[str, str | None] = {
        "A": "".join(
            f"{2 * graph + 1}, {2 * graph + 2}\n{2 * graph + 2}, {2 * graph + 1}\n" for graph in range(GRAPHS)
        ),
        "graph_indicator": "".join(f"{graph + 1}\n" * 2 for graph in range(GRAPHS)),
        "graph_labels": "".join(f"{graph % 3}\n" for graph in range(GRAPHS)),
        **changes,
    }
    raw = root / "OWN" / "raw"
    raw.mkdir(parents=True)
    for name, text in files.items():
        if text is not None:
            (raw / f"OWN_{name}.txt").write_text(text)
    return TUData("OWN", root)


def column(values: Any) -> str:
    return "".join(f"{value}\n" for value in values)


@pytest.mark.parametrize("first", [0.0, -3.0, 1e6])
def test_real_valued_targets_are_regressed_as_they_are(tmp_path: Path, first: float) -> None:
    values = [first + 0.31 * graph for graph in range(GRAPHS)]
    data = write(tmp_path, graph_labels=None, graph_attributes=column(values))
    assert (data.task.target, data.task.out_channels) == ("regression", 1)
    found = torch.cat([data.loaded.train.y, data.loaded.val.y, data.loaded.test.y]).sort().values
    assert found.tolist() == pytest.approx(values, rel=1e-6)
    statistics = data.target_statistics
    assert statistics is not None
    mean, deviation = statistics
    assert mean.item() == pytest.approx(data.loaded.train.y.double().mean().item())
    assert deviation.item() == pytest.approx(data.loaded.train.y.double().std(correction=0).item(), rel=1e-3)


def test_several_real_valued_targets_are_learned(tmp_path: Path) -> None:
    values = column(f"{graph}.5, {-graph}" for graph in range(GRAPHS))
    data = write(tmp_path, graph_labels=None, graph_attributes=values)
    assert data.task.out_channels == 2
    space = AGNNSpace(layers=1)
    network = space.network(space.sample(torch.Generator().manual_seed(0)), data.task)
    result = train(GraphRegression(network, data.task), data, "val_nrmse", "minimize", {"max_epochs": 20})
    assert 0 < result.score < 1.5  # in deviations of the targets: the mean of the training graphs has about 1


def test_labels_of_any_numbers_are_classes_in_their_order(tmp_path: Path) -> None:
    data = write(tmp_path, graph_labels=column((-1, 5, 7)[graph % 3] for graph in range(GRAPHS)))
    assert (data.task.target, data.task.out_channels) == ("classes", 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"graph_labels": None}, "there are neither graph labels nor graph attributes"),
        ({"graph_labels": column([1] * GRAPHS)}, "all graphs have the class 0: there is nothing to learn"),
        (
            {"graph_labels": column(n / 2 for n in range(GRAPHS))},
            "cannot be read .ValueError: invalid literal",
        ),
        (
            {"graph_labels": column(n % 3 for n in range(9))},
            r"each of the 30 graphs .* has one label; got .* \[9\]",
        ),
        ({"graph_labels": column(f"{n % 2}, 1" for n in range(GRAPHS))}, r"one label; got the shape \[30, 2\]"),
        ({"graph_labels": "\n".join(["0", "1"] * 15)}, "labels.txt does not end with a line end"),
        ({"A": "1, 99\n"}, "cannot be read .IndexError"),
        ({"A": f"1, 3\n3, 1\n{EDGES}"}, "edge 1 is from 0 to 2, but its graph has 2 nodes"),
        ({"A": "one, two\n"}, "cannot be read .ValueError: invalid literal"),
        ({"A": ""}, "cannot be read"),
        ({"graph_indicator": column([1, 1] + [3, 3] * (GRAPHS - 1))}, "has no nodes|one label"),
        ({"node_attributes": column([float("nan")] + [1.0] * (2 * GRAPHS - 1))}, "the node features have 1 values"),
        ({"edge_attributes": column([float("inf")] + [1.0] * (2 * GRAPHS - 1))}, "the edge features have 1 values"),
        ({"node_attributes": column([1.0] * 7)}, "the graphs have 60 rows of x, but the files 7"),
        ({"node_labels": column([0] * (2 * GRAPHS - 1) + [10**12])}, "one-hot labels of 0 to 1e.12 would take"),
        ({"graph_labels": None, "graph_attributes": column([2.5] * GRAPHS)}, "have the same target 0 .2.5.: there is"),
        (
            {"graph_labels": None, "graph_attributes": column([float("nan")] * GRAPHS)},
            "no training sample has a value of the target",
        ),
    ],
)
def test_what_the_files_do_not_say_is_not_made_up(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    data = write(tmp_path, **changes)
    with pytest.raises(ValueError, match=message) as raised:
        data.setup()
    assert "\n" not in str(raised.value)


def test_a_file_that_was_processed_by_halves_is_named_with_the_cure(tmp_path: Path) -> None:
    data = write(tmp_path)
    data.setup()
    processed = tmp_path / "OWN" / "processed" / "data.pt"
    whole = processed.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"not a file of torch"):
        processed.write_bytes(content)
        with pytest.raises(ValueError, match=r"data\.pt is broken, or .* remove the folder .*processed, which is"):
            TUData("OWN", tmp_path).setup()


class Runs:
    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("name", ["data.pt", "pre_transform.pt", "pre_filter.pt"])
def test_a_processed_file_runs_no_code(tmp_path: Path, name: str) -> None:
    write(tmp_path).setup()
    torch.save(Runs(tmp_path / "it-was-run"), tmp_path / "OWN" / "processed" / name)
    with pytest.raises(ValueError, match="holds more than tensors, and is not read"):
        TUData("OWN", tmp_path).setup()
    assert not (tmp_path / "it-was-run").exists()


PIECES = ("x", "tx", "allx", "y", "ty", "ally", "graph")


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("piece", ["x", "graph"])
def test_a_raw_file_of_planetoid_runs_no_code(tmp_path: Path, piece: str, protocol: int) -> None:
    raw = tmp_path / "Cora" / "raw"
    raw.mkdir(parents=True)
    for name in PIECES:
        (raw / f"ind.cora.{name}").write_bytes(pickle.dumps(np.eye(3)))
    (raw / "ind.cora.test.index").write_text("0\n")
    (raw / f"ind.cora.{piece}").write_bytes(pickle.dumps(Runs(tmp_path / "it-was-run"), protocol))
    with pytest.raises(ValueError, match=rf"ind\.cora\.{piece} .* more than arrays, and is not read .it asks for"):
        PlanetoidData("Cora", tmp_path).setup()
    assert not (tmp_path / "it-was-run").exists()


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_raw_files_of_arrays_pass(tmp_path: Path, protocol: int) -> None:
    scipy = pytest.importorskip("scipy.sparse")
    for name, content in {"x": scipy.csr_matrix(np.eye(3)), "y": np.eye(2), "graph": {0: [1], 1: [0]}}.items():
        (tmp_path / f"ind.cora.{name}").write_bytes(pickle.dumps(content, protocol))
    check_pickles(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04half of a file", b"<html>not found</html>"])
def test_a_raw_file_that_came_by_halves_is_named(tmp_path: Path, content: bytes) -> None:
    for make, path in (
        (lambda: PlanetoidData("Cora", tmp_path), "Cora/raw/ind.cora.allx"),
        (lambda: AmazonData("Photo", tmp_path), "Photo/raw/amazon_electronics_photo.npz"),
    ):
        raw = tmp_path / Path(path).parent
        raw.mkdir(parents=True)
        if "Cora" in path:
            for name in PIECES:
                (raw / f"ind.cora.{name}").write_bytes(pickle.dumps(np.eye(3)))
            (raw / "ind.cora.test.index").write_text("0\n")
        (tmp_path / path).write_bytes(content)
        with pytest.raises(ValueError, match=r"remove the folder.* to have (them|it) downloaded anew") as raised:
            make().setup()
        assert str(raw) in str(raised.value)
        assert "\n" not in str(raised.value)


def test_two_data_sets_share_a_root(tmp_path: Path) -> None:
    one = write(tmp_path)
    raw = tmp_path / "OTHER" / "raw"
    raw.mkdir(parents=True)
    for path in (tmp_path / "OWN" / "raw").iterdir():
        (raw / path.name.replace("OWN", "OTHER")).write_text(path.read_text())
    (raw / "OTHER_graph_labels.txt").write_text(column(graph % 2 for graph in range(GRAPHS)))
    other = TUData("OTHER", tmp_path)
    assert [data.task.out_channels for data in (one, other)] == [3, 2]
