"""The space over smp's models: its size, the contract of every space, and what its networks keep."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from automl_plugins import Task
from automl_plugins.testing import SearchSpaceContract, covering, enumerate_space
from seg_space import SmpSpace
from seg_space.smp import building
from seg_space.smp.network import SmpNetwork
from seg_space.smp.space import DECODERS, ENCODERS

CLASSES = Task("pixel", "classes", in_channels=3, out_channels=4)
BINARY = Task("pixel", "binary", in_channels=1, out_channels=1)
IMAGE = Task("image", "classes", in_channels=3, out_channels=4)


class TestSmpSpace(SearchSpaceContract):
    samples = 6

    def space(self) -> SmpSpace:
        return SmpSpace(encoders=("resnet18", "efficientnet-b0"))

    def tasks(self) -> Sequence[Task]:
        return [BINARY, IMAGE]

    def loss(self, network: nn.Module, task: Task) -> Tensor:
        images = torch.randn(2, task.in_channels, 40, 64)
        return network(images).square().mean()


def test_the_size_is_what_a_count_by_hand_gives() -> None:
    u_shaped = 3 * 2 * 3  # widths, interpolations, normalisations
    a_depth = {
        "Unet": u_shaped * 2,
        "UnetPlusPlus": u_shaped * 2,
        "MAnet": u_shaped,
        "Linknet": 3,
        "FPN": 2 * 3 * 3 * 2,
        "PSPNet": 3 * 4,
        "UPerNet": 2 * 4,
        "Segformer": 4,
    }
    atrous = 4 * 3 * 2  # channels, rates, separable
    size = 3 * sum(a_depth.values()) + 2 * (atrous * (1 + 2 + 2)) + (2 * 4) * (1 + 1 + 2)
    assert SmpSpace().size == size * len(ENCODERS)
    one = SmpSpace(decoders=("FPN", "PAN"), encoders=("resnet18",), depths=(5,))
    assert one.size == 36 + 16 == len(list(enumerate_space(one)))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_encoder_trains_in_decoders_that_ask_for_different_things(encoder: str) -> None:
    for number, decoder in enumerate(("UnetPlusPlus", "PAN")):
        space = SmpSpace(decoders=(decoder,), encoders=(encoder,), depths=((3, 5)[number],))
        network = space.network(space.sample(np.random.default_rng(number)), CLASSES)
        outputs = network(torch.randn(2, 3, 32, 32))
        assert outputs.shape == (2, 4, 32, 32)
        outputs.square().mean().backward()
        assert all(weight.grad is not None for weight in network.parameters())


@pytest.mark.parametrize("decoder", DECODERS)
def test_images_of_any_size_come_out_in_their_size(decoder: str) -> None:
    space = SmpSpace(decoders=(decoder,), encoders=("efficientnet-b0",))
    network = space.network(space.sample(np.random.default_rng(1)), replace(CLASSES, in_channels=5))
    for height, width in ((1, 1), (65, 31)):
        assert network.train()(torch.randn(2, 5, height, width)).shape == (2, 4, height, width)
        with torch.no_grad():
            assert network.eval()(torch.randn(1, 5, height, width)).shape == (1, 4, height, width)


@pytest.mark.parametrize("decoder", DECODERS)
def test_of_whole_images_every_decoder_and_all_its_weights_learn(decoder: str) -> None:
    space = SmpSpace(decoders=(decoder,), encoders=("efficientnet-b0",))
    network = space.network(space.sample(np.random.default_rng(2)), IMAGE)
    outputs = network(torch.randn(2, 3, 40, 70))
    assert outputs.shape == (2, 4)
    outputs.square().mean().backward()
    assert all(weight.grad is not None for weight in network.parameters() if weight.requires_grad)
    assert sum(weight.numel() for weight in network.parameters() if not weight.requires_grad) == 0


def test_the_output_of_an_image_is_linear_in_the_means_of_encoder_and_decoder() -> None:
    space = SmpSpace(decoders=("Unet",), encoders=("resnet18",), depths=(3,))
    network = space.network(space.sample(np.random.default_rng(0)), IMAGE).eval()
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        features = network.model.encoder(images)
        pooled = torch.cat([features[-1].mean(dim=(2, 3)), network.model.decoder(features).mean(dim=(2, 3))], dim=1)
        torch.testing.assert_close(network(images), network.classifier(pooled))


def test_an_image_of_a_fitting_size_is_not_touched() -> None:
    torch.manual_seed(0)
    network = SmpNetwork(smp.create_model("FPN", "resnet18", encoder_weights=None, classes=2)).eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(network(images), network.model(images))
        # What is cut off is what the model itself makes of the border that is repeated.
        padded = torch.cat([images, images[..., -1:].expand(-1, -1, -1, 32)], dim=-1)
        wider = torch.cat([images, images[..., -1:].expand(-1, -1, -1, 10)], dim=-1)
        assert torch.equal(network(wider), network.model(padded)[..., :106])


def test_weights_that_smp_carries_along_are_left_out() -> None:
    space = SmpSpace(decoders=("Unet",), encoders=("resnet18", "efficientnet-b0"))
    values = {"decoder": "Unet", "width": "full", "attention": None, "interpolation": "nearest", "norm": "batchnorm"}
    for encoder, depth in (("resnet18", 3), ("resnet18", 5), ("efficientnet-b0", 5)):
        architecture = space.architecture({**values, "encoder": encoder, "encoder_depth": depth})
        network = space.network(architecture, CLASSES)
        whole = smp.Unet(
            encoder, depth, None, decoder_channels=(256, 128, 64, 32, 16)[-depth:], classes=CLASSES.out_channels
        )
        # The weights that are left are smp's, and so are the outputs.
        assert network.model.load_state_dict(whole.state_dict(), strict=False).missing_keys == []
        images = torch.randn(2, 3, 64, 64)
        with torch.no_grad():
            assert torch.equal(network.eval()(images), whole.eval()(images))
        counts = [sum(weight.numel() for weight in each.parameters()) for each in (network, whole)]
        whole.train()(images).sum().backward()
        used = sum(weight.numel() for weight in whole.parameters() if weight.grad is not None)
        assert counts[0] == used
        assert (counts[0] < counts[1]) == (encoder != "resnet18" or depth < 5)


def test_a_model_that_was_saved_by_smp_loads_again(tmp_path: Path) -> None:
    space = SmpSpace(decoders=("PAN",), encoders=("mobilenet_v2",), depths=(4,))
    network = space.network(space.sample(np.random.default_rng(0)), CLASSES).eval()
    network.model.save_pretrained(tmp_path)
    again = SmpNetwork(smp.from_pretrained(tmp_path, strict=False)).eval()
    images = torch.randn(1, 3, 50, 60)
    with torch.no_grad():
        assert torch.equal(network(images), again(images))


def test_a_batch_of_one_image_is_refused_where_it_cannot_train() -> None:
    for decoder, refused in (("DeepLabV3Plus", True), ("PAN", True), ("UPerNet", True), ("Unet", False)):
        space = SmpSpace(decoders=(decoder,), encoders=("mobilenet_v2",), depths=(3,))
        network = space.network(space.sample(np.random.default_rng(0)), CLASSES).train()
        if refused:
            with pytest.raises(ValueError, match=rf"{decoder} normalises averages.*two or more"):
                network(torch.randn(1, 3, 64, 64))
        else:
            assert math.isfinite(network(torch.randn(1, 3, 64, 64)).mean().item())


@pytest.mark.parametrize("target", ["classes", "multilabel", "regression"])
def test_targets_differ_in_nothing_but_what_the_outputs_mean(target: str) -> None:
    space = SmpSpace(decoders=("Linknet",), encoders=("mobilenet_v2",), depths=(3,))
    task = replace(CLASSES, target=target, in_channels=7)
    network = space.network(space.sample(np.random.default_rng(0)), task)
    outputs = network(torch.randn(2, 7, 64, 64))
    assert outputs.shape == (2, 4, 64, 64)
    assert outputs.min() < 0 < outputs.max()


def test_encoders_of_ones_own_are_tried_before_the_search() -> None:
    chosen = SmpSpace(decoders=("Segformer",), encoders=("mit_b0",), depths=(5,))
    for architecture in covering(chosen, np.random.default_rng(0)):
        network = chosen.network(architecture, CLASSES)
        assert chosen.num_parameters(architecture, CLASSES) == sum(weight.numel() for weight in network.parameters())
    with pytest.raises(ValueError, match="FPN on 'mit_b0' of depth 4 cannot be had from smp: Encoder mit_b0 support"):
        SmpSpace(decoders=("FPN",), encoders=("mit_b0",), depths=(5, 4))
    with pytest.raises(ValueError, match="DeepLabV3 on 'mit_b0' of depth 5 cannot be had from smp"):
        SmpSpace(decoders=("DeepLabV3",), encoders=("mit_b0",), depths=(5,))
    with pytest.raises(ValueError, match=r"there is no encoder 'resnet19'; .*resnet18"):
        SmpSpace(encoders=("resnet19",))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"decoders": ("UNet",)}, "there is no decoder 'UNet'; .*Unet"),
        ({"decoders": ()}, "'decoder' has no options"),
        ({"encoders": ("resnet18", "resnet18")}, "'encoder' has an option twice"),
        ({"depths": (2,)}, "depths are among 3, 4, 5; got 2"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SmpSpace(**arguments)


@pytest.mark.parametrize("without", [torch.no_grad, torch.inference_mode])
def test_a_network_that_is_first_built_amid_a_count_is_the_same(
    without: Callable[[], AbstractContextManager[None]],
) -> None:
    """What counts of smp's parts is read off autograd's graph, which there is none of in a count of work."""
    space = SmpSpace(encoders=("resnet18",))
    architecture = space.sample(np.random.default_rng(0))
    expected = [name for name, _ in space.build(architecture, IMAGE).named_parameters()]
    building._idle_parts.cache_clear()
    with without():
        network = space.build(architecture, IMAGE)
    assert [name for name, _ in network.named_parameters()] == expected
