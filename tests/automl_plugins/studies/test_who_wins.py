"""The winner of a study is the best contender that keeps the limits, whoever found it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from scored_study import Scored, parameters_of, printed, ranked

from automl_plugins import Architecture, registry
from automl_plugins.studies.study import Study
from gnn_space import AGNNSpace

MakeStudy = Callable[..., Study]


def test_the_best_wins_whoever_found_it(scored: MakeStudy) -> None:
    Scored.scores = {"GIN": 0.9, "GCN": 0.1}
    study = scored(references=["gcn", "gin"], trials=2)
    summary = study.run()
    assert summary.winner == "gin"
    folder = study.folder
    winner = json.loads(folder.winner.read_text())
    assert (winner["reference"], winner["found_by"]) == ("gin", "hand")
    assert not folder.architecture.exists(), "of two winners' files, none is taken for the other's"
    network = registry.load("references", "gin")(study.project.task)
    network.load_state_dict(torch.load(folder.network, weights_only=True))
    found = Architecture.from_json(folder.found.architecture.read_text())
    study.project.space.network(found, study.project.task).load_state_dict(
        torch.load(folder.found.network, weights_only=True)
    )
    lines = "\n".join(summary.verdict)
    assert "the winner by mean validation is gin, made by hand: val_score 0.9000" in lines
    assert "the search was not worth its cost" in lines


def test_a_finalist_is_chosen_on_other_seeds_than_it_is_judged_by(
    scored: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = scored(references=["gin", "gcn"])
    study.run()
    best, second = ranked(study)[:2]
    choosing, judging = set(study.choosing.seeds), set(study.comparison.seeds)
    assert choosing.isdisjoint(judging)

    def scores(self: Scored) -> None:
        # Lucky where it is judged, and there alone.
        lucky = self.is_final and self.count == best and torch.initial_seed() in judging
        self.log("val_score", torch.tensor(1.0 if lucky else self.count == second).float())

    monkeypatch.setattr(Scored, "on_validation_epoch_end", scores)
    again = scored(folder=study.folder.path / "again", references=["gin", "gcn"])
    summary = again.run()
    search = summary.rows[0]
    assert {row.label for row in summary.rows} == {"search", "gin", "gcn"}
    assert search.params == second, "the one that the choosing seeds prefer"
    assert list(summary.seeds) == [1, 2]
    finals = again.finals
    trained = {contender.label for contender in finals.chosen_among}
    assert len(trained) == 4, "two finalists and two hand-made networks"
    on_disk = list(again.folder.path.glob("contenders/*/*-train.json"))
    assert len(on_disk) == again.plan.final_trainings(references=2) == 4 * 2 + 3 * 2
    assert {"hand"} == summary.tests["val_score"].keys()
    assert summary.tests["val_score"]["hand"].pairs == 2
    assert summary.tests["test_score"].keys() == {"hand"}


def test_a_hand_made_network_above_the_cap_is_shown_and_never_wins(
    scored: MakeStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    Scored.scores = {"GIN": 0.9}
    cap = parameters_of(registry.load("references", "gin")(scored().project.task)) - 1
    study = scored(space=AGNNSpace(layers=1, max_parameters=cap), references=["gin"], trials=2)
    study.prepare()
    assert (
        f"all hand-made networks are beyond the limits: gin (params {cap + 1:,}); they are trained as a comparison"
        in capsys.readouterr().err
    )
    summary = study.run()
    search, gin = summary.rows
    assert summary.winner == "search"
    assert gin.validation_mean == pytest.approx(0.9)
    assert gin.notes == ["breaks the limit of max_parameters, so it is not chosen"]
    assert search.validation_mean < gin.validation_mean
    assert study.folder.architecture.exists()


def test_random_search_may_win(scored: MakeStudy) -> None:
    study = scored(random_search=True, trials=4)
    summary = study.run()
    rows = {row.label: row for row in summary.rows}
    assert summary.winner == max(("search", "random"), key=lambda label: rows[label].validation_mean or 0.0)
    counts = {label: rows[label].params for label in ("search", "random")}
    assert counts[summary.winner] == min(counts.values())
    architecture = Architecture.from_json(study.folder.architecture.read_text())
    assert study.project.space.num_parameters(architecture, study.project.task) == counts[summary.winner]


def test_hand_made_networks_keep_limits_too(scored: MakeStudy) -> None:
    Scored.scores = {"GIN": 0.9, "GCN": 0.8}
    study = scored(references=["gin", "gcn"], trials=3, limits={"params": 45_000})
    summary = study.run()
    rows = {row.label: row for row in summary.rows}
    assert rows["gin"].params > 45_000 > rows["gcn"].params
    assert summary.winner == "gcn"
    assert rows["gin"].notes == ["breaks the limit of params, so it is not chosen"]


def test_a_reward_judges_hand_made_networks_too(scored: MakeStudy) -> None:
    Scored.scores = {"GIN": 0.90, "GCN": 0.89}
    reward = {"class_path": "mnasnet", "cost": "params", "target": 1000, "below": 0, "above": -1}
    summary = scored(references=["gin", "gcn"], trials=1, reward=reward).run()
    rows = {row.label: row for row in summary.rows}
    assert rows["gcn"].figures == {"params": rows["gcn"].params}
    assert 0.89 / rows["gcn"].params > 0.9 / rows["gin"].params
    assert summary.winner in ("gcn", "search")


def test_one_seed_has_no_deviation_and_tells_of_no_worth(scored: MakeStudy) -> None:
    summary = scored(references=["gcn"], trials=1, seeds=1).run()
    assert "±" not in printed(summary).replace("mean ± deviation", "")
    assert summary.verdict[-1].startswith("one seed cannot tell whether the search was worth its cost")
    assert summary.economical is None
