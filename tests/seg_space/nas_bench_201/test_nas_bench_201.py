"""NAS-Bench-201 as built networks: the contract, the benchmark's own numbers, and the names that tables have."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from automl_plugins import Task
from automl_plugins.measures.macs import macs
from automl_plugins.measures.params import params
from automl_plugins.tables import nas_bench_201, transnas_bench_101
from automl_plugins.tables.files import numbers, read_csv
from automl_plugins.testing import SupernetContract
from seg_space.nas_bench_201 import NASBench201Space
from seg_space.nas_bench_201.cell import EDGES, NAMES, live_edges
from seg_space.nas_bench_201.names import text_of, values_of

IMAGES = Task("image", "classes", in_channels=3, out_channels=10)
PIXELS = Task("pixel", "classes", in_channels=2, out_channels=3)
DIGITS = st.text("01234", min_size=6, max_size=6)


class NASBench201Contract(SupernetContract):
    samples = 10
    enumerable = 100

    def tasks(self) -> Sequence[Task]:
        return [IMAGES, PIXELS]

    def loss(self, network: nn.Module, task: Task) -> Tensor:
        outputs = network(torch.randn(3, task.in_channels, 9, 8))
        return (outputs - torch.randn(outputs.shape)).square().mean()


class TestTheSearchSpace(NASBench201Contract):
    def space(self) -> NASBench201Space:
        return NASBench201Space(cells=1, channels=4)


class TestAStemOfStrideFour(NASBench201Contract):
    samples = 5

    def space(self) -> NASBench201Space:
        return NASBench201Space(cells=2, channels=4, stem_stride=4)

    def tasks(self) -> Sequence[Task]:
        return [PIXELS, IMAGES]


# The benchmark's own numbers.


def test_networks_have_the_parameters_and_the_flops_that_were_published() -> None:
    # Of the all-convolution network, in the benchmark's interface: 1.531546 million and 220.12 million.
    network = NASBench201Space().network(NASBench201Space().named("333333"), IMAGES)
    assert params(network) == 1_531_546
    # They count normalisations and additions, too, which are no multiply-accumulates of products.
    assert macs(network, (torch.randn(1, 3, 32, 32),)) == pytest.approx(220.12e6, rel=0.01)


def test_networks_have_the_parameters_of_the_published_scores(shared_data: Path) -> None:
    content = read_csv(shared_data / "tables" / "nas_bench_201" / "nb201_zc_cifar10.csv.gz")
    space = NASBench201Space()
    published = dict(zip(content["ops"], numbers(content["params"]), strict=True))
    generator = np.random.default_rng(0)
    for digits in generator.choice(content["ops"], 40, replace=False):
        assert space.num_parameters(space.named(str(digits)), IMAGES) == pytest.approx(1e6 * published[digits], abs=1)


# Names.


@given(DIGITS)
def test_a_cell_is_found_by_its_digits_and_by_the_benchmarks_text(digits: str) -> None:
    space = NASBench201Space(cells=1, channels=1)
    architecture = space.named(digits)
    assert space.digits(architecture) == digits
    assert space.named(text_of(architecture)) == architecture


def test_digits_and_texts_are_those_of_the_table(shared_data: Path) -> None:
    content = read_csv(shared_data / "tables" / "nas_bench_201" / "nb201.csv.gz")
    for digits, text in list(zip(content["ops"], content["arch"], strict=True))[::97]:
        assert values_of(text) == values_of(digits)
        assert text_of(values_of(digits)) == text


def test_architectures_are_looked_up_in_the_tables_as_they_are(shared_data: Path) -> None:
    space, generator = NASBench201Space(), np.random.default_rng(0)
    table, transnas = nas_bench_201("cifar10", shared_data), transnas_bench_101("segmentsemantic", shared_data)
    assert space.choices == table.space.choices
    for _ in range(20):
        architecture = space.sample(generator)
        table.space.validate(architecture)
        assert table.space.key(architecture) == space.digits(architecture)
        pooled = "avgpool" in architecture.values()
        if not pooled:
            assert transnas.space.key(architecture) == space.digits(architecture)
            assert transnas.row(architecture) is not None
    found = table.columns["c10_test"][table.row(space.named("333333"))]
    assert found == pytest.approx(93.76, abs=0.005)


@pytest.mark.parametrize(
    "name", ["", "30310", "3031015", "303105", "|conv~0|+|none~0|none~1|", text_of(values_of("0" * 6))[:-4]]
)
def test_what_is_no_name_of_a_cell_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="six digits from 0 to 4, or a text such as"):
        NASBench201Space().named(name)


def test_hand_made_networks_are_those_of_the_authors() -> None:
    references = NASBench201Space().references(IMAGES)
    text = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"
    assert {name: text_of(each) for name, each in references.items()} == {
        "resnet": text,
        "all-conv3x3": text_of(values_of("333333")),
    }


# What is left out.


def test_the_edges_that_are_left_are_those_on_paths_from_input_to_output() -> None:
    ends = dict(zip(NAMES, EDGES, strict=True))

    def paths(edges: tuple[str, ...], node: int) -> list[list[str]]:
        if node == 3:
            return [[]]
        return [[edge, *rest] for edge in edges if ends[edge][0] == node for rest in paths(edges, ends[edge][1])]

    for edges in chain.from_iterable(combinations(NAMES, count) for count in range(7)):
        assert set(live_edges(edges)) == {edge for path in paths(edges, 0) for edge in path}


def test_operations_that_no_path_passes_are_not_built() -> None:
    space = NASBench201Space(cells=1, channels=4)
    dead = space.named("300000"), space.named("003003"), space.named("000000")
    for architecture in dead:
        cell = space.network(architecture, IMAGES).stages[0][0]
        assert not list(cell.parameters())
        assert not cell(torch.randn(1, 4, 5, 5)).any()
    whole = space.network(space.named("300030"), IMAGES).stages[0][0]
    assert list(whole.operations) == ["edge0-1", "edge1-3"]


def test_a_cell_is_the_sum_over_its_edges() -> None:
    space = NASBench201Space(cells=1, channels=4)
    cell = space.network(space.named("311241"), IMAGES).stages[0][0].eval()
    apply = cell.operations
    x = torch.randn(2, 4, 6, 6)
    with torch.no_grad():
        one = apply["edge0-1"](x)
        two = x + one
        three = apply["edge0-3"](x) + nn.functional.avg_pool2d(one, 3, 1, 1, count_include_pad=False) + two
        torch.testing.assert_close(cell(x), three)


# The skeleton.


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_pixels_have_the_images_size_whatever_it_is(stride: int) -> None:
    space = NASBench201Space(cells=1, channels=4, stem_stride=stride)
    for size in ((33, 47), (5, 64)):
        for network in (space.network(space.named("333333"), PIXELS), space.searchable(PIXELS)):
            assert network(torch.randn(2, 2, *size)).shape == (2, 3, *size)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cells": 0}, "cells is at least 1; got 0"),
        ({"channels": 0}, "channels is at least 1; got 0"),
        ({"stem_stride": 3}, "stem_stride is one of 1, 2, 4; got 3"),
    ],
)
def test_numbers_out_of_range_are_named(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NASBench201Space(**arguments)
