"""Cells on the skip connections of trained models: they begin as nothing, and leave the model as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from automl_plugins import Task
from automl_plugins.testing import SupernetContract
from seg_space import ImplantSpace
from seg_space.smp.implant import skip_levels

TINY = "tu-test_efficientnet"
TASK = Task("pixel", "classes", in_channels=3, out_channels=2)


def model_of(name: str = "Unet", **arguments: Any) -> nn.Module:
    """A model whose batch statistics are no longer those of the beginning."""
    torch.manual_seed(0)
    model = smp.create_model(name, TINY, encoder_weights=None, classes=2, **arguments)
    model.train()(torch.randn(2, 3, 64, 64))
    return model.eval()


class TestContract(SupernetContract):
    samples = 3

    def space(self) -> ImplantSpace:
        narrow = model_of(encoder_depth=3, decoder_channels=(8, 8, 8))
        return ImplantSpace(narrow, blocks=1, state_channels=4)

    def tasks(self) -> Sequence[Task]:
        return [TASK]

    def loss(self, network: nn.Module, task: Task) -> Tensor:
        return network(torch.randn(2, task.in_channels, 24, 32)).square().mean()


@pytest.mark.parametrize("name", ["Unet", "FPN", "DeepLabV3Plus", "UnetPlusPlus"])
@pytest.mark.parametrize("frozen", [True, False])
def test_before_training_every_network_and_the_supernet_compute_what_the_model_does(name: str, frozen: bool) -> None:
    model = model_of(name)
    space = ImplantSpace(model.double(), frozen=frozen, state_channels=4)
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    networks = [space.network(space.sample(np.random.default_rng(seed)), TASK) for seed in range(3)]
    for network in (*networks, space.searchable(TASK)):
        with torch.no_grad():
            torch.testing.assert_close(network.double().eval()(images), model(images), rtol=1e-10, atol=1e-10)


def test_a_frozen_model_is_left_as_it_is_and_its_cells_learn() -> None:
    model = model_of()
    space = ImplantSpace(model, state_channels=4)
    before = {name: each.clone() for name, each in model.state_dict().items()}
    searchable = space.searchable(TASK).train()
    optimizer = torch.optim.SGD([each for each in searchable.parameters() if each.requires_grad], lr=0.1)
    images = torch.randn(2, 3, 64, 64)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        losses.append(searchable(images).square().mean())
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0]
    for state in (model.state_dict(), searchable.supernet.base.model.state_dict()):
        assert all(torch.equal(each, before[name]) for name, each in state.items())


def test_a_model_in_evaluation_mode_is_trained_like_any_network() -> None:
    space = ImplantSpace(model_of().eval(), frozen=False, state_channels=4)
    for network in (space.network(space.sample(np.random.default_rng(0)), TASK), space.searchable(TASK)):
        assert all(module.training for module in network.modules())


def test_the_skip_connections_are_those_that_the_decoder_reads() -> None:
    assert skip_levels(model_of("Unet")) == [1, 2, 3, 4]
    assert skip_levels(model_of("FPN")) == [2, 3, 4]
    assert skip_levels(model_of("DeepLabV3Plus")) == [2]
    with pytest.raises(ValueError, match="DeepLabV3 has no skip connection"):
        ImplantSpace(model_of("DeepLabV3"))
    with pytest.raises(ValueError, match=r"a model of smp is needed, .* got a Conv2d"):
        ImplantSpace(nn.Conv2d(3, 2, 1))


def test_a_model_of_other_channels_is_refused() -> None:
    space = ImplantSpace(model_of())
    with pytest.raises(ValueError, match="takes 3 channels and gives 2; the task has 1 and 2"):
        space.supernet(Task("pixel", "classes", in_channels=1, out_channels=2))
