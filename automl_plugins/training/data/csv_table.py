"""Tables as spreadsheets and scripts save them: encodings, separators, decimal commas, missing values."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from automl_plugins.system.nearest import did_you_mean

SEPARATORS = (",", ";", "\t", "|")
MISSING = frozenset(("", "na", "n/a", "nan", "-nan", "null", "none", "<na>", "#n/a"))
"""Texts that stand for no value, in lower case, as spreadsheets, R and pandas write."""

_NOT_TEXT = {
    b"PK\x03\x04": "an Excel workbook or another zip archive; in Excel, save it as 'CSV UTF-8'",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; in Excel, save it as 'CSV UTF-8'",
    b"\x1f\x8b": "compressed by gzip; unpack it first",
    b"PAR1": "a Parquet file; write it with pandas: read_parquet(...).to_csv(...)",
    b"%PDF": "a PDF; give the table itself",
    b"\x89HDF": "an HDF5 file; write its table as CSV",
    b"\x93NUMPY": "a NumPy array; write it as CSV",
}
_ENCODED = {  # UTF-32's mark begins like UTF-16's
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_NUMBERS = (
    "write 1 and 0 for yes and no, and leave empty what is not known; a column of names is read with target='classes'"
)
_LONGEST_HEADER = 100_000
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class CsvTable:
    """Some columns of a CSV file, cells stripped of white space.

    Args:
        path: the file.
        columns: the cells of each.
        lines: the line of the file on which each row ends, from 1.
        separator: what stands between cells.
    """

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]
    separator: str

    def where(self, row: int, column: str) -> str:
        """The place of a cell, for a message."""
        return f"{self.path}, row {self.lines[row]}, column {column}"

    def numbers(self, column: str) -> np.ndarray:
        """A column as float64; what is missing is nan.

        Raises:
            ValueError: a cell is no finite number; the message names its row.
        """
        cells = ["nan" if cell.lower() in MISSING else cell for cell in self.columns[column]]
        if self.separator != ",":
            cells = self._with_points(column, cells)
        values = _as_numbers(cells)
        if values is None:
            row = next(row for row, cell in enumerate(cells) if _as_numbers([cell]) is None)
            raise ValueError(f"{self.where(row, column)}: a target is a number; got {_short(cells[row])}; {_NUMBERS}")
        # Targets are float32 in the end.
        beyond = np.flatnonzero(np.abs(values) > np.finfo(np.float32).max)
        if len(beyond):
            where, cell = self.where(beyond[0], column), _short(cells[beyond[0]])
            raise ValueError(f"{where}: a target is a finite number, or empty where it is missing; got {cell}")
        return values

    def classes(self, column: str) -> tuple[tuple[str, ...], list[int]]:
        """The names of a column's classes, and the number of each row's among them.

        Names are in alphabetical order, whole numbers in theirs.

        Raises:
            ValueError: a cell is empty; the message names its row.
        """
        cells = self.columns[column]
        row = next((row for row, cell in enumerate(cells) if cell.lower() in MISSING), None)
        if row is not None:
            raise ValueError(f"{self.where(row, column)}: {cells[row]!r} is no class; name one, or leave the row out")
        numbered = all(re.fullmatch(r"[+-]?\d+", cell) for cell in cells)
        names = sorted(set(cells), key=(lambda cell: (int(cell), cell)) if numbered else None)
        numbers = {name: number for number, name in enumerate(names)}
        return tuple(names), [numbers[cell] for cell in cells]

    def _with_points(self, column: str, cells: list[str]) -> list[str]:
        commas = [_DECIMAL_COMMA.fullmatch(cell) is not None for cell in cells]
        if not any(commas):
            return cells
        points = next((row for row, cell in enumerate(cells) if "." in cell), None)
        if points is not None:
            first = commas.index(True)
            raise ValueError(
                f"{self.where(first, column)} has a decimal comma, {_short(cells[first])}, but "
                f"row {self.lines[points]} a point, {_short(cells[points])}; write all numbers in one way"
            )
        return [cell.replace(",", ".") if comma else cell for cell, comma in zip(cells, commas, strict=True)]


def _as_numbers(cells: list[str]) -> np.ndarray | None:
    try:
        # Python's own way of writing 1000 as 1_000 is no spreadsheet's.
        return None if any("_" in cell for cell in cells) else np.array([float(cell) for cell in cells])
    except ValueError:
        return None


def read_csv_table(path: Path, wanted: Sequence[str]) -> CsvTable:
    """The columns of that name; separated by whatever makes them columns.

    A row may have fewer cells than the header: those are missing. Empty rows are left out.

    Args:
        path: the file, with a header line.
        wanted: names of columns.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no table, lacks a column, or has a row that does not fit the header.
    """
    text, separator, line_offset = _separated(path, wanted)
    return _Reader(path, text, separator, line_offset).read(wanted)


def column_names(path: Path) -> list[str]:
    """The names in a table's header line, empty ones and repeated ones as they are.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no table.
    """
    text, separator, _ = _separated(path, ())
    return _header(_first_line(text), separator)


def _separated(path: Path, wanted: Sequence[str]) -> tuple[str, str, int]:
    """The text of a table, what stands between its cells, and the number of lines before its header."""
    text = _text(path)
    separators: Sequence[str] = SEPARATORS
    line_offset = 0
    named = re.match(r"sep=(.)\r?\n", text)  # Excel's own way to name it
    if named:
        text, separators, line_offset = text[named.end() :], (named[1],), 1
    # The one that splits the header best; a comma where none does.
    separator = max(separators, key=lambda each: _found(_header(_first_line(text), each), wanted))
    return text, separator, line_offset


def _first_line(text: str) -> str:
    return next(iter(text.strip("\r\n").splitlines()), "")[:_LONGEST_HEADER]


def _found(header: list[str], wanted: Sequence[str]) -> tuple[int, int]:
    return len(set(wanted) & set(header)), len(header)


def _header(line: str, separator: str) -> list[str]:
    return [name.strip() for name in next(csv.reader([line], delimiter=separator), [])]


def _text(path: Path) -> str:
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    if not path.is_file():  # a folder, or a pipe that would be waited for
        raise ValueError(f"{path} is not a file; give the path of the CSV file itself")
    content = path.read_bytes()
    for begin, what in _NOT_TEXT.items():
        if content.startswith(begin):
            raise ValueError(f"{path} is not a CSV table but {what}")
    if not content.strip():
        raise ValueError(f"{path} is empty; it should have a header line and a row for each sample")
    if content.lstrip()[:1] == b"<":
        raise ValueError(f"{path} is a web page, not a CSV table; download the raw file")
    encoding = next((name for mark, name in _ENCODED.items() if content.startswith(mark)), None)
    for name in [encoding] if encoding else _guessed(content):
        try:
            text = content.decode(name)
        except UnicodeError:
            continue
        if "\0" in text:
            line = text[: text.index("\0")].count("\n") + 1
            raise ValueError(f"{path}, line {line} has a character of value 0; save the table anew, as CSV in UTF-8")
        return text
    raise ValueError(f"{path} is not the {encoding} text that its first bytes promise; save it as CSV in UTF-8")


def _guessed(content: bytes) -> list[str]:
    """The encodings that a file without a mark may have; the last reads any byte."""
    begin = content[:100]
    for encoding, zeros in (("utf-16-le", begin[1::2]), ("utf-16-be", begin[::2])):
        if zeros and not any(zeros):
            return [encoding]
    return ["utf-8", "cp1252", "latin-1"]


@dataclass
class _Reader:
    path: Path
    text: str
    separator: str
    line_offset: int

    def read(self, wanted: Sequence[str]) -> CsvTable:
        reader = csv.reader(io.StringIO(self.text, newline=""), delimiter=self.separator, strict=True)
        # Our limit is the file; Python's own is 131,072 characters, and belongs to the whole process.
        limit = csv.field_size_limit(max(len(self.text), csv.field_size_limit()))
        rows: list[list[str]] = []
        lines: list[int] = []
        try:
            for row in reader:
                if any(cell.strip() for cell in row):
                    rows.append(row)
                    lines.append(reader.line_num + self.line_offset)
        except csv.Error as error:
            line = reader.line_num + self.line_offset
            raise ValueError(f"{self.path}, line {line}: {error}; is a quotation mark not closed?") from None
        finally:
            csv.field_size_limit(limit)
        header = [name.strip() for name in rows[0]] if rows else []
        places = self._places(header, wanted)
        if len(rows) == 1:
            raise ValueError(f"{self.path} has a header but no rows")
        self._check_lengths(header, rows, lines)
        columns = {
            name: [row[place].strip() if place < len(row) else "" for row in rows[1:]] for name, place in places.items()
        }
        return CsvTable(self.path, columns, lines[1:], self.separator)

    def _places(self, header: list[str], wanted: Sequence[str]) -> dict[str, int]:
        missing = [name for name in wanted if name not in header]
        if missing:
            listed = ", ".join(_short(name, quoted=False) for name in header[:20]) + ", ..." * (len(header) > 20)
            raise ValueError(
                f"{self.path} has no column {', '.join(missing)}; it has {listed or 'none'} "
                f"({did_you_mean(missing[0], header)})"
            )
        twice = [name for name, count in Counter(header).items() if count > 1 and name in wanted]
        if twice:
            raise ValueError(f"{self.path} has several columns {', '.join(twice)}; rename all but one")
        return {name: header.index(name) for name in wanted}

    def _check_lengths(self, header: list[str], rows: list[list[str]], lines: list[int]) -> None:
        for row, line in zip(rows, lines, strict=True):
            if len(row) > len(header) and any(cell.strip() for cell in row[len(header) :]):
                comma = "; quote a cell with a comma, or separate cells by semicolons" if self.separator == "," else ""
                raise ValueError(
                    f"{self.path}, row {line} has {len(row)} cells, but the header {len(header)} columns{comma}"
                )


def _short(cell: str, quoted: bool = True) -> str:
    shown = cell if len(cell) <= 40 else cell[:40] + "..."
    return repr(shown) if quoted else shown.replace("\n", " ")
