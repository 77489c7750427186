from __future__ import annotations

import enum
import pickle

import numpy as np
import pytest

from automl_plugins import Choice


class Colour(enum.StrEnum):
    RED = "red"


def test_a_choice_keeps_its_options_in_order() -> None:
    choice = Choice("layer0.width", [8, 4, 16])
    assert choice.options == (8, 4, 16)
    assert [choice.index(option) for option in choice.options] == [0, 1, 2]
    assert pickle.loads(pickle.dumps(choice)) == choice
    assert hash(Choice("layer0.width", (8, 4, 16), {"depth": (1,)})) == hash(
        Choice("layer0.width", (8, 4, 16), {"depth": [1]})
    )


@pytest.mark.parametrize(("name", "kind"), [("layer0.attention", "attention"), ("a.b.c", "c"), ("depth", "depth")])
def test_the_kind_is_what_follows_the_last_dot(name: str, kind: str) -> None:
    assert Choice(name, (1,)).kind == kind


def test_there_is_at_least_one_option() -> None:
    with pytest.raises(ValueError, match="'width' has no options"):
        Choice("width", ())


@pytest.mark.parametrize("options", [(1, 1), ("a", "b", "a"), (1, True), (0, False), (1, 1.0), (None, None)])
def test_options_that_python_takes_for_one_are_refused(options: tuple[object, ...]) -> None:
    # Optuna would store the one and give back the other.
    with pytest.raises(ValueError, match="'width' has an option twice"):
        Choice("width", options)


@pytest.mark.parametrize("option", [[1], (1, 2), {"a": 1}, np.float64(0.5), np.int64(1), Colour.RED, b"a", len])
def test_an_option_is_a_plain_json_scalar(option: object) -> None:
    with pytest.raises(ValueError, match="'width': option"):
        Choice("width", ("other", option))


@pytest.mark.parametrize("option", [float("nan"), float("inf"), float("-inf")])
def test_an_option_that_json_cannot_write_is_refused(option: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Choice("width", (1.0, option))


def test_a_requirement_without_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match="'width' requires 'depth'"):
        Choice("width", (1, 2), {"depth": ()})


@pytest.mark.parametrize("value", [True, 1.0, "1", 3, None])
def test_a_value_of_another_type_is_no_option(value: object) -> None:
    with pytest.raises(ValueError, match=r"'width' has no option .*; options: 1, 2"):
        Choice("width", (1, 2)).index(value)


def test_a_choice_is_active_where_all_that_it_requires_holds() -> None:
    choice = Choice("width", (1, 2), {"depth": (2, 3), "kind": ("a",)})
    assert choice.is_active({"depth": 2, "kind": "a"})
    assert choice.is_active({"depth": 3, "kind": "a", "other": 1})
    assert not choice.is_active({"depth": 1, "kind": "a"})
    assert not choice.is_active({"depth": 2, "kind": "b"})
    assert not choice.is_active({"depth": 2})
    assert Choice("width", (1, 2)).is_active({})


def test_any_of_several_requirements_makes_a_choice_active() -> None:
    choice = Choice("width", (1, 2), [{"depth": (2, 3), "kind": ("a",)}, {"kind": ["b"]}])
    assert choice.is_active({"depth": 2, "kind": "a"})
    assert choice.is_active({"depth": 1, "kind": "b"})
    assert not choice.is_active({"depth": 1, "kind": "a"})
    assert not choice.is_active({"depth": 2})
    assert choice.parents == {"depth", "kind"}
    assert choice.condition == "depth in (2, 3) and kind in ('a',) or kind in ('b',)"
    assert pickle.loads(pickle.dumps(choice)) == choice


def test_one_requirement_may_stand_alone_or_in_a_list() -> None:
    assert Choice("width", (1, 2), {"depth": (1,)}) == Choice("width", (1, 2), [{"depth": [1]}])
    assert Choice("width", (1, 2), {}) == Choice("width", (1, 2), []) == Choice("width", (1, 2))


def test_an_alternative_that_requires_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="'width' requires nothing"):
        Choice("width", (1, 2), [{"depth": (1,)}, {}])
