"""The cheapest network within one standard error of the best."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from scored_study import Scored, parameters_of

from automl_plugins import registry
from automl_plugins.studies.study import Study

MakeStudy = Callable[..., Study]


def test_the_economical_one_wins_where_it_is_preferred(scored: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    def scores(self: Scored) -> None:
        given = {"GIN": (0.90, 0.80), "GCN": (0.84, 0.84)}.get(type(self.network).__name__, (0.1, 0.1))
        self.log("val_score", given[torch.initial_seed() % 2])

    monkeypatch.setattr(Scored, "on_validation_epoch_end", scores)
    study = scored(references=["gin", "gcn"], trials=1)
    assert study.run().winner == "gin"
    trained = {path: path.stat().st_mtime_ns for path in study.folder.path.glob("contenders/*/*.json")}
    for prefer, winner in (("economical", "gcn"), ("best", "gin")):
        summary = scored(references=["gin", "gcn"], trials=1, prefer=prefer).run()
        assert (summary.winner, summary.economical) == (winner, "gcn")
        assert json.loads(study.folder.winner.read_text())["reference"] == winner
        registry.load("references", winner)(study.project.task).load_state_dict(
            torch.load(study.folder.network, weights_only=True)
        )
        first, second, *_ = summary.verdict
        if prefer == "economical":
            assert first.startswith("the winner, the economical one, is gcn, made by hand: val_score 0.8400")
            assert second.startswith("the best by mean validation is gin: val_score 0.8500 ± 0.0707, params ")
    assert trained == {path: path.stat().st_mtime_ns for path in study.folder.path.glob("contenders/*/*.json")}


def test_it_is_sought_among_all_that_were_trained_over_the_seeds(
    scored: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members of an ensemble are; here one of them is no contender, since its arm has a better one."""

    def scores(self: Scored) -> None:
        given = (0.90, 0.80) if self.count == max(counts) else (0.84, 0.84)
        self.log("val_score", given[torch.initial_seed() % 2] if self.is_final else 0.5)

    monkeypatch.setattr(Scored, "on_validation_epoch_end", lambda self: self.log("val_score", 0.5))
    study = scored(trials=2, ensemble=2)
    study.run()
    counts = [parameters_of(study.comparison.build(each)) for each in study.finals.finalists("search")]
    assert len(set(counts)) == 2
    monkeypatch.setattr(Scored, "on_validation_epoch_end", scores)
    again = scored(trials=2, ensemble=2, folder=study.folder.path / "again", prefer="economical")
    summary = again.run()
    labels = {row.params: row.label for row in summary.rows}
    assert {each.contender.key for each in again.finals.standings} < {
        each.contender.key for each in again.finals.eligible
    }
    assert summary.winner == summary.economical == labels[min(counts)]
    assert summary.verdict[0].startswith(f"the winner, the economical one, is {summary.winner}")
