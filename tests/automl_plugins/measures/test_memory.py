"""The memory of a step: counted by hand, and estimated from pieces of a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins import Task
from automl_plugins.measures.memory import (
    OVERHEAD,
    StepMemory,
    estimate_step,
    of_training,
    optimizer_bytes,
    peak_bytes,
    readable,
)
from automl_plugins.spaces.probe import probe_of
from gnn_space import EGNASSpace
from gnn_space.data import FreesolvData
from seg_space import AutoDeepLabSpace

PIXELS = Task("pixel", "classes", in_channels=3, out_channels=3)
GRAPHS = Task("graph", "classes", in_channels=3, out_channels=3)
A = 4000
"""Bytes of a thousand numbers."""


def numbers() -> Tensor:
    return torch.zeros(1000)


def test_the_most_that_is_alive_at_a_time_is_counted() -> None:
    def step(batch: None) -> None:
        first = numbers()
        second = first + 1
        del first
        second = second * 2  # two again
        del second
        numbers()

    assert peak_bytes(step, None) == 2 * A


def test_views_and_what_was_there_before_count_nothing() -> None:
    before = numbers()

    def step(batch: Tensor) -> None:
        batch.add_(1)
        batch.view(10, 100).t()[3:].unbind()

    assert peak_bytes(step, before) == 0


def test_what_autograd_keeps_is_counted() -> None:
    weight = numbers().requires_grad_()

    def step(batch: None) -> None:
        once = weight.exp()  # kept
        twice = once.exp()  # kept
        del once
        total = twice.sum()
        del twice
        assert total.requires_grad
        numbers()

    assert peak_bytes(step, None) == 3 * A + 4


def of_supernet(supernet: nn.Module, loss: Callable[[Any], Tensor]) -> Callable[[Any], object]:
    weights = [each for each in supernet.parameters() if each.requires_grad]
    return lambda batch: torch.autograd.grad(loss(batch), weights, allow_unused=True)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_images_are_cropped(checkpointing: bool) -> None:
    space = AutoDeepLabSpace(layers=2, blocks=2, filters=2, stem=(4, 4), checkpointing=checkpointing)
    searchable = space.searchable(PIXELS)
    step = of_supernet(searchable, lambda batch: functional.cross_entropy(searchable(batch["image"]), batch["mask"]))
    batch = {"image": torch.randn(2, 3, 160, 128), "mask": torch.randint(3, (2, 160, 128)), "name": ["a", "b"]}
    estimate = estimate_step(step, batch, probe_of(PIXELS))
    assert estimate.total == pytest.approx(peak_bytes(step, batch), rel=0.1)
    assert estimate.of_batch > estimate.fixed


def test_graphs_are_left_out() -> None:
    data = FreesolvData(batch_size=128)
    data.setup()
    space = EGNASSpace(cells=1, nodes=2, node_channels=8, edge_channels=4)
    searchable = space.searchable(data.task)

    def loss(batch: Any) -> Tensor:
        outputs = searchable(batch.x, batch.edge_index, batch.edge_attr, batch.batch, batch.num_graphs)
        return functional.l1_loss(outputs, batch.y.view_as(outputs))

    step = of_supernet(searchable, loss)
    batch = next(iter(data.train_dataloader()))
    assert batch.num_graphs == 128
    assert estimate_step(step, batch, probe_of(data.task)).total == pytest.approx(peak_bytes(step, batch), rel=0.1)


def test_what_has_no_pieces_is_run_whole() -> None:
    seen: list[Any] = []

    def step(batch: Tensor) -> None:
        seen.append(batch)
        batch + 1

    batch = torch.zeros(10, 100)
    for probe in (None, probe_of(PIXELS), probe_of(GRAPHS)):
        seen.clear()
        assert estimate_step(step, batch, probe) == StepMemory(A, 0)
        assert len(seen) == 1
        assert seen[0] is batch


def test_a_step_that_knows_one_size_alone_is_run_whole() -> None:
    linear = nn.Linear(64 * 64, 1)
    batch = torch.zeros(2, 1, 64, 64)
    assert estimate_step(lambda images: linear(images.flatten(1)), batch, probe_of(PIXELS)) == StepMemory(2 * 4, 0)


def test_an_error_of_the_step_is_the_users() -> None:
    def step(batch: Tensor) -> None:
        raise ValueError("theirs")

    with pytest.raises(ValueError, match="theirs"):
        estimate_step(step, torch.zeros(2, 1, 64, 64), probe_of(PIXELS))


def test_what_optimizers_will_keep() -> None:
    weights = [nn.Parameter(numbers()), nn.Parameter(numbers()), nn.Parameter(numbers(), requires_grad=False)]
    assert optimizer_bytes([torch.optim.Adam(weights)]) == 4 * A
    assert optimizer_bytes([torch.optim.SGD(weights, lr=0.1)]) == 0
    stepped = torch.optim.SGD(weights, lr=0.1, momentum=0.9)
    assert optimizer_bytes([stepped]) == 2 * A
    weights[0].grad = numbers()
    stepped.step()
    # What there is already is another's to count.
    assert optimizer_bytes([stepped]) == A


def test_training_takes_more_than_a_step() -> None:
    module = nn.BatchNorm1d(1000)  # two weights and two buffers of a thousand numbers, and a count
    module.weight.requires_grad_(False)
    memory = of_training(StepMemory(100, 200), module, [torch.optim.Adam(module.parameters())])
    gradient, states = A, 2 * A
    assert memory.fixed == 4 * A + 8 + gradient + states + round(OVERHEAD * 100)
    assert memory.of_batch == round(OVERHEAD * 200)


def test_how_much_of_a_batch_fits() -> None:
    memory = StepMemory(fixed=100, of_batch=400)
    assert memory.total == 500
    assert memory.share_that_fits(300) == 0.5
    assert memory.share_that_fits(100) == memory.share_that_fits(50) == 0


def test_bytes_are_readable() -> None:
    assert readable(3 * 2**30 / 2) == "1.5 GiB"
    assert readable(300 * 2**20) == "300 MiB"
