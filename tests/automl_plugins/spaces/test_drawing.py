from __future__ import annotations

import pytest

from automl_plugins import Operation
from automl_plugins.spaces.drawing import draw


def drawn(*operations: tuple[str, tuple[str, ...]]) -> list[str]:
    return [line.rstrip() for line in draw([Operation(name, name, inputs) for name, inputs in operations]).splitlines()]


def test_a_chain_is_a_column() -> None:
    assert drawn(("a", ()), ("b", ("a",))) == ["●   a", "●   b"]


def test_a_skip_connection_runs_beside_what_it_skips() -> None:
    operations = (("in", ()), ("f", ("in",)), ("g", ("f",)), ("sum", ("g", "in")), ("out", ("sum",)))
    assert drawn(*operations) == ["●     in", "├─●   f", "│ ●   g", "●─┘   sum", "●     out"]


def test_a_cell_with_two_inputs_and_a_node_that_reads_all() -> None:
    operations = (("a", ()), ("b", ()), ("c", ("a", "b")), ("d", ("a", "c")), ("e", ("b", "c", "d")))
    assert drawn(*operations) == [
        "●       a",
        "│ ●     b",
        "├─┼─●   c",
        "●─│─┤   d",  # b only passes
        "●─┴─┘   e",
    ]


def test_labels_stand_in_a_column_of_their_own() -> None:
    operations = [Operation("input", "input"), Operation("layer0.attention", "gat attention", ("input",))]
    assert draw(operations).splitlines() == ["●   input", "●   layer0.attention   gat attention"]


def test_an_operation_cannot_read_what_comes_later() -> None:
    with pytest.raises(ValueError, match="'a' reads 'b'"):
        draw([Operation("a", "a", ("b",)), Operation("b", "b")])


def test_nothing_gives_nothing() -> None:
    assert draw([]) == ""
