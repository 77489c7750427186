from __future__ import annotations

import gzip
import io
import pickle
from pathlib import Path

import numpy as np
import pytest

from automl_plugins import Architecture
from automl_plugins.spaces.enumeration import enumerate_space
from automl_plugins.tables import Table, nas_bench_201, nas_bench_graph, transnas_bench_101
from automl_plugins.tables.files import NumbersUnpickler, numbers, read_csv
from automl_plugins.tables.nas_bench_graph import NASBenchGraphSpace


def gnn(space: NASBenchGraphSpace, link: str, operations: str) -> Architecture:
    nodes = {f"node{node}.operation": name for node, name in enumerate(operations.split(), start=1)}
    return space.architecture({"link": link, **nodes})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("0000", "gat gcn gin fc"), ("0000", "fc gin gcn gat")),  # branches have no order
        (("0123", "skip gcn gat fc"), ("0123", "gcn skip gat fc")),  # a skip in a chain is nothing, wherever
        (("0001", "skip gcn gat fc"), ("0000", "skip gcn gat fc")),  # a skip behind the features is nothing
        (("0012", "gcn gat gin fc"), ("0012", "gat gcn fc gin")),
        (("0111", "gcn skip gat fc"), ("0112", "gcn skip gat fc")),
    ],
    ids=str,
)
def test_architectures_that_are_one_network_have_one_key(first: tuple[str, str], second: tuple[str, str]) -> None:
    space = NASBenchGraphSpace()
    equal = space.key(gnn(space, *first)) == space.key(gnn(space, *second))
    # The last pair differs: one leaf that skips beside another branch adds its input to the output.
    assert equal is (first[0] != "0111")


def test_every_row_of_nas_bench_graph_is_an_architecture_and_the_other_way_round(shared_data: Path) -> None:
    table = nas_bench_graph("proteins", shared_data)
    found = {architecture: table.row(architecture) for architecture in enumerate_space(table.space)}
    untrained = {architecture for architecture, row in found.items() if row is None}
    assert {row for row in found.values() if row is not None} == set(range(2021))
    assert all(set(architecture.values()) - {architecture["link"]} == {"skip"} for architecture in untrained)
    assert len(untrained) == 9


@pytest.mark.slow
def test_the_package_and_the_csv_of_nas_bench_graph_agree(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nas_bench_graph")
    monkeypatch.delenv("AUTOML_PLUGINS_DATA", raising=False)
    ours, theirs = nas_bench_graph("cora", shared_data), nas_bench_graph("cora")
    assert ours.rows == theirs.rows
    for name, column in ours.columns.items():
        np.testing.assert_allclose(column, theirs.columns[name], atol=1e-6)


def test_the_best_scores_are_the_published_ones(shared_data: Path) -> None:
    def best(table: Table) -> float:
        return round(float(np.nanmax(table.columns[table.test])), 4)

    assert best(nas_bench_graph("cora", shared_data)) == 0.8313
    assert best(nas_bench_201("cifar10", shared_data)) == 94.3733
    assert best(transnas_bench_101("segmentsemantic", shared_data)) == 94.6125


def test_the_digits_of_nas_bench_201_stand_for_the_named_operations(shared_data: Path) -> None:
    table = nas_bench_201("cifar10", shared_data)
    # |nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|, 93.66 %
    operations = ("conv3x3", "conv3x3", "avgpool", "skip", "conv3x3", "skip")
    names = [choice.name for choice in table.space.choices]
    row = table.row(table.space.architecture(dict(zip(names, operations, strict=True))))
    assert table.columns["c10_test"][row] == 93.66
    assert len(table.rows) == table.space.size == 15625


def test_an_operation_reads_all_that_goes_into_its_node(shared_data: Path) -> None:
    space = nas_bench_201("cifar10", shared_data).space
    operations = {operation.name: operation for operation in space.operations(space.sample(np.random.default_rng(0)))}
    assert operations["edge2-3"].inputs == ("edge0-2", "edge1-2")
    assert operations["output"].inputs == ("edge0-3", "edge1-3", "edge2-3")


@pytest.mark.parametrize(
    ("read", "name", "message"),
    [
        (nas_bench_graph, "cor", "no graph 'cor'; did you mean 'cora'"),
        (nas_bench_201, "cifar", "no data 'cifar'; did you mean 'cifar10'"),
        (transnas_bench_101, "segmentation", "no task 'segmentation'; did you mean 'segmentsemantic'"),
    ],
)
def test_a_mistyped_name_is_answered_with_the_nearest(read: object, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(name)


def test_a_folder_without_tables_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no folder tables/"):
        nas_bench_201(folder=tmp_path)


def test_a_table_space_says_that_it_has_no_networks() -> None:
    space = NASBenchGraphSpace()
    with pytest.raises(NotImplementedError, match="table of scores"):
        space.build(space.sample(np.random.default_rng(0)), None)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return print, ("run",)


def test_numbers_are_unpickled_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = {1: {"perf": np.float64(0.25), "latency": 0.5, "count": np.int64(3)}}
    assert NumbersUnpickler(io.BytesIO(pickle.dumps(numbers, 3))).load() == numbers
    for content in (Evil(), np.zeros(2), np.datetime64("2026-01-01")):
        with pytest.raises(pickle.UnpicklingError, match="is to hold numbers"):
            NumbersUnpickler(io.BytesIO(pickle.dumps(content, 3))).load()
    assert capsys.readouterr().out == ""


def test_a_score_that_is_not_finite_was_not_computed() -> None:
    values = numbers(["0.5", "", "-1e8", "nan", "inf", "-inf"])
    assert values[0] == 0.5
    assert np.isnan(values[1:]).all()


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", gzip.compress(b""), gzip.compress(b"a,b\n1\n"), gzip.compress(b"a,b\n1,2\n")[:-9]],
    ids=["empty", "no archive", "an empty table", "a short row", "cut off"],  # an archive has the time in it
)
def test_a_table_that_is_broken_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.csv.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"the table .*table\.csv\.gz is broken"):
        read_csv(path)
