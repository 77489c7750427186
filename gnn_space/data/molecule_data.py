"""Properties of molecules: what every table of SMILES becomes."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from automl_plugins.spaces.task import Task
from automl_plugins.system.arguments import one_of, three_fractions
from automl_plugins.system.nearest import did_you_mean
from automl_plugins.training.data.draft import Reasoned
from automl_plugins.training.data.splits import random_split, stratified_split
from automl_plugins.training.data.targets import check_labels, warn_of_few
from automl_plugins.training.data.unlabelled import Unlabelled
from automl_plugins.training.lightning import pl
from automl_plugins.training.preprocessing import Preprocessing
from gnn_space.data.descriptors import check_descriptors, molecule_features, recommended_descriptors
from gnn_space.data.graph_checks import check_classes
from gnn_space.data.graphs import ManyGraphs, ManyGraphsData
from gnn_space.data.molecule_draft import counts_of, molecule_findings
from gnn_space.data.scaffolds import scaffold_split
from gnn_space.data.smiles import ATOM_CATEGORIES, BOND_CATEGORIES, import_chem, molecule_graph, molecule_store, parse
from gnn_space.data.unlabelled_molecules import unlabelled_molecules, why_skipped

MoleculeTarget = Literal["regression", "binary", "multilabel", "classes"]
MoleculeSplit = Literal["random", "scaffold"]

SPLIT_NAMES = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "test": 2}
VALIDATION_SHARE = 0.15
"""Part of the training molecules that validates, where a table splits into training and test only."""


@dataclass(frozen=True)
class MoleculeTable:
    """A table of molecules as it was read.

    Args:
        smiles: of each row.
        targets: `[num_rows, num_targets]`, nan where missing; the numbers of classes.
        splits: the part of each row, where the table says it.
        lines: where each row stands in its file, from 1.
        classes: the names of classes, in the order of their numbers.
    """

    smiles: list[str]
    targets: np.ndarray
    splits: list[str] | None = None
    lines: list[int] | None = None
    classes: tuple[str, ...] = ()

    def line(self, row: int) -> int:
        """The line of a row; without a file, its number from 1."""
        return row + 1 if self.lines is None else self.lines[row]


class Skipped(NamedTuple):
    """A row that gave no graph: its line, its SMILES, and why."""

    line: int
    smiles: str
    reason: str


@dataclass(frozen=True)
class Molecules(ManyGraphs):
    """Loaded molecules, the rows that gave no graph, the names of classes, and the descriptors that ranks are of."""

    skipped: tuple[Skipped, ...] = ()
    classes: tuple[str, ...] = ()
    known: Tensor | None = None


class MoleculeData(ManyGraphsData):
    """Graph-level targets of molecules.

    A batch has integer `x` `[num_atoms, 9]` and `edge_attr` `[num_edges, 3]`, the columns of
    `torch_geometric.utils.from_smiles`, and `y` `[num_graphs, num_targets]` as floats, in the
    table's own units, nan where a target is missing, or `[num_graphs]`, the numbers of classes;
    with `descriptors` also `graph_attr` `[num_graphs, graph_channels]`. Molecules that do not parse are left out, with
    one warning; `skipped` lists them, and a study writes them to `skipped_molecules.csv`.

    Subclasses implement `_read`. Needs `pip install "automl-plugins[molecules]"`.

    Args:
        target: what kind the targets are.
        num_targets: how many there are.
        fractions: shares of training, validation and test, where the table has no split.
        batch_size: molecules of a batch.
        seed: of the split and of the order of training batches.
        split: `random`, by seed, or `scaffold`: molecules of one ring system are in one part.
        descriptors: features of whole molecules, which networks read at their readout: `rdkit`, `morgan`, or both,
            see `gnn_space.data.descriptors.molecule_features`.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        target: MoleculeTarget,
        num_targets: int,
        fractions: Sequence[float],
        batch_size: int,
        seed: int,
        split: MoleculeSplit = "random",
        descriptors: str | Sequence[str] = (),
    ) -> None:
        super().__init__(batch_size, seed)
        one_of("target", target, get_args(MoleculeTarget))
        self.target: MoleculeTarget = target
        self.num_targets = num_targets
        self.fractions = three_fractions("fractions", fractions)
        self.split = one_of("split", split, get_args(MoleculeSplit))
        self.descriptors = check_descriptors(descriptors)

    def reading(self) -> dict[str, Any]:
        """The arguments of `unlabelled` with which further molecules become what these are."""
        loaded = self.loaded
        known = {"known": loaded.known} if isinstance(loaded, Molecules) and loaded.known is not None else {}
        return {"descriptors": self.descriptors, "batch_size": self.batch_size, **known}

    def recommended(self) -> dict[str, Reasoned]:
        """The descriptors that a study of data alone reads molecules with, see `recommended_descriptors`."""
        loaded = self.loaded
        names = recommended_descriptors(len(loaded.train) + len(loaded.val) + len(loaded.test))
        return {"descriptors": Reasoned(list(names), "networks that read them were better")} if names else {}

    @classmethod
    def unlabelled(cls, path: Path, kept: Preprocessing, **options: Any) -> Unlabelled:
        """The molecules of a table without targets, see `unlabelled_molecules`."""
        return unlabelled_molecules(path, kept.task, **{**kept.reading, **options})

    @property
    def skipped(self) -> list[str]:
        """The SMILES that do not parse, or have no atoms, in the table's order."""
        loaded = self.loaded
        return [row.smiles for row in loaded.skipped] if isinstance(loaded, Molecules) else []

    def findings(self) -> list[str]:
        """Lines about the table: parts and classes, and molecules that stand twice."""
        table = self._read()
        molecules = [parse(smiles) for smiles in table.smiles]
        kept = [row for row, molecule in enumerate(molecules) if molecule is not None]
        found, targets = [molecules[row] for row in kept], table.targets[kept]
        parts = self._parts(table, kept, found)
        told = counts_of(targets, table.classes or (("0", "1") if self.target == "binary" else ()), parts)
        return [*told, *molecule_findings([table.smiles[row] for row in kept], targets, found, parts)]

    def report_files(self) -> dict[str, str]:
        """`skipped_molecules.csv`, where there are some: line, SMILES and reason of each."""
        loaded = self.loaded
        if not isinstance(loaded, Molecules) or not loaded.skipped:
            return {}
        text = io.StringIO(newline="")
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(Skipped._fields)
        rows.writerows(loaded.skipped)
        return {"skipped_molecules.csv": text.getvalue()}

    def _where(self) -> str:
        """The data, for messages."""
        return type(self).__name__

    def _target_names(self) -> list[str]:
        return [str(number) for number in range(self.num_targets)]

    def _read(self) -> MoleculeTable:
        raise NotImplementedError(f"{type(self).__name__} must implement _read")

    def _load(self) -> Molecules:
        import_chem()
        table = self._read()
        molecules = [parse(smiles) for smiles in table.smiles]
        kept = [row for row, molecule in enumerate(molecules) if molecule is not None]
        skipped = self._skip(table, molecules)
        found = [molecules[row] for row in kept]
        parts = self._parts(table, kept, found)
        graphs = [molecule_graph(molecule) for molecule in found]
        known = None
        if self.descriptors:
            features, known = molecule_features(found, self.descriptors, parts[0])
            for graph, row in zip(graphs, features, strict=True):
                graph.graph_attr = row.unsqueeze(0)
        targets = self._checked_targets(table, kept, parts)
        train, val, test = (molecule_store(*_select(graphs, targets, part)) for part in parts)
        task = Task(
            "graph",
            self.target,
            in_channels=len(ATOM_CATEGORIES),
            out_channels=len(table.classes) or self.num_targets,
            edge_channels=len(BOND_CATEGORIES),
            node_categories=ATOM_CATEGORIES,
            edge_categories=BOND_CATEGORIES,
            graph_channels=graphs[0].graph_attr.size(1) if self.descriptors else 0,
        )
        return Molecules(task, train, val, test, skipped=skipped, classes=table.classes, known=known)

    def _checked_targets(self, table: MoleculeTable, kept: list[int], parts: list[Tensor]) -> Tensor:
        """Of the kept rows: values `[num_kept, num_targets]`, or classes `[num_kept]`."""
        read = torch.from_numpy(table.targets[kept])
        if self.target == "classes":
            numbers = read.flatten().long()
            named = dict(zip(("training", "validation", "test"), parts, strict=True))
            check_classes(self._where(), "molecules", numbers, named, table.classes)
            warn_of_few(self._where(), len(parts[1]))
            return numbers
        read = read.view(-1, self.num_targets)
        check_labels(self._where(), self._target_names(), self.target, *(read[part] for part in parts))
        return read.to(torch.float32)

    def _skip(self, table: MoleculeTable, molecules: list[Any]) -> tuple[Skipped, ...]:
        """The rows without a molecule, with one warning.

        Raises:
            ValueError: no row has one.
        """
        skipped = tuple(
            Skipped(table.line(row), smiles, why_skipped(smiles))
            for row, (smiles, molecule) in enumerate(zip(table.smiles, molecules, strict=True))
            if molecule is None
        )
        if not skipped:
            return ()
        name, first = self._where(), skipped[0]
        told = f"{len(skipped)} of {len(molecules)} molecules do not parse or have no atoms"
        example = f"the first of them {first.smiles[:80]!r} in row {first.line}"
        doubt = "is it the column of SMILES?"
        if len(skipped) == len(molecules):
            raise ValueError(f"{name}: {told}, {example}; {doubt}")
        most = f"; these are most, {doubt}" if 2 * len(skipped) > len(molecules) else ""
        pl.utilities.rank_zero_warn(f"{name}: {told} and are left out (listed in `skipped`), {example}{most}")
        return skipped

    def _parts(self, table: MoleculeTable, kept: list[int], molecules: list[Any]) -> list[Tensor]:
        """The places in `kept` of training, validation and test."""
        if table.splits is None:
            if self.split == "scaffold":
                return scaffold_split(molecules, self.fractions)
            if self.target == "classes":
                return stratified_split(table.targets[kept, 0].tolist(), self.fractions, self.seed, self._where())
            return random_split(len(kept), self.fractions, self.seed, self._where())
        numbers = torch.tensor([_split_number(table.splits[row], table.line(row)) for row in kept])
        train, val, test = ((numbers == number).nonzero().flatten() for number in range(3))
        if len(train) == 0 or len(test) == 0:
            raise ValueError(f"the table has {len(train)} training and {len(test)} test molecules; both need some")
        if len(val) == 0:
            rest, held_out = random_split(
                len(train), (1 - VALIDATION_SHARE, VALIDATION_SHARE), self.seed, self._where()
            )
            train, val = train[rest], train[held_out]
        if table.lines is not None:  # a user's file: that published tables repeat some molecules is known
            _warn_of_repeats(self._where(), [table.smiles[row] for row in kept], [train, val, test])
        return [train, val, test]


def _warn_of_repeats(where: str, smiles: list[str], parts: list[Tensor]) -> None:
    """Say that a table's own split has molecules in several parts, since their scores are then too good."""
    distinct = ({smiles[index] for index in part.tolist()} for part in parts)
    repeated = [one for one, count in Counter(name for part in distinct for name in part).items() if count > 1]
    if repeated:
        pl.utilities.rank_zero_warn(
            f"{where}: {len(repeated)} molecules stand in more than one part of the table's split, the first "
            f"{repeated[0]!r}"
        )


def _select(graphs: list[Data], targets: Tensor, part: Tensor) -> tuple[list[Data], Tensor]:
    return [graphs[index] for index in part.tolist()], targets[part]


def _split_number(name: str, line: int) -> int:
    number = SPLIT_NAMES.get(name.strip().lower())
    if number is None:
        raise ValueError(
            f"row {line}: a molecule's split is one of {', '.join(SPLIT_NAMES)}; got {name!r}; "
            f"{did_you_mean(name, SPLIT_NAMES)}"
        )
    return number
