"""NAS-Bench-Graph (Qin et al., NeurIPS 2022): 26,206 GNNs, trained on nine graphs."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice
from automl_plugins.spaces.operation import Operation
from automl_plugins.system.nearest import did_you_mean
from automl_plugins.tables.files import NumbersUnpickler, data_folder, numbers, read_csv
from automl_plugins.tables.table import Table, TableSpace

LINKS = ("0000", "0001", "0011", "0012", "0013", "0111", "0112", "0122", "0123")
OPERATIONS = ("gat", "gcn", "gin", "cheb", "sage", "arma", "graph", "fc", "skip")
GRAPHS = ("arxiv", "citeseer", "computers", "cora", "cs", "photo", "physics", "proteins", "pubmed")
_PROTEINS = ("gcn", "sage", "arma", "fc", "skip")
_NODES = (1, 2, 3, 4)

Tree = tuple[str, tuple["Tree", ...]]


class NASBenchGraphSpace(TableSpace):
    """Four operations; the link says which earlier node, or 0 for the features, is the input of each.

    Operations that no other one reads go to the output. Section 3.1 of the paper.

    Args:
        operations: the options of each node.
    """

    name: ClassVar[str] = "nas-bench-graph"

    def __init__(self, operations: Sequence[str] = OPERATIONS) -> None:
        nodes = [Choice(f"node{node}.operation", tuple(operations)) for node in _NODES]
        super().__init__((Choice("link", LINKS), *nodes))

    def operations(self, architecture: Architecture) -> Sequence[Operation]:
        inputs = [int(digit) for digit in str(architecture["link"])]
        names = ["features", *(f"node{node}" for node in _NODES)]
        listed = [Operation("features", "features")]
        for node in _NODES:
            choice = f"node{node}.operation"
            listed.append(Operation(names[node], str(architecture[choice]), (names[inputs[node - 1]],), (choice,)))
        leaves = tuple(names[node] for node in _NODES if node not in inputs)
        return [*listed, Operation("output", "output", leaves, ("link",))]

    def key(self, architecture: Architecture) -> Tree:
        """The tree of operations without what does nothing, its branches sorted.

        A skip that another operation reads, or that stands alone behind its input, passes on what it
        is given; one that passes the raw features to the output is left out by the benchmark.
        """
        inputs = [int(digit) for digit in str(architecture["link"])]
        return _tree(tuple(inputs), tuple(str(architecture[f"node{node}.operation"]) for node in _NODES))


@cache
def _tree(inputs: tuple[int, ...], operations: tuple[str, ...]) -> Tree:
    def branches(node: int) -> tuple[list[Tree], int]:
        """The readers of a node: the operations, and the number of leaves that skip."""
        found: list[Tree] = []
        skips = 0
        for child in (other for other in _NODES if inputs[other - 1] == node):
            operation = operations[child - 1]
            below, leaves = branches(child)
            if operation == "skip":
                found += below
                skips += leaves if child in inputs else 1
            else:
                # A leaf that skips does something beside another branch only.
                kept = leaves if below or leaves > 1 else 0
                found.append((operation, tuple(sorted([*below, *[("skip", ())] * kept]))))
        return found, skips

    # What skips from the features to the output is left out, however many there are.
    return ("features", tuple(sorted(branches(0)[0])))


def nas_bench_graph(graph: str = "arxiv", folder: str | Path | None = None) -> Table:
    """The table of one graph; accuracies (proteins: ROC-AUC) as fractions, means of three trainings.

    Args:
        graph: one of `GRAPHS`.
        folder: the one with `tables/`; where there is none, the installed package `nas-bench-graph` is read.

    Raises:
        ValueError: there is no such graph.
        FileNotFoundError: neither the folder nor the package has it.
    """
    if graph not in GRAPHS:
        raise ValueError(f"NAS-Bench-Graph has no graph {graph!r}; {did_you_mean(graph, GRAPHS)}")
    home = data_folder(folder)
    path = home / "tables" / "nas_bench_graph" / f"{graph}.csv.gz" if home else None
    content = _from_csv(path) if path is not None and path.is_file() else _from_package(graph)
    architectures, columns = content
    space = NASBenchGraphSpace(_PROTEINS if graph == "proteins" else OPERATIONS)
    rows: dict[Hashable, int] = {_tree(*architecture): row for row, architecture in enumerate(architectures)}
    return Table(f"NAS-Bench-Graph, {graph}", space, rows, columns, "valid_perf", "test_perf")


_Content = tuple[list[tuple[tuple[int, ...], tuple[str, ...]]], dict[str, np.ndarray]]


def _from_csv(path: Path) -> _Content:
    content = read_csv(path)
    pairs = zip(content["link"], content["ops"], strict=True)
    architectures = [(tuple(map(int, link)), tuple(operations.split())) for link, operations in pairs]
    return architectures, {
        name: numbers(content[name]) for name in ("valid_perf", "test_perf", "latency_s", "params_m")
    }


def _from_package(graph: str) -> _Content:
    package = find_spec("nas_bench_graph")  # not imported: its files are all that is read
    if package is None or not package.submodule_search_locations:
        raise FileNotFoundError(
            f"no table of {graph!r}: let AUTOML_PLUGINS_DATA name the folder with tables/nas_bench_graph, "
            "or install nas-bench-graph (the extra `benchmark`)"
        )
    path = Path(package.submodule_search_locations[0]) / "light" / f"{graph}.bench"
    with path.open("rb") as file:
        content: dict[int, dict[str, Any]] = NumbersUnpickler(file).load()
    digits = [f"{number:05d}" for number in content]
    architectures = [
        (tuple(map(int, LINKS[int(each[0])])), tuple(OPERATIONS[int(digit)] for digit in each[1:])) for each in digits
    ]
    names = {"valid_perf": "valid_perf", "test_perf": "perf", "latency_s": "latency", "params_m": "para"}
    columns = {name: np.array([float(row[theirs]) for row in content.values()]) for name, theirs in names.items()}
    return architectures, columns
