"""Hand-made networks of segmentation_models_pytorch, to stand beside the networks that a search has found."""

from __future__ import annotations

from typing import Any, ClassVar

import segmentation_models_pytorch as smp
from torch import Tensor, nn

from automl_plugins.spaces.task import Level, Task
from seg_space.smp.building import create_network
from seg_space.smp.network import SmpNetwork


def _check_level(reference: type[Any], task: Task) -> None:
    """Refuse a task of a level that a reference has no networks for.

    Raises:
        ValueError: the level is another one.
    """
    if task.level not in reference.levels:
        (level,) = reference.levels
        raise ValueError(f"{reference.__name__} is for tasks of level {level!r}; got one of level {task.level!r}")


class _SmpReference(SmpNetwork):
    """A model of smp with its own defaults, without pretrained weights, for images of any size.

    Args:
        task: of level `pixel`.

    Raises:
        ValueError: a task of another level.
    """

    levels: ClassVar[frozenset[Level]] = frozenset(("pixel",))
    decoder: ClassVar[str]
    encoder: ClassVar[str]

    def __init__(self, task: Task) -> None:
        _check_level(type(self), task)
        values = {"decoder": self.decoder, "encoder": self.encoder, "encoder_depth": 5}
        super().__init__(create_network(values, task).model)


class UNet(_SmpReference):
    """U-Net (Ronneberger et al. 2015) on a MobileNetV2, of smp, without pretrained weights."""

    decoder, encoder = "Unet", "mobilenet_v2"


class FPN(_SmpReference):
    """Feature pyramid (Kirillov et al. 2019) on an EfficientNet-B0, of smp, without pretrained weights."""

    decoder, encoder = "FPN", "efficientnet-b0"


class _EncoderReference(nn.Module):
    """An encoder of smp, without pretrained weights, whose last feature map is averaged for a linear layer.

    Shapes:
        images `[batch, in_channels, height, width]` of any size; output `[batch, out_channels]`.

    Args:
        task: of level `image`.

    Raises:
        ValueError: a task of another level.
    """

    levels: ClassVar[frozenset[Level]] = frozenset(("image",))
    name: ClassVar[str]

    def __init__(self, task: Task) -> None:
        super().__init__()
        _check_level(type(self), task)
        encoder: Any = smp.encoders.get_encoder(self.name, in_channels=task.in_channels, depth=5, weights=None)
        self.encoder = encoder
        self.classifier = nn.Linear(encoder.out_channels[-1], task.out_channels)

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.classifier(self.encoder(images)[-1].mean(dim=(2, 3)))
        return outputs


class ResNet18(_EncoderReference):
    """ResNet-18 (He et al. 2016) for whole images, of smp, without pretrained weights."""

    name = "resnet18"


class MobileNetV2(_EncoderReference):
    """MobileNetV2 (Sandler et al. 2018) for whole images, of smp, without pretrained weights."""

    name = "mobilenet_v2"
