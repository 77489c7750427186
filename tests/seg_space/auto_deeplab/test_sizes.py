"""Auto-DeepLab's space with the filters and the stem's stride as choices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from automl_plugins import Task
from automl_plugins.testing import SupernetContract
from seg_space import AutoDeepLabSizesSpace, AutoDeepLabSpace

TASK = Task("pixel", "classes", in_channels=3, out_channels=4)


def make_space() -> AutoDeepLabSizesSpace:
    return AutoDeepLabSizesSpace((2, 4), (2, 4), layers=3, blocks=1, stem=(3, 4), decoder_channels=4)


class TestSizesAsChoices(SupernetContract):
    samples = 2

    def space(self) -> AutoDeepLabSizesSpace:
        return AutoDeepLabSizesSpace((1, 2), (2, 4), layers=2, blocks=1, stem=(2, 3), decoder_channels=2)

    def tasks(self) -> Sequence[Task]:
        return [TASK, Task("image", "classes", in_channels=3, out_channels=4)]

    def loss(self, network: nn.Module, task: Task) -> Tensor:
        outputs = network(torch.randn(3, task.in_channels, 16, 16))
        return (outputs - torch.randn(outputs.shape)).square().mean()


def test_a_network_is_that_of_the_space_of_its_sizes() -> None:
    space, generator = make_space(), np.random.default_rng(0)
    seen = set()
    for _ in range(12):
        architecture = space.sample(generator)
        fixed_space, fixed = space.fixed(architecture)
        seen.add((fixed_space.filters, fixed_space.stem_stride))
        torch.manual_seed(0)
        own = space.network(architecture, TASK)
        torch.manual_seed(0)
        other = AutoDeepLabSpace(
            3, 1, fixed_space.filters, (3, 4), fixed_space.stem_stride, decoder_channels=4
        ).network(fixed, TASK)
        states = own.state_dict(), other.state_dict()
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
        assert other.path[0] in (fixed_space.stem_stride, 2 * fixed_space.stem_stride)
    assert len(seen) == 4


def test_all_sizes_are_counted() -> None:
    assert make_space().size == 4 * AutoDeepLabSpace(3, 1, 2).size


def test_limits_leave_out_sizes_that_are_too_large() -> None:
    space = AutoDeepLabSizesSpace((2, 16), (2, 4), layers=3, blocks=1, stem=(3, 4), decoder_channels=4)
    generator = np.random.default_rng(0)
    smallest = min(space.num_parameters(space.sample(generator), TASK) for _ in range(100))
    narrowed = {choice.name: choice.options for choice in space.within(TASK, {"params": smallest + 50}).choices}
    assert narrowed["filters"] == (2,)
    assert narrowed["stem_stride"] == (2, 4)  # which has no weights


def test_a_size_that_is_closed_is_not_run() -> None:
    space = make_space()
    supernet = space.supernet(TASK)
    run: list[str] = []
    for name, inner in supernet.supernets.items():
        inner.register_forward_hook(lambda *_, name=name: run.append(name))
    architecture = space.sample(np.random.default_rng(0))
    supernet(torch.randn(2, 3, 16, 16), gates=space.gates(architecture))
    assert run == [f"filters{architecture['filters']}_stem{architecture['stem_stride']}"]


@pytest.mark.parametrize("filters", [(), (2, 2)])
def test_sizes_are_different(filters: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="filters are one number or several different ones"):
        AutoDeepLabSizesSpace(filters)
