"""A path and a cell as text."""

from __future__ import annotations

from seg_space.auto_deeplab.cell import Step
from seg_space.auto_deeplab.drawing import draw_cell, draw_path


def test_a_path_is_a_point_in_each_layers_column() -> None:
    assert draw_path((8, 8, 4), (4, 8, 16, 32)).splitlines() == [
        "stride  stem  1  2  3",
        "     4     ●  ·  ·  ●",
        "     8     ·  ●  ●  ·",
        "    16     ·  ·  ·  ·",
        "    32     ·  ·  ·  ·",
    ]


def test_a_cell_is_a_sum_for_each_block() -> None:
    steps = [
        Step(0, 0, 0, "max_pool"),
        Step(0, 1, 1, "identity"),
        Step(1, 0, 1, "atrous_3x3"),
        Step(1, 1, 2, "separable_5x5"),
    ]
    assert draw_cell(steps).splitlines() == [
        "block 0 = max_pool(layer before last) + identity(last layer)",
        "block 1 = atrous_3x3(last layer) + separable_5x5(block 0)",
    ]
