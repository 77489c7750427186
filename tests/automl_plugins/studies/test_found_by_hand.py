"""A hand-made network that a search has found too is one network: trained once, and one line of the table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from perceptron_space.space import PerceptronSpace
from torch import nn

from automl_plugins import Architecture, Task
from automl_plugins.studies.study import Study
from gnn_space import GNNPlusSpace
from gnn_space.data import FreesolvData

MakeStudy = Callable[..., Study]


class Narrow(nn.Sequential):
    def __init__(self, task: Task) -> None:
        super().__init__(nn.Conv2d(task.in_channels, 2, 1), nn.ReLU(), nn.Conv2d(2, task.out_channels, 1))


def studied(make_study: MakeStudy, points: Callable[[Study], dict[str, Architecture]], **given: Any) -> Study:
    study = make_study(trials=3, finalists=1, seeds=2, references=[Narrow], space=PerceptronSpace(), **given)
    study.prepare()
    vars(study)["points"] = points(study)
    return study


def best(study: Study) -> Architecture:
    return study.finals.finalists("search")[0].architecture  # type: ignore[return-value]


def test_it_is_trained_once_and_has_both_names(make_study: MakeStudy, tmp_path: Path) -> None:
    apart = studied(make_study, lambda study: {}, folder=tmp_path / "apart")
    assert [row.label for row in apart.run().rows] == ["search", "Narrow"]
    name, found = str(apart.references[0].reference), best(apart)
    study = studied(make_study, lambda study: {name: found})
    summary = study.run()
    assert [row.label for row in summary.rows] == ["search = Narrow"]
    assert summary.winner == "search = Narrow"
    assert len(list(study.folder.path.glob("contenders/*"))) == 1
    (line,) = (line for line in summary.verdict if line.startswith("the winner"))
    assert "search = Narrow, made by hand and found by the search: val_loss" in line
    assert "no evidence that the search beats Narrow" in summary.verdict[-1]
    assert study.folder.architecture.exists()


def test_with_other_settings_it_is_another_one(make_study: MakeStudy) -> None:
    tune = {"module.learning_rate": [1e-3, 1e-2, 1e-1]}
    study = studied(make_study, lambda study: {}, tune=tune, equal_cost="trials")
    study.run()
    vars(study)["points"] = {str(study.references[0].reference): best(study)}
    mine, theirs = study.finals.finalists("search")[0], study.finals.references[0]
    assert (theirs.key == mine.key) is (theirs.settings == mine.settings)


def test_points_with_other_weights_than_the_registered_network_are_not_taken_for_it() -> None:
    """Where edges have features, GNN+'s GCN has maps of them that the registered one lacks; their GINE are the same."""
    study = Study(
        GNNPlusSpace(), FreesolvData(batch_size=16), "unused", trainer={"max_epochs": 1, "accelerator": "cpu"}
    )
    study.project.read_data()
    assert study.project.narrowed.points(study.project.task).keys() > study.points.keys() >= {"gin", "gated-gcn"}
    assert "gcn" not in study.points
