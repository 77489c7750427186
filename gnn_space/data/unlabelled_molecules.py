"""Molecules of a table without targets, to be predicted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch

from automl_plugins.spaces.task import Task
from automl_plugins.system.arguments import at_least
from automl_plugins.training.data.csv_table import read_csv_table
from automl_plugins.training.data.unlabelled import Unlabelled
from gnn_space.data.descriptors import check_descriptors, further_features
from gnn_space.data.smiles import import_chem, molecule_graph, molecule_store, parse


def unlabelled_molecules(
    path: Path,
    task: Task,
    smiles_column: str = "smiles",
    descriptors: str | Sequence[str] = (),
    batch_size: int = 64,
    known: Tensor | None = None,
) -> Unlabelled:
    """The molecules of a CSV table; each row is told by its line and its SMILES, and one that is none is skipped.

    Args:
        path: the file, with a header line.
        task: of the networks.
        smiles_column: the column of SMILES; others are not looked at.
        descriptors: features of whole molecules that the networks read, see `gnn_space.data.descriptors`.
        batch_size: molecules of a batch.
        known: the training molecules' descriptors, that these are ranked by.

    Raises:
        ValueError: the file is no table, or lacks the column; or RDKit's descriptors are others than those of the
            training.
        FileNotFoundError: there is no such file.
        ImportError: RDKit is not installed.
    """
    import_chem()
    names, size = check_descriptors(descriptors), at_least("batch_size", batch_size, 1)
    table = read_csv_table(path, [smiles_column])
    smiles = table.columns[smiles_column]
    molecules = [parse(each) for each in smiles]
    kept = [place for place, molecule in enumerate(molecules) if molecule is not None]
    skipped = {place: why_skipped(smiles[place]) for place, molecule in enumerate(molecules) if molecule is None}

    def batches() -> Iterator[tuple[Sequence[int], Batch]]:
        for start in range(0, len(kept), size):
            places = kept[start : start + size]
            yield places, _batch([molecules[place] for place in places])

    def _batch(chosen: Sequence[Any]) -> Batch:
        graphs = [molecule_graph(molecule) for molecule in chosen]
        if names:
            features = further_features(chosen, names, torch.empty(0, 0) if known is None else known)
            for graph, row in zip(graphs, features, strict=True):
                graph.graph_attr = row.unsqueeze(0)
        store = molecule_store(graphs, torch.full((len(graphs), task.out_channels), torch.nan))
        return store.batch(range(len(graphs)))

    return Unlabelled(("row", "smiles"), list(zip(table.lines, smiles, strict=True)), skipped, batches)


def why_skipped(smiles: str) -> str:
    """The reason for which a SMILES gives no molecule."""
    return "does not parse" if smiles else "is empty"
