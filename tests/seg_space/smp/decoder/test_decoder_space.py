"""The space of decoders keeps the contract of every space, over encoders of several kinds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from automl_plugins import Task
from automl_plugins.errors import WeightsError
from automl_plugins.spaces.budget import work_of
from automl_plugins.testing import SearchSpaceContract, covering
from automl_plugins.training.export import export_network
from seg_space import SmpDecoderSpace
from seg_space.auto_deeplab.cell_choices import CellChoices
from seg_space.modules.encoders import pretrained_encoders

TINY = "tu-test_efficientnet"
CLASSES = Task("pixel", "classes", in_channels=3, out_channels=4)
BINARY = Task("pixel", "binary", in_channels=1, out_channels=1)


class TestSmpDecoderSpace(SearchSpaceContract):
    samples = 6

    def space(self) -> SmpDecoderSpace:
        return SmpDecoderSpace(TINY, strides=(16, 4), filters=(16, 32), blocks=1)

    def tasks(self) -> Sequence[Task]:
        return [BINARY]

    def loss(self, network: nn.Module, task: Task) -> Tensor:
        return network(torch.randn(2, task.in_channels, 40, 64)).square().mean()


@pytest.mark.parametrize("encoder", ["mobilenet_v2", "vgg11", "mit_b0", "tu-convnext_atto"])
def test_decoders_train_over_encoders_of_several_kinds(encoder: str) -> None:
    space = SmpDecoderSpace(encoder, encoder_strides=(32,), filters=(16,))
    network = space.network(space.sample(np.random.default_rng(1)), CLASSES)
    outputs = network(torch.randn(2, 3, 33, 70))
    assert outputs.shape == (2, 4, 33, 70)
    outputs.square().mean().backward()


def test_a_frozen_encoder_changes_neither_weights_nor_statistics_and_gets_no_gradients() -> None:
    space = SmpDecoderSpace(TINY, frozen=True, filters=(16,))
    network = space.network(space.references(CLASSES)["fpn"], CLASSES)
    before = {name: each.clone() for name, each in network.encoder.state_dict().items()}
    optimizer = torch.optim.SGD([each for each in network.parameters() if each.requires_grad], lr=0.1)
    for _ in range(2):
        network.train()(torch.randn(2, 3, 64, 64)).square().mean().backward()
        optimizer.step()
    assert all(torch.equal(each, before[name]) for name, each in network.encoder.state_dict().items())
    assert all(each.grad is None for each in network.encoder.parameters())
    assert network.context.weight.grad is not None
    assert all(module.training for module in network.modules())


def test_the_size_is_what_a_count_by_hand_gives() -> None:
    space = SmpDecoderSpace(TINY)
    cells = CellChoices(2).count
    # Stages without a cell and with one, by the encoder's maps and filters that they are offered.
    stages = [
        ((1 + maps) + 5 * (1 + 3 * maps) * 2 * filters, (1 + maps) * filters)
        for maps, filters in ((2, 3), (3, 4), (3, 5), (2, 4), (1, 3))
    ]
    without = math.prod(1 + plain for plain, _ in stages)
    with_cells = math.prod(1 + sum(both) for both in stages) - without
    decoders = 1 + 2 * ((without - 1) + cells * with_cells)
    assert space.size == 2 * (1 + 3 + 9) * (2 + 2) * decoders


def test_every_choice_counts_somewhere() -> None:
    space = SmpDecoderSpace(TINY)
    for architecture in covering(space, np.random.default_rng(0)):
        named = {choice for operation in space.operations(architecture) for choice in operation.choices}
        assert named == set(architecture)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder_name": "resnet19"}, "there is no encoder 'resnet19'; .*resnet18"),
        ({"encoder_name": "vgg11"}, r"'vgg11' of stride 16 cannot be had from smp: .*; give encoder_strides: \[32\]"),
        ({"encoder_strides": (8,)}, "encoder_strides are of 16, 32; got 8"),
        ({"strides": (16, 3)}, "strides are of 16, 8, 4, 2, 1; got 3"),
        ({"strides": (16, 16)}, r"strides are one or more, each once; got \[16, 16\]"),
        ({"operations": ("conv_5x5",)}, "there is no operation 'conv_5x5'; .*conv_3x3"),
        ({"filters": (15,)}, "filters are at least 1, multiples of blocks=2; got 15"),
        ({"blocks": 0}, "blocks is from 1 to 10; got 0"),
    ],
)
def test_a_wrong_argument_is_named(arguments: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SmpDecoderSpace(**{"encoder_name": TINY, **arguments})


def test_pretrained_weights_begin_every_network_and_are_named_where_they_do_not_fit(tmp_path: Path) -> None:
    encoder = smp.encoders.get_encoder(TINY, weights=None)
    torch.save(encoder.state_dict(), tmp_path / "weights.pt")
    space = SmpDecoderSpace(TINY, encoder_weights=str(tmp_path / "weights.pt"))
    network = space.network(space.references(CLASSES)["deeplabv3+"], CLASSES)
    assert all(
        torch.equal(each, encoder.state_dict()[name]) for name, each in network.encoder.model.state_dict().items()
    )
    assert list(pretrained_encoders(network)) == [network.encoder.model]
    assert space.reference_arguments["encoders"] == (TINY,)
    with pytest.raises(ValueError, match="'imagenot': 'resnet18' has none of that name"):
        SmpDecoderSpace("resnet18", encoder_weights="imagenot")


def test_no_weights_are_read_for_a_network_that_is_only_counted() -> None:
    space = SmpDecoderSpace(TINY, encoder_weights="nowhere.pt")
    architecture = space.references(CLASSES)["fpn"]
    images = torch.randn(1, 3, 64, 64)
    assert work_of(lambda: space.build(architecture, CLASSES), lambda network: network(images))["macs"] > 0
    with pytest.raises(WeightsError, match=r"nowhere\.pt"):
        space.network(architecture, CLASSES)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_network_is_exported_whole(frozen: bool, tmp_path: Path) -> None:
    space = SmpDecoderSpace(TINY, frozen=frozen)
    network = space.network(space.references(CLASSES)["deeplabv3+"], CLASSES).eval()
    assert export_network(network, torch.randn(2, 3, 40, 64), tmp_path / "network.pt2", "torch") < 1e-5
