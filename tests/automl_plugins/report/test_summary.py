from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from automl_plugins.objectives.paired import PairedTest
from automl_plugins.report.row import Row
from automl_plugins.report.summary import Summary
from automl_plugins.training.items import ItemError

COST = {
    "trials": 60,
    "completed": 40,
    "pruned": 15,
    "diverged": 3,
    "failed": 2,
    "interrupted": 0,
    "copied": 3,
    "refused": 9,
    "steps": 12345,
    "cpu_seconds": 678.4,
}
TESTED = {"test_accuracy": (0.8301, 0.002), "test_loss": (0.6, 0.1), "test_iou/sky": (0.4, 0.0)}
SUMMARY = Summary(
    space="agnn",
    data="NpzGraphData",
    monitor="val_accuracy",
    direction="maximize",
    rows=[
        Row(
            "search",
            94_000,
            3,
            3,
            0.81234,
            0.00456,
            {"test_accuracy": (0.8301, 0.002), "test_loss": (0.6, 0.1), "test_iou/sky": (0.4, 0.0)},
            12.34,
        ),
        Row("gcn", 92_231, 3, 3, 0.79, 0.0, {"test_accuracy": (0.815, 0.005), "test_loss": (0.7, 0.1)}, 3.0),
    ],
    searches={"search": COST},
    seeds=[1, 2, 3],
    sampler="TPESampler",
    tests={"val_accuracy": {"hand": PairedTest(0.02, 0.01, 0.03, 0.004, 3, 0.004)}},
    item_error=ItemError(0.01, 500),
)


def test_json_gives_it_back() -> None:
    assert Summary.from_json(SUMMARY.to_json()) == SUMMARY


def test_the_table_has_a_line_for_each_network() -> None:
    console = Console(file=io.StringIO(), width=120)
    console.print(SUMMARY.table())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for cell in ("agnn on NpzGraphData", "3 seeds", "94,000", "0.8123 ± 0.0046", "0.8301 ± 0.0020", "gcn", "12.3"):
        assert cell in text
    assert "test_loss" not in text
    assert "sky" not in text


def test_few_parts_of_a_metric_are_told_under_the_table_and_many_in_json_alone() -> None:
    (line,) = [line for line in SUMMARY.lines() if "iou" in line]
    assert line == "search: test_iou of sky 0.4000 ± 0.0000"
    many = replace(SUMMARY.rows[0], test={f"test_iou/{number}": (0.5, 0.1) for number in range(19)})
    assert not any("iou" in line for line in replace(SUMMARY, rows=[many]).lines())


def test_each_search_says_its_sampler_and_what_it_cost() -> None:
    assert SUMMARY.costs() == [
        "search (TPESampler): 60 trials (40 completed, 15 pruned, 3 diverged, 2 failed; "
        "3 of them seen before, without a training, 9 more refused before they were built), "
        "12,345 optimizer steps, 678 CPU seconds"
    ]
