"""Two studies are told apart by what they were set up with."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from automl_plugins.description import describe, first_difference
from automl_plugins.errors import StudyError
from automl_plugins.study import Study
from gnn_space import AGNNSpace, NodeClassification
from gnn_space.data import ClusterData


def test_an_object_is_its_class_and_the_arguments_it_keeps() -> None:
    description = describe(AGNNSpace(layers=3, dropout=0.2))
    assert description["class"] == "gnn_space.agnn.space.AGNNSpace"
    assert (description["layers"], description["dropout"]) == (3, 0.2)


def test_a_partial_is_its_function_and_arguments() -> None:
    description = describe(partial(NodeClassification, learning_rate=0.1))
    assert description["call"] == "gnn_space.modules.NodeClassification"
    assert description["keywords"] == {"learning_rate": 0.1}


def test_descriptions_are_json() -> None:
    things = {"space": AGNNSpace(), "list": [1, None, object()], "class": Path}
    assert json.loads(json.dumps(describe(things))) == describe(things)


def test_the_first_difference_is_named_by_its_innermost_key() -> None:
    assert first_difference({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}) == ("a.c", 2, 3)
    assert first_difference({"a": 1}, {"a": 1}) is None
    assert first_difference({"a": 1}, {}) == ("a", 1, None)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"space": AGNNSpace(layers=1, dropout=0.1)}, "space.dropout"),
        ({"data": ClusterData(4, 2, 2, batch_size=1)}, "data.batch_size"),
        ({"module": partial(NodeClassification, learning_rate=0.5)}, "module"),
        ({"trainer": {"max_epochs": 2}}, "trainer.max_epochs"),
        ({"sampler": "RandomSampler"}, "sampler.class"),
        ({"seed": 1}, "seed"),
    ],
)
def test_a_folder_keeps_to_one_study(change: dict[str, object], key: str, tmp_path: Path) -> None:
    settings = {
        "space": AGNNSpace(layers=1),
        "data": ClusterData(4, 2, 2),
        "folder": tmp_path,
        "trials": 0,
        "references": ["gcn"],
        "seeds": 1,
        "trainer": {"max_epochs": 1},
    }
    Study(**settings)._check_folder()
    Study(**{**settings, "trials": 3, "seeds": 2})._check_folder()
    with pytest.raises(StudyError, match=f"begun with {key}="):
        Study(**{**settings, **change})._check_folder()
