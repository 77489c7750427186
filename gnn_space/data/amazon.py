"""Products that are bought together, and authors who write together: no split of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from torch_geometric.data import Data, InMemoryDataset
from torch_geometric.datasets import Amazon, Coauthor

from automl_plugins.system.arguments import one_of
from automl_plugins.training.data.arrays import check_arrays
from gnn_space.data.download import open_dataset
from gnn_space.data.single import SingleGraphData

AmazonName = Literal["Photo", "Computers"]
CoauthorName = Literal["CS", "Physics"]

_ARRAYS = (
    *(f"{matrix}_{part}" for matrix in ("adj", "attr") for part in ("data", "indices", "indptr", "shape")),
    "labels",
)


class _ShchurData(SingleGraphData):
    """A graph of Shchur et al. 2018 (arXiv 1811.05868), split 60/20/20 at random."""

    dataset: type[InMemoryDataset]

    def __init__(
        self,
        name: str,
        root: str | Path,
        steps_per_epoch: int,
        normalize_features: bool,
        sparse_features: bool,
        seed: int,
    ) -> None:
        super().__init__(steps_per_epoch, normalize_features, sparse_features, seed)
        self.name = name
        self.root = Path(root).expanduser()

    def _open(self) -> InMemoryDataset:
        return open_dataset(self.dataset, check_raw=_check_raw, root=str(self.root), name=self.name)

    def _where(self) -> str:
        return f"{self.root}, {self.name}"

    def _download(self) -> None:
        self._open()

    def _read(self) -> Data:
        graph = self._open()[0]
        return Data(x=graph.x, edge_index=graph.edge_index, y=graph.y)


def _check_raw(folder: Path) -> None:
    for path in folder.glob("*.npz"):
        try:
            check_arrays(path, _ARRAYS)
        except ValueError as error:
            raise ValueError(f"{error}; or remove the folder {folder} to have it downloaded anew") from error


class AmazonData(_ShchurData):
    """Amazon products that are bought together (Shchur et al. 2018): which category is one of?

    Args:
        name: which part of the shop.
        root: folder of the data; they are downloaded to `<root>/<name>/raw` where missing.
        steps_per_epoch: optimizer steps on the graph in one epoch of Lightning.
        normalize_features: scale every node's features to length 1.
        sparse_features: give `x` in CSR layout, see `SingleGraphData`.
        seed: of the random 60/20/20 split.

    Raises:
        ValueError: an argument is out of range.
        ConnectionError: (in `prepare_data`) the data are missing and cannot be downloaded.
    """

    dataset = Amazon

    def __init__(
        self,
        name: AmazonName = "Photo",
        root: str | Path = "data",
        steps_per_epoch: int = 1,
        normalize_features: bool = True,
        sparse_features: bool = False,
        seed: int = 0,
    ) -> None:
        one_of("name", name, get_args(AmazonName))
        super().__init__(name, root, steps_per_epoch, normalize_features, sparse_features, seed)


class CoauthorData(_ShchurData):
    """Authors who wrote a paper together (Shchur et al. 2018): which field do they work in?

    Args:
        name: which science.
        root: folder of the data; they are downloaded to `<root>/<name>/raw` where missing.
        steps_per_epoch: optimizer steps on the graph in one epoch of Lightning.
        normalize_features: scale every node's features to length 1.
        sparse_features: give `x` in CSR layout, see `SingleGraphData`.
        seed: of the random 60/20/20 split.

    Raises:
        ValueError: an argument is out of range.
        ConnectionError: (in `prepare_data`) the data are missing and cannot be downloaded.
    """

    dataset = Coauthor

    def __init__(
        self,
        name: CoauthorName = "CS",
        root: str | Path = "data",
        steps_per_epoch: int = 1,
        normalize_features: bool = True,
        sparse_features: bool = False,
        seed: int = 0,
    ) -> None:
        one_of("name", name, get_args(CoauthorName))
        super().__init__(name, root, steps_per_epoch, normalize_features, sparse_features, seed)
