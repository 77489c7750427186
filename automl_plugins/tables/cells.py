"""Cells of six operations: NAS-Bench-201 (Dong and Yang, ICLR 2020) and TransNAS-Bench-101 (Duan et al., CVPR 2021)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import ClassVar

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice
from automl_plugins.spaces.operation import Operation
from automl_plugins.system.nearest import did_you_mean
from automl_plugins.tables.files import data_folder, numbers, read_csv
from automl_plugins.tables.table import Table, TableSpace

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
OPERATIONS = ("none", "skip", "conv1x1", "conv3x3", "avgpool")
TASKS = ("autoencoder", "class_object", "class_scene", "jigsaw", "normal", "room_layout", "segmentsemantic")
_DATA = {"cifar10": "c10", "cifar100": "c100", "imagenet16": "in16"}


class CellSpace(TableSpace):
    """Four nodes, each the sum of what its edges give; an operation on each of the six edges.

    Args:
        operations: the options of each edge.
    """

    def __init__(self, operations: Sequence[str]) -> None:
        super().__init__([Choice(f"edge{source}-{target}.operation", tuple(operations)) for source, target in EDGES])

    def operations(self, architecture: Architecture) -> Sequence[Operation]:
        """The operations on the edges; each reads what the edges into its source give."""
        into: dict[int, tuple[str, ...]] = {0: ("input",)}
        listed = [Operation("input", "input")]
        for source, target in EDGES:
            name = f"edge{source}-{target}"
            choice = f"{name}.operation"
            listed.append(Operation(name, str(architecture[choice]), into[source], (choice,)))
            into[target] = (*into.get(target, ()), name)
        return [*listed, Operation("output", "output", into[3])]

    def key(self, architecture: Architecture) -> Hashable:
        """The digits of the operations, as in the table."""
        return "".join(str(choice.index(architecture[choice.name])) for choice in self.choices)


class NASBench201Space(CellSpace):
    """The 15,625 cells of NAS-Bench-201."""

    name: ClassVar[str] = "nas-bench-201"

    def __init__(self) -> None:
        super().__init__(OPERATIONS)


class TransNASBench101Space(CellSpace):
    """The 4,096 cells of TransNAS-Bench-101's micro space."""

    name: ClassVar[str] = "transnas-bench-101"

    def __init__(self) -> None:
        super().__init__(OPERATIONS[:4])


def nas_bench_201(data: str = "cifar10", folder: str | Path | None = None) -> Table:
    """The table of one image set; accuracies in percent.

    Its other columns are kept: accuracy after twelve epochs, estimates by supernets, and so on.

    Args:
        data: `cifar10`, `cifar100` or `imagenet16`.
        folder: the one with `tables/`; that of AUTOML_PLUGINS_DATA where left out.

    Raises:
        ValueError: there is no such image set.
        FileNotFoundError: there is no such folder or table.
    """
    if data not in _DATA:
        raise ValueError(f"NAS-Bench-201 has no data {data!r}; {did_you_mean(data, _DATA)}")
    content = _read("nas_bench_201/nb201.csv.gz", folder)
    columns = {name: numbers(column) for name, column in content.items() if name not in ("index", "arch", "ops")}
    rows: dict[Hashable, int] = {operations: row for row, operations in enumerate(content["ops"])}
    short = _DATA[data]
    return Table(f"NAS-Bench-201, {data}", NASBench201Space(), rows, columns, f"{short}_val", f"{short}_test")


def transnas_bench_101(task: str = "segmentsemantic", folder: str | Path | None = None) -> Table:
    """The micro table of one task; the table has no test scores, so validation stands for both.

    Args:
        task: one of `TASKS`; `segmentsemantic` is pixel accuracy in percent.
        folder: the one with `tables/`; that of AUTOML_PLUGINS_DATA where left out.

    Raises:
        ValueError: there is no such task.
        FileNotFoundError: there is no such folder or table.
    """
    if task not in TASKS:
        raise ValueError(f"TransNAS-Bench-101 has no task {task!r}; {did_you_mean(task, TASKS)}")
    content = _read("transnas_bench_101/tnb101_micro.csv.gz", folder)
    columns = {name: numbers(column) for name, column in content.items() if name != "ops"}
    rows: dict[Hashable, int] = {operations: row for row, operations in enumerate(content["ops"])}
    title = f"TransNAS-Bench-101 micro, {task}"
    return Table(title, TransNASBench101Space(), rows, columns, f"{task}_val", f"{task}_val")


def _read(name: str, folder: str | Path | None) -> dict[str, list[str]]:
    home = data_folder(folder)
    if home is None:
        raise FileNotFoundError(f"let AUTOML_PLUGINS_DATA name the folder that holds tables/{name}")
    return read_csv(home / "tables" / name)
