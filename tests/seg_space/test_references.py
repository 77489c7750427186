"""The hand-made networks for images."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from automl_plugins import Task, registry
from seg_space.references import FPN, MobileNetV2, ResNet18, UNet

TASK = Task("pixel", "classes", in_channels=1, out_channels=4)
IMAGES = replace(TASK, level="image")


@pytest.mark.parametrize(("name", "reference"), [("unet", UNet), ("fpn", FPN)])
def test_a_reference_takes_images_of_any_size_and_all_its_weights_learn(name: str, reference: type) -> None:
    assert registry.load("references", name) is reference
    network = reference(TASK)
    outputs = network(torch.randn(2, 1, 70, 45))
    assert outputs.shape == (2, 4, 70, 45)
    outputs.square().mean().backward()
    assert all(weight.grad is not None for weight in network.parameters() if weight.requires_grad)


@pytest.mark.parametrize(("name", "reference"), [("resnet18", ResNet18), ("mobilenet-v2", MobileNetV2)])
def test_a_reference_for_whole_images_takes_any_size_and_all_its_weights_learn(name: str, reference: type) -> None:
    assert registry.load("references", name) is reference
    network = reference(IMAGES)
    outputs = network(torch.randn(2, 1, 40, 25))
    assert outputs.shape == (2, 4)
    outputs.square().mean().backward()
    assert all(weight.grad is not None for weight in network.parameters())
    with pytest.raises(
        ValueError, match=f"{reference.__name__} is for tasks of level 'image'; got one of level 'pixel'"
    ):
        reference(TASK)


def test_a_reference_refuses_graphs() -> None:
    with pytest.raises(ValueError, match="UNet is for tasks of level 'pixel'; got one of level 'graph'"):
        UNet(replace(TASK, level="graph"))
