"""The columns of a table, looked at: which may be a target, of which kind, and what is missing in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from automl_plugins.spaces.task import Target
from automl_plugins.training.data.csv_table import MISSING, CsvTable, column_names, read_csv_table
from automl_plugins.training.data.draft import Draft, Reasoned

SPLITS = ("train", "val", "test")
_SPLIT_NAMES = frozenset((*SPLITS, "training", "valid", "validation"))
_TABLES = ("", ".csv", ".tsv", ".tab", ".txt", ".xls", ".xlsx", ".parquet", ".gz")
_MOST_NUMBERED, _MOST_NAMED = 10, 50
"""Classes that whole numbers, and that words, are taken for; of more they are amounts, and names: rule of thumb."""
_TOLD_CLASSES = 6


class Column(NamedTuple):
    """A column as a target.

    Args:
        target: the kind that it would be; None: nothing could be learned of it.
        told: what was seen.
    """

    target: Target | None
    told: str


def may_be_table(path: Path) -> bool:
    """True of a file that is called like a table; whatever it is instead, reading it says."""
    return path.is_file() and path.suffix.lower() in _TABLES


def whole_table(path: Path) -> CsvTable:
    """All columns of a table that have a name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no table.
    """
    return read_csv_table(path, list(dict.fromkeys(filter(None, column_names(path)))))


def split_column(table: CsvTable, splits: Sequence[str] = tuple(_SPLIT_NAMES)) -> str | None:
    """The column that says the part of each row; None: there is none.

    Args:
        table: all of its columns.
        splits: the names of parts.
    """
    for name, cells in table.columns.items():
        found = {cell.lower() for cell in cells}
        if found <= set(splits) and "test" in found and found & {"train", "training"}:
            return name
    return None


def described(table: CsvTable, name: str) -> Column:
    """A column as a target."""
    cells = table.columns[name]
    known = [cell for cell in cells if cell.lower() not in MISSING]
    missing = f", {len(cells) - len(known):,} missing" if len(known) < len(cells) else ""
    counts = Counter(known)
    if len(counts) < 2:
        return Column(None, f"the same everywhere{missing}" if known else "empty")
    try:
        values = table.numbers(name)
    except ValueError as error:
        if 2 * sum(map(_is_number, known)) > len(known):
            return Column(None, str(error))  # most of them are numbers, so the rest are mistakes
        return _of_words(counts, missing)
    numbers = values[~np.isnan(values)]
    if set(numbers.tolist()) == {0.0, 1.0}:
        return Column(
            "binary", f"{int((numbers == 1).sum()):,} times 1, {int((numbers == 0).sum()):,} times 0{missing}"
        )
    if len(counts) <= _MOST_NUMBERED and not missing and all(cell.lstrip("+-").isdecimal() for cell in counts):
        told = f"few whole numbers are taken for classes ({_counted(counts)}); for amounts, target: regression"
        return Column("classes", told)
    told = f"{len(numbers):,} numbers from {numbers.min():g} to {numbers.max():g}, mean {numbers.mean():.4g}{missing}"
    return Column("regression", told)


def _is_number(cell: str) -> bool:
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False


def _of_words(counts: Counter[str], missing: str) -> Column:
    rows = counts.total()
    if len(counts) > min(_MOST_NAMED, max(2, rows // 4)):
        return Column(None, f"{len(counts):,} different texts in {rows:,} rows{missing}")
    return Column("classes", f"{len(counts)} classes: {_counted(counts)}{missing}")


def _counted(counts: Counter[str]) -> str:
    told = [f"{name[:20]} {count:,}" for name, count in counts.most_common(_TOLD_CLASSES)]
    more = [f"{len(counts) - _TOLD_CLASSES} others"] if len(counts) > _TOLD_CLASSES else []
    return ", ".join([*told, *more])


def table_draft(table: CsvTable, inputs: Mapping[str, Reasoned], targets: Sequence[str], split: str | None) -> Draft:
    """The arguments of a datamodule of a table.

    Args:
        table: all of its columns.
        inputs: the arguments that say where the table and its inputs are.
        targets: the columns that are to be predicted; empty: that which may be, where there is one alone.
        split: the column of its own split.

    Raises:
        ValueError: there is no such column, nothing can be learned of one, or they are of several kinds.
    """
    taken = {split, *(each.value for name, each in inputs.items() if name.endswith("_column"))}
    columns = {name: described(table, name) for name in table.columns if name not in taken}
    possible = {name: column.told for name, column in columns.items() if column.target}
    if not possible:
        told = "; ".join(f"{name}: {column.told}" for name, column in columns.items()) or "it has no further column"
        raise ValueError(f"{table.path}: no column can be a target: {told}")
    if not targets and len(possible) > 1:
        return Draft(inputs, possible)
    chosen = list(targets) or list(possible)
    read_csv_table(table.path, chosen)  # it refuses what is no column, and names the nearest
    for name in chosen:
        if name not in possible:
            why = columns[name].told if name in columns else "it is no target, but says something else"
            raise ValueError(f"{table.path}: the column {name} cannot be predicted: {why}")
    kinds = {columns[name].target for name in chosen}
    if len(kinds) > 1 or (len(chosen) > 1 and kinds == {"classes"}):
        told = ", ".join(f"{name} is {columns[name].target}" for name in chosen)
        raise ValueError(f"{table.path}: several targets are all numbers, or all 0 and 1; {told}; name fewer")
    (kind,) = kinds
    kind = "multilabel" if kind == "binary" and len(chosen) > 1 else kind
    seen = "; ".join(f"{name}: {possible[name]}" for name in chosen)
    found = {**inputs, "target_columns": Reasoned(chosen, seen), "target": Reasoned(kind, _KINDS[str(kind)])}
    if split is not None:
        counts = Counter(table.columns[split])
        found["split_column"] = Reasoned(split, f"the table's own split: {_counted(counts)}")
    return Draft(found, possible)


_KINDS = {
    "regression": "numbers",
    "binary": "one column of 0 and 1",
    "multilabel": "several columns of 0 and 1",
    "classes": "one column of names",
}
