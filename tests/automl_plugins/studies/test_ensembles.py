"""The mean of several networks, as a line beside the winner."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from scored_study import Scored
from torch import nn

from automl_plugins import Task, load_result
from automl_plugins.studies.study import Study

MakeStudy = Callable[..., Study]


def test_an_ensemble_may_be_better_and_does_not_win(scored: MakeStudy) -> None:
    Scored.scores = {"GIN": 0.9, "GCN": 0.8, "GAT": 0.7, "Ensemble": 0.95}
    given = {"references": ["gcn", "gat", "gin"], "trials": 1, "finalists": 3}
    study = scored(ensemble=3, **given)
    summary = study.run()
    rows = {row.label: row for row in summary.rows}
    assert summary.winner == "gin"
    assert rows["ensemble of 3"].validation_mean == pytest.approx(0.95)
    assert [member.label for member in study.finals.members] == ["gin", "gcn", "gat"]
    assert rows["ensemble of 3"].params == sum(rows[label].params for label in ("gin", "gcn", "gat"))
    trained = rows["gin"].cpu_seconds + rows["gcn"].cpu_seconds + rows["gat"].cpu_seconds
    assert rows["ensemble of 3"].cpu_seconds == pytest.approx(trained), "its training is theirs"
    assert "test_score" in rows["ensemble of 3"].test
    load_result(study.folder.path).ensemble(study.project.task)
    few = scored(ensemble=5, **given).run()
    assert "an ensemble of 5 was asked for; 4 networks can be chosen for it" in few.verdict
    without = scored(**given).run()
    assert [row.label for row in without.rows] == ["search", "gcn", "gat", "gin"]
    assert not study.folder.ensemble.network.exists()


class WithAHead(Scored):
    def __init__(self, network: nn.Module, task: Task) -> None:
        super().__init__(network, task)
        self.head = nn.Parameter(torch.zeros(1))


def test_no_mean_is_taken_of_networks_whose_modules_learn_beside_them(scored: MakeStudy) -> None:
    summary = scored(module=WithAHead, references=["gcn", "gin"], trials=1, ensemble=2).run()
    row = summary.rows[-1]
    assert (row.label, row.completed) == ("ensemble of 2", 0)
    assert row.notes[0].startswith("failed: ValueError: WithAHead learns more than its network, head")
    assert any(line.startswith("there is no ensemble") for line in summary.verdict)
    assert summary.winner is not None
