"""Two objects are told apart by what they were made with."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas
import pytorch_lightning as pl
import torch
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from torch import nn

from automl_plugins.training.description import describe, first_difference, unseen
from gnn_space import AGNNSpace, NodeClassification


def test_an_object_is_its_class_and_the_arguments_it_keeps() -> None:
    description = describe(AGNNSpace(layers=3, dropout=0.2))
    assert description["class"] == "gnn_space.agnn.space.AGNNSpace"
    assert (description["layers"], description["dropout"]) == (3, 0.2)


def test_a_partial_is_its_function_and_arguments() -> None:
    description = describe(partial(NodeClassification, learning_rate=0.1))
    assert description["call"] == "gnn_space.modules.NodeClassification"
    assert description["keywords"]["learning_rate"] == 0.1
    defaults = describe(partial(NodeClassification))["keywords"]
    assert description["keywords"] == {**defaults, "learning_rate": 0.1}


def test_descriptions_are_json() -> None:
    things = {"space": AGNNSpace(), "list": [1, None, object()], "class": Path}
    assert json.loads(json.dumps(describe(things))) == describe(things)


def test_the_first_difference_is_named_by_its_innermost_key() -> None:
    assert first_difference({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}) == ("a.c", 2, 3)
    assert first_difference({"a": 1}, {"a": 1}) is None
    assert first_difference({"a": 1}, {}) == ("a", 1, None)


class Unlike:
    """Keeps its arguments in every way that there is, and one in none."""

    def __init__(self, public: int, private: int, renamed: int, *, nested: object = None) -> None:
        self.public, self._private, self.other = public, private, renamed
        self.nested = nested


def test_private_and_nested_arguments_are_seen_and_what_is_not_is_listed() -> None:
    description = describe(Unlike(1, 2, 3, nested=[Unlike(4, 5, 6)]))
    assert (description["public"], description["private"]) == (1, 2)
    assert description["nested"][0]["private"] == 5
    assert list(unseen({"data": description})) == ["data.nested.0.renamed", "data.renamed"]


def test_saved_hyperparameters_are_seen() -> None:
    class Saved(pl.LightningDataModule):
        def __init__(self, path: Path, transform: object, **others: int) -> None:
            super().__init__()
            self.save_hyperparameters(ignore=["path"])
            self.path = path

    description = describe(Saved(Path("nowhere"), Unlike(1, 2, 3), scale=4))
    assert description["transform"]["private"] == 2
    assert first_difference(description, describe(Saved(Path("nowhere"), Unlike(1, 9, 3), scale=4))) == (
        "transform.private",
        2,
        9,
    )
    assert first_difference(description, describe(Saved(Path("nowhere"), Unlike(1, 2, 3), scale=5))) is not None


def test_arguments_that_a_constructor_hands_on_are_seen() -> None:
    class Heir(Unlike):
        def __init__(self, own: int, **others: int) -> None:
            super().__init__(**others)
            self.own = own

    assert describe(Heir(7, public=1, private=2, renamed=3))["private"] == 2


def test_a_file_is_its_content_wherever_it_lies_and_whenever_it_was_written(tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "elsewhere.csv"
    for file in (first, second):
        file.write_text("1\n")
    before = describe({"path": first, "text": str(first), "files": [first], "folder": tmp_path})
    now = describe({"path": second, "text": str(second), "files": [second], "folder": tmp_path.parent})
    assert first_difference(before, now) is None
    second.write_text("2\n")
    key, old, new = first_difference(before, describe({"path": second, "text": str(first), "files": [first]})) or ""
    assert key == "path"
    assert old.startswith("a.csv (2 bytes")
    assert new.startswith("elsewhere.csv (2 bytes")


def test_a_folder_that_is_made_later_is_no_difference(tmp_path: Path) -> None:
    places = {"root": tmp_path / "root", "text": str(tmp_path / "text")}
    before = describe(places)
    for place in places.values():
        Path(place).mkdir()
    assert first_difference(before, describe(places)) is None


def test_functions_without_a_name_of_their_own_are_told_apart() -> None:
    def scaled(by: float) -> object:
        return lambda value: value * by

    assert describe(scaled(1.0)) == describe(scaled(1.0))
    assert describe(scaled(1.0)) != describe(scaled(2.0))
    assert describe(lambda value: value + 1) != describe(lambda value: value - 1)


def test_arrays_tables_weights_and_numbers_of_every_kind() -> None:
    table = pandas.DataFrame({"a": [1.0, 2.0]})
    things = [torch.ones(3), np.ones(3), table, list(range(1000)), np.float32(0.5), float("nan"), torch.float16]
    assert json.loads(json.dumps(describe(things))) == describe(things)
    other = [torch.ones(3) * 2, np.ones(3) * 2, table * 2, list(range(1, 1001)), np.float32(0.25), 0.0, torch.float32]
    for thing, another in zip(things, other, strict=True):
        assert describe({"x": thing}) != describe({"x": another})
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0]))
    assert describe(loss) != describe(nn.CrossEntropyLoss(weight=torch.tensor([2.0, 1.0])))


def test_samplers_and_pruners_given_as_objects_are_seen() -> None:
    assert describe(TPESampler(n_startup_trials=3)) != describe(TPESampler(n_startup_trials=4))
    assert describe(MedianPruner(n_startup_trials=3)) != describe(MedianPruner(n_startup_trials=4))


def test_what_holds_itself_is_described_all_the_same() -> None:
    ring = Unlike(1, 2, 3)
    ring.nested = ring
    assert json.dumps(describe(ring))
