"""A mistyped name gets the nearest valid one."""

from __future__ import annotations

from automl_plugins.system.nearest import did_you_mean, nearest


def test_a_typing_error_finds_the_name_that_was_meant() -> None:
    assert nearest("trails", ["trials", "trainer"]) == "trials"
    assert nearest("AGN", ["agnn", "egnas"]) == "agnn"


def test_a_part_of_a_name_finds_the_whole() -> None:
    assert nearest("TPE", ["RandomSampler", "TPESampler"]) == "TPESampler"


def test_where_nothing_is_near_all_are_named() -> None:
    assert did_you_mean("xyz", ["b", "a"]) == "valid: a, b"
    assert did_you_mean("xyz", []) == "there is none to choose from"


def test_of_very_many_the_first_are_named() -> None:
    told = did_you_mean("xyz", [f"{number:04}" for number in range(2000)])
    assert told.startswith("valid: 0000, 0001, ")
    assert told.endswith("0049, and 1,950 more")
