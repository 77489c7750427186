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
