"""Architectures as figures."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from automl_plugins.spaces.figure import graph_figure, layered
from automl_plugins.spaces.operation import Operation
from automl_plugins.spaces.space import SearchSpace
from gnn_space import AGNNSpace, EGNASSpace
from seg_space import AutoDeepLabSpace, SmpSpace

SPACES = [
    AGNNSpace(layers=2),
    EGNASSpace(cells=2, nodes=2),
    AutoDeepLabSpace(layers=3, blocks=2),
    AutoDeepLabSpace(layers=3, blocks=2, multi_path=True),
    SmpSpace(),
]


@pytest.mark.parametrize("space", SPACES)
def test_every_space_has_a_figure(space: SearchSpace, tmp_path: Path) -> None:
    architecture = space.sample(np.random.default_rng(0))
    space.figure(architecture).savefig(tmp_path / "found.png")
    assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG")


def test_data_flow_to_the_right_and_no_two_operations_share_a_place() -> None:
    space = EGNASSpace(cells=2, nodes=3)
    operations = space.operations(space.sample(np.random.default_rng(0)))
    places = layered(operations)
    assert len(set(places.values())) == len(operations)
    for operation in operations:
        for source in operation.inputs:
            assert places[source][0] < places[operation.name][0]


def test_all_operations_are_named_and_all_inputs_are_arrows() -> None:
    operations = [Operation("in", "input"), Operation("a", "max", ("in",)), Operation("out", "sum", ("in", "a"))]
    (axes,) = graph_figure(operations, "three").axes
    labels = [text.get_text() for text in axes.texts]
    assert sorted(filter(None, labels)) == ["input", "max", "sum"]
    assert labels.count("") == 3


def test_what_reads_a_later_operation_is_refused() -> None:
    with pytest.raises(ValueError, match="'a' reads 'b', which does not come before it"):
        layered([Operation("a", "max", ("b",)), Operation("b", "sum")])


def test_the_trellis_shows_the_path() -> None:
    space = AutoDeepLabSpace(layers=3, blocks=2)
    architecture = space.sample(np.random.default_rng(3))
    trellis, cell = space.figure(architecture).axes
    rows = [space.trellis.strides.index(stride) for stride in (space.stem_stride, *space.path(architecture))]
    drawn = [tuple(line.get_ydata()) for line in trellis.lines]
    assert drawn == list(itertools.pairwise(rows))
    assert sum(text.get_text().startswith("block") for text in cell.texts) == space.blocks
