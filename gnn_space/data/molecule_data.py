"""Properties of molecules: what every table of SMILES becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch_geometric.data import Data

from automl_plugins._lightning import pl
from automl_plugins.data.checks import one_of, three_fractions
from automl_plugins.data.splits import random_split
from automl_plugins.task import Task
from gnn_space.data.graphs import ManyGraphs, ManyGraphsData
from gnn_space.data.smiles import ATOM_CATEGORIES, BOND_CATEGORIES, import_chem, molecule_graph, molecule_store, parse

MoleculeTarget = Literal["regression", "binary", "multilabel"]

SPLIT_NAMES = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "test": 2}
VALIDATION_SHARE = 0.15
"""Part of the training molecules that validates, where a table splits into training and test only."""


@dataclass(frozen=True)
class MoleculeTable:
    """What was read: SMILES, targets `[num_rows, num_targets]`, and each row's split, if the table says."""

    smiles: list[str]
    targets: list[list[float]]
    splits: list[str] | None = None


@dataclass(frozen=True)
class Molecules(ManyGraphs):
    """Loaded molecules, and the SMILES that gave no graph."""

    skipped: tuple[str, ...] = ()


class MoleculeData(ManyGraphsData):
    """Graph-level targets of molecules.

    A batch has integer `x` `[num_atoms, 9]` and `edge_attr` `[num_edges, 3]`, the columns of
    `torch_geometric.utils.from_smiles`, and `y` `[num_graphs, num_targets]` as floats, in the
    table's own units, nan where a target is missing. Molecules that do not parse are left out, with
    one warning; `skipped` lists them.

    Subclasses implement `_read`. Needs `pip install "automl-plugins[molecules]"`.

    Args:
        target: what kind the targets are.
        num_targets: how many there are.
        fractions: shares of training, validation and test, where the table has no split.
        batch_size: molecules of a batch.
        seed: of the split and of the order of training batches.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self, target: MoleculeTarget, num_targets: int, fractions: Sequence[float], batch_size: int, seed: int
    ) -> None:
        super().__init__(batch_size, seed)
        one_of("target", target, get_args(MoleculeTarget))
        self.target: MoleculeTarget = target
        self.num_targets = num_targets
        self.fractions = three_fractions("fractions", fractions)

    @property
    def skipped(self) -> list[str]:
        """The SMILES that do not parse, or have no atoms, in the table's order."""
        loaded = self.loaded
        return list(loaded.skipped) if isinstance(loaded, Molecules) else []

    @property
    def target_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the training molecules' targets, each `[num_targets]`.

        Missing targets do not count. The standard deviation of a constant is given as 1, so that
        one can divide by it.
        """
        y = self.loaded.train.y
        mean = y.nanmean(dim=0)
        deviation = (y - mean).square().nanmean(dim=0).sqrt()
        return mean, deviation.masked_fill(deviation == 0, 1.0)

    def _read(self) -> MoleculeTable:
        raise NotImplementedError(f"{type(self).__name__} must implement _read")

    def _load(self) -> Molecules:
        import_chem()
        table = self._read()
        molecules = [parse(smiles) for smiles in table.smiles]
        skipped = tuple(smiles for smiles, molecule in zip(table.smiles, molecules, strict=True) if molecule is None)
        kept = [row for row, molecule in enumerate(molecules) if molecule is not None]
        if skipped:
            pl.utilities.rank_zero_warn(
                f"{type(self).__name__}: {len(skipped)} of {len(molecules)} molecules do not parse or have no atoms "
                f"and are left out (listed in `skipped`), the first of them {skipped[0]!r}"
            )
        graphs = [molecule_graph(molecules[row]) for row in kept]
        targets = torch.tensor([table.targets[row] for row in kept], dtype=torch.float32).view(-1, self.num_targets)
        splits = None if table.splits is None else [table.splits[row] for row in kept]
        parts = (_select(graphs, targets, part) for part in self._parts(len(kept), splits))
        train, val, test = (molecule_store(*part) for part in parts)
        task = Task(
            "graph",
            self.target,
            in_channels=len(ATOM_CATEGORIES),
            out_channels=self.num_targets,
            edge_channels=len(BOND_CATEGORIES),
            node_categories=ATOM_CATEGORIES,
            edge_categories=BOND_CATEGORIES,
        )
        return Molecules(task, train, val, test, skipped=skipped)

    def _parts(self, count: int, splits: list[str] | None) -> list[Tensor]:
        if splits is None:
            return random_split(count, self.fractions, self.seed)
        numbers = torch.tensor([_split_number(name) for name in splits])
        train, val, test = ((numbers == number).nonzero().flatten() for number in range(3))
        if len(val) == 0:
            rest, held_out = random_split(len(train), (1 - VALIDATION_SHARE, VALIDATION_SHARE), self.seed)
            train, val = train[rest], train[held_out]
        if len(train) == 0 or len(test) == 0:
            raise ValueError(f"the table has {len(train)} training and {len(test)} test molecules; both need some")
        return [train, val, test]


def _select(graphs: list[Data], targets: Tensor, part: Tensor) -> tuple[list[Data], Tensor]:
    return [graphs[index] for index in part.tolist()], targets[part]


def _split_number(name: str) -> int:
    number = SPLIT_NAMES.get(str(name).strip().lower())
    if number is None:
        raise ValueError(f"a molecule's split is one of {', '.join(SPLIT_NAMES)}; got {name!r}")
    return number
