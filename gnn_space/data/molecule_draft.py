"""A table of molecules, looked at before a datamodule reads it: its columns, and what stands in it twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from automl_plugins.training.data.columns import may_be_table, split_column, table_draft, whole_table
from automl_plugins.training.data.csv_table import MISSING
from automl_plugins.training.data.draft import Draft, Reasoned, evenly
from gnn_space.data.smiles import parse

_LOOKED_AT = 200
_LEAST_SHARE = 0.5
"""Of a column's texts that are molecules, for it to be one of molecules."""
_PARTS = ("training", "validation", "test")


def molecules_draft(path: Path, targets: Sequence[str] = ()) -> Draft | None:
    """The arguments of `SmilesTable` for a table; None: it is no table, or has no column of molecules.

    Args:
        path: the file.
        targets: the columns that are to be predicted; empty: that which may be, where there is one alone.

    Raises:
        ValueError: no column can be predicted, or not those that were named.
        ImportError: it seems to have molecules, and RDKit is not installed.
    """
    if not may_be_table(path):
        return None
    table = whole_table(path)
    shares = {name: _share(cells) for name, cells in table.columns.items()}
    column = max(shares, key=lambda name: shares[name], default=None)
    if column is None or shares[column] < _LEAST_SHARE:
        return None
    inputs = {
        "path": Reasoned(str(path), f"{len(table.lines):,} rows"),
        "smiles_column": Reasoned(column, f"{shares[column]:.0%} of its different texts are molecules"),
    }
    return table_draft(table, inputs, targets, split_column(table))


def _share(cells: Sequence[str]) -> float:
    """The share of a column's different texts that are molecules, of more than two atoms in the mean."""
    texts = evenly(sorted({cell for cell in cells if cell.lower() not in MISSING}), _LOOKED_AT)
    if all(text.replace(".", "", 1).lstrip("+-").isdecimal() for text in texts):
        return 0.0  # numbers; no RDKit is needed to see that
    atoms = [molecule.GetNumAtoms() for molecule in map(parse, texts) if molecule is not None]
    return len(atoms) / len(texts) if sum(atoms) > 2 * len(atoms) else 0.0  # F and M are no molecules, but fluorine is


def molecule_findings(
    smiles: Sequence[str], targets: np.ndarray, molecules: Sequence[Any], parts: Sequence[Tensor]
) -> list[str]:
    """Lines about molecules that stand twice, in one part or in two.

    Args:
        smiles: as the table writes them.
        targets: `[num_molecules, num_targets]`, nan where missing.
        molecules: RDKit's.
        parts: the places of training, validation and test.
    """
    from rdkit import Chem

    part_of = {place: name for name, part in zip(_PARTS, parts, strict=True) for place in part.tolist()}
    places: dict[str, list[int]] = defaultdict(list)
    for place, molecule in enumerate(molecules):
        places[Chem.MolToSmiles(molecule)].append(place)
    repeated = [rows for rows in places.values() if len(rows) > 1]
    if not repeated:
        return ["no molecule stands twice"]
    differing = sum(bool((targets[rows] != targets[rows[0]]).any()) for rows in repeated)
    told = [
        f"{len(repeated):,} molecules stand in several rows, {differing:,} of them with different targets; the first "
        f"is {smiles[repeated[0][0]][:60]}"
    ]
    leaking = [rows for rows in repeated if len({part_of[row] for row in rows}) > 1]
    if leaking:
        told.append(
            f"LEAKAGE: {len(leaking):,} molecules are in two parts of the split, so scores are too good; leave one row "
            "of each, or take split: scaffold, which keeps equal molecules in one part"
        )
    return told


def counts_of(targets: np.ndarray, names: Sequence[str], parts: Sequence[Tensor]) -> list[str]:
    """A line for each part: how many molecules, and how many of each class where there are any.

    Args:
        targets: `[num_molecules, num_targets]`, numbers of classes where there are names.
        names: of the classes; empty: there are none.
        parts: the places of training, validation and test.
    """
    told = []
    for part, places in zip(_PARTS, parts, strict=True):
        counts = Counter(targets[places.tolist(), 0].tolist()) if names else {}
        classes = ", ".join(f"{name} {counts.get(number, 0):,}" for number, name in enumerate(names))
        told.append(f"{part}: {len(places):,} molecules" + (f" ({classes})" if classes else ""))
    return told
