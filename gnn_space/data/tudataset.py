"""Graph classification and regression from the collection of TU Dortmund."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data, InMemoryDataset
from torch_geometric.datasets import TUDataset

from automl_plugins.spaces.task import Target, Task
from automl_plugins.system.arguments import three_fractions
from automl_plugins.training.data.arrays import check_size
from automl_plugins.training.data.splits import random_split
from automl_plugins.training.data.targets import check_labels, warn_of_few
from gnn_space.data.download import open_dataset
from gnn_space.data.graph_checks import check_classes, check_store
from gnn_space.data.graphs import ManyGraphs, ManyGraphsData
from gnn_space.data.store import GraphStore

FRACTIONS = three_fractions("FRACTIONS", (0.8, 0.1, 0.1))


class TUData(ManyGraphsData):
    """A TU data set (Morris et al. 2020, arXiv 2007.08663): graphs with classes, or with real values.

    `x` has the nodes' attributes and one-hot labels, `edge_attr` the edges'; where a data set
    describes no nodes, `x` is a single 1. A data set with a file of graph attributes is regressed: `y` has them as
    PyG does, `[num_graphs]` or, of several targets, `[num_graphs, num_targets]`. One with graph labels is classified.
    Random 80/10/10 split.

    Args:
        name: of the data set, as in the collection: `MUTAG`, `ENZYMES`, `PROTEINS` ...
        root: folder of the data; they are downloaded to `<root>/<name>/raw` where missing.
        batch_size: graphs of a batch.
        seed: of the split and of the order of training batches.

    Raises:
        ValueError: an argument is out of range; (in `setup`) the files are broken or disagree, or the targets tell
            nothing apart.
        ConnectionError: (in `prepare_data`) the data are missing and cannot be downloaded.
    """

    def __init__(self, name: str = "MUTAG", root: str | Path = "data", batch_size: int = 32, seed: int = 0) -> None:
        super().__init__(batch_size, seed)
        if not name:
            raise ValueError("name is that of a data set of the collection, such as MUTAG; got an empty one")
        self.name = name
        self.root = Path(root).expanduser()

    def _open(self) -> InMemoryDataset:
        arguments = {"root": str(self.root), "name": self.name, "use_node_attr": True, "use_edge_attr": True}
        return open_dataset(TUDataset, check_raw=_check_raw, **arguments)

    def _download(self) -> None:
        self._open()

    def _load(self) -> ManyGraphs:
        dataset = self._open()
        where = f"{self.root}, {self.name}"
        targets = _targets(dataset, where)
        single = targets.to(torch.float32) if targets.is_floating_point() else targets
        graphs = [_plain(dataset[index], y) for index, y in enumerate(single)]
        parts = random_split(len(graphs), FRACTIONS, self.seed, where)
        target: Target = "regression" if targets.is_floating_point() else "classes"
        if target == "regression":
            columns = targets.view(len(targets), -1)
            outputs = columns.size(1)
            names = [f"target {number}" for number in range(outputs)]
            check_labels(where, names, target, *(columns[part] for part in parts))
        else:
            named = dict(zip(("training", "validation", "test"), parts, strict=True))
            outputs = check_classes(where, "graphs", targets, named)
            warn_of_few(where, len(parts[1]))
        train, val, test = (GraphStore.from_graphs([graphs[index] for index in part.tolist()]) for part in parts)
        for store in (train, val, test):
            check_store(where, store)
        first = graphs[0]
        task = Task(
            "graph",
            target,
            in_channels=int(first.x.size(1)),
            out_channels=outputs,
            edge_channels=0 if first.edge_attr is None else int(first.edge_attr.size(1)),
        )
        return ManyGraphs(task, train, val, test)


def _targets(dataset: InMemoryDataset, where: str) -> Tensor:
    """Classes `[num_graphs]`, or real values `[num_graphs]` or `[num_graphs, num_targets]`.

    Raises:
        ValueError: there are none, or another number of them than of graphs; or files disagree on nodes or edges.
    """
    y = dataset._data.y
    if y is None:
        raise ValueError(f"{where}: there are neither graph labels nor graph attributes, so nothing is to be predicted")
    y = y.to(torch.float64) if y.is_floating_point() else y
    for name in ("x", "edge_index", "edge_attr"):
        values, bounds = dataset._data.get(name), (dataset.slices or {}).get(name)
        count = 0 if values is None else int(values.size(1 if name == "edge_index" else 0))
        if bounds is not None and count != int(bounds[-1]):
            raise ValueError(f"{where}: the graphs have {int(bounds[-1])} rows of {name}, but the files {count}")
    if len(y) != len(dataset) or y.dim() > 2 or (y.dim() == 2 and not y.is_floating_point()):
        raise ValueError(
            f"{where}: each of the {len(dataset)} graphs (PyG leaves out those after the last edge) has one label; "
            f"got the shape {list(y.shape)}"
        )
    return y


def _plain(graph: Data, target: Tensor) -> Data:
    """The attributes that we hand on, in the types that we promise."""
    x = torch.ones(int(graph.num_nodes or 0), 1) if graph.x is None else graph.x.to(torch.float32)
    edge_attr = None if graph.edge_attr is None else graph.edge_attr.to(torch.float32)
    return Data(x=x, edge_index=graph.edge_index, edge_attr=edge_attr, y=target.unsqueeze(0))


def _check_raw(folder: Path) -> None:
    """Refuse files that PyG would read otherwise than they are meant."""
    for path in sorted(folder.glob("*.txt")):
        content = path.read_bytes()
        if path.name.lower().startswith("readme"):
            continue
        if content and not content.endswith(b"\n"):
            raise ValueError(f"{path} does not end with a line end, and PyG leaves such a last line out; add one")
        if path.stem.endswith(("_node_labels", "_edge_labels")):
            _check_one_hot(path, content)


def _check_one_hot(path: Path, content: bytes) -> None:
    try:
        labels = np.array(content.replace(b",", b" ").split(), dtype=np.float64)
    except ValueError:
        return  # PyG says it
    if len(labels):
        count = int(labels.max() - labels.min()) + 1
        check_size(str(path), f"one-hot labels of {labels.min():g} to {labels.max():g}", 4 * count * len(labels))
