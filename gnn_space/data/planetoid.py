"""The citation networks Cora, CiteSeer and PubMed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from torch_geometric.data import Data, InMemoryDataset
from torch_geometric.datasets import Planetoid

from automl_plugins.system.arguments import one_of
from gnn_space.data.download import open_dataset
from gnn_space.data.planetoid_files import check_pickles
from gnn_space.data.single import SingleGraphData

PlanetoidName = Literal["Cora", "CiteSeer", "PubMed"]
PlanetoidSplit = Literal["public", "random"]


class PlanetoidData(SingleGraphData):
    """A citation network (Yang et al. 2016, arXiv 1603.08861): which field is a paper of?

    Args:
        name: which network.
        root: folder of the data; they are downloaded to `<root>/<name>/raw` where missing.
        split: `public`: 20 training nodes a class, 500 validation and 1000 test nodes, as most
            papers report; `random`: 60/20/20 by seed.
        steps_per_epoch: optimizer steps on the graph in one epoch of Lightning.
        normalize_features: scale every node's features to length 1.
        sparse_features: give `x` in CSR layout, see `SingleGraphData`.
        seed: of the random split; the public one does not depend on it.

    Raises:
        ValueError: an argument is out of range.
        ConnectionError: (in `prepare_data`) the data are missing and cannot be downloaded.
    """

    def __init__(
        self,
        name: PlanetoidName = "Cora",
        root: str | Path = "data",
        split: PlanetoidSplit = "public",
        steps_per_epoch: int = 1,
        normalize_features: bool = True,
        sparse_features: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(steps_per_epoch, normalize_features, sparse_features, seed)
        self.name = one_of("name", name, get_args(PlanetoidName))
        self.root = Path(root).expanduser()
        self.split = one_of("split", split, get_args(PlanetoidSplit))

    def _open(self) -> InMemoryDataset:
        return open_dataset(Planetoid, check_raw=check_pickles, root=str(self.root), name=self.name)

    def _where(self) -> str:
        return f"{self.root}, {self.name}"

    def _download(self) -> None:
        self._open()

    def _read(self) -> Data:
        graph = self._open()[0]
        if self.split == "random":
            return Data(x=graph.x, edge_index=graph.edge_index, y=graph.y)
        return graph
