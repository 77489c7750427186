"""The end of a study where trainings fail or diverge."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from scored_study import Scored, is_final, parameters_of, printed, ranked
from torch import Tensor, nn

from automl_plugins import Architecture, Task, registry
from automl_plugins.report.summary import Summary
from automl_plugins.studies import workers
from automl_plugins.studies.conclusion import NothingFiniteError
from automl_plugins.studies.study import Study
from gnn_space import GraphRegression

MakeStudy = Callable[..., Study]


def test_the_next_best_takes_the_place_of_a_finalist_that_fails(scored: MakeStudy) -> None:
    study = scored()
    study.run()
    best, second, third = ranked(study)[:3]
    Scored.broken = {best}
    again = scored(folder=study.folder.path / "again")
    summary = again.run()
    rows = {row.params: row for row in summary.rows}
    assert rows.keys() == {second, best}, "the best that stands, and what failed"
    assert summary.winner == rows[second].label == "search"
    assert rows[best].completed == 0
    assert rows[best].validation_mean is None
    assert rows[best].notes[0].startswith("failed: RuntimeError: CUDA out of memory (say) (")
    trained = [parameters_of(again.comparison.build(each)) for each in again.finals.finalists("search")]
    assert trained == [second, third, best]
    assert (again.folder.path / rows[best].folder / "architecture.json").exists()


def test_a_final_training_that_hangs_is_ended_and_gives_its_place_to_the_next(
    scored: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hangs(self: Scored) -> None:
        if type(self.network).__name__ == "GIN" and is_final():
            time.sleep(60)

    monkeypatch.setattr(Scored, "on_train_start", hangs)
    monkeypatch.setattr(workers, "can_start_workers", lambda: False)  # the patched class is of this process
    summary = scored(references=["gin"], trials=1, finalists=1, seeds=1, final_minutes=0.02).run()
    search, gin = summary.rows
    assert (summary.winner, search.completed, gin.completed) == ("search", 1, 0)
    assert gin.notes[0].startswith("failed: TimeLimitError: it took longer than final_minutes=0.02")


def test_a_seed_that_fails_is_said_and_the_others_are_the_mean(
    scored: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_on_the_second_seed(self: Scored) -> None:
        if type(self.network).__name__ == "GIN" and torch.initial_seed() == 2:
            raise ArithmeticError("unlucky")

    monkeypatch.setattr(Scored, "on_train_start", fails_on_the_second_seed)
    Scored.scores = {"GIN": 0.9, "GCN": 0.8}
    summary = scored(references=["gin", "gcn"], trials=1, finalists=2).run()
    gin, gcn = summary.rows[1:]
    assert (gin.completed, gin.seeds) == (1, 2)
    assert gin.validation_mean == pytest.approx(0.9)
    assert gin.validation_deviation is None
    assert gin.notes[0].startswith("failed: ArithmeticError: unlucky")
    assert gin.notes[0].endswith("(seed 2 of 2 seeds)")
    assert summary.winner == "gcn", "a mean over the seeds that went well is no fair comparison"
    shown = printed(summary)
    assert "0.9000 (1 of 2 seeds)" in shown
    assert gcn.completed == 2


@pytest.mark.parametrize("place", ["constructor", "validation", "test", "checkpoint"])
def test_a_reference_may_fail_anywhere(scored: MakeStudy, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    class Mine(nn.Module):
        levels = ("graph",)

        def __init__(self, task: Task) -> None:
            super().__init__()
            if place == "constructor" and is_final():
                raise RuntimeError("no such network")
            self.mean = nn.Parameter(torch.zeros(1, task.out_channels))

        def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, batch: Tensor, size: int) -> Tensor:
            return self.mean.expand(size, -1)

    def hook(name: str) -> None:
        def raises(self: pl.LightningModule, *arguments: Any) -> None:
            if type(self.network).__name__ == "Mine" and is_final():
                raise RuntimeError(f"broken in {place}")

        monkeypatch.setattr(Scored, name, raises)

    load = registry.load
    monkeypatch.setattr(registry, "load", lambda group, name: Mine if name == "gin" else load(group, name))
    if place != "constructor":
        hook({"validation": "on_validation_start", "test": "on_test_start", "checkpoint": "on_save_checkpoint"}[place])
    torch.manual_seed(1)  # of this process, whose checkpoints are those of the final trainings; see `is_final`
    study = scored(references=["gin"], trials=2)
    summary = study.run()
    row = next(row for row in summary.rows if row.label == "gin")
    worked = place in ("test", "checkpoint")
    assert (row.completed, row.validation_mean is not None) == ((2, True) if worked else (0, False))
    words = {
        "constructor": "failed: RuntimeError: no such network",
        "validation": "failed: RuntimeError: broken in validation",
        "test": "test failed: RuntimeError: broken in test",
        "checkpoint": "which failed: RuntimeError: broken in checkpoint",
    }
    assert words[place] in row.notes[0]
    assert "gin: " + row.notes[0] in summary.lines()
    assert Summary.from_json(study.folder.summary.read_text()) == summary
    assert study.folder.trials.exists()


def test_a_diverged_reference_is_a_row_and_no_seed_of_it_wins(scored: MakeStudy) -> None:
    Scored.scores = {"GIN": math.nan, "GCN": 0.1}
    summary = scored(references=["gin", "gcn"], trials=1).run()
    gin = next(row for row in summary.rows if row.label == "gin")
    assert gin.validation_mean is None
    assert gin.notes == ["diverged: the last validation gave no finite val_score"]
    assert "diverged" in printed(summary)
    assert summary.winner != "gin"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_test_metric_that_is_undefined_is_said_to_be_so(scored: MakeStudy, value: float) -> None:
    Scored.scores = {"test": value}
    study = scored(trials=1, finalists=1)
    summary = study.run()
    assert summary.rows[0].test["test_score"] == (None, None)
    assert summary.rows[0].notes == ["test_score is undefined (not a number) on 2 of 2 seeds"]
    assert "undefined" in printed(summary)
    content = study.folder.summary.read_text()
    json.loads(content, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert Summary.from_json(content) == summary


def test_where_nothing_is_left_all_that_there_is_is_written(scored: MakeStudy) -> None:
    study = scored(trials=4)
    study.run()
    Scored.broken = set(ranked(study))
    again = scored(folder=study.folder.path / "again", trials=4, max_equal_failures=2)
    with pytest.raises(
        NothingFiniteError, match=r"there is no winner, .* failed: RuntimeError: CUDA out of memory"
    ) as told:
        again.run()
    assert again.folder.trials.exists()
    assert again.folder.summary.exists()
    assert not again.folder.architecture.exists()
    assert not again.folder.network.exists()
    failed = [row for row in told.value.summary.rows if row.completed == 0]
    assert len(failed) == 2, "what fails each time is not mended by trying on"
    found = told.value.summary.rows[0].folder
    assert str(told.value).endswith(f"the architecture of the best trial is in {found}")
    Architecture.from_json((again.folder.path / found / "architecture.json").read_text())


def test_what_failed_is_tried_again_three_times_in_all(scored: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[int] = []
    monkeypatch.setattr(Scored, "on_fit_start", lambda self: fits.append(self.count) if self.is_final else None)
    study = scored(trials=1, finalists=1, seeds=1)
    study.run()
    Scored.broken = set(ranked(study))
    fits.clear()
    for expected in (1, 2, 3, 3):
        with pytest.raises(NothingFiniteError):
            scored(trials=1, finalists=1, seeds=1, folder=study.folder.path / "again").run()
        assert len(fits) == expected
    Scored.broken = set()
    path = study.folder.path / "again"
    for leftover in path.glob("contenders/*/*-train.*"):
        leftover.unlink()
    assert scored(trials=1, finalists=1, seeds=1, folder=path).run().winner == "search"


def test_a_search_without_a_value_does_not_lose_what_others_found(
    scored: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Scored, batch: Any, index: int) -> Tensor:
        if type(self.network).__module__.startswith("gnn_space.agnn") and not self.trainer.fast_dev_run:
            raise ArithmeticError("no architecture can be trained")
        return GraphRegression.training_step(self, batch, index)

    monkeypatch.setattr(Scored, "training_step", fails)
    study = scored(trials=2, references=["gcn"], max_equal_failures=5)
    summary = study.run()
    assert summary.winner == "gcn"
    assert any("none of the 2 trials of search ended with a value" in line for line in summary.verdict)
