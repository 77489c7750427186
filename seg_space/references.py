"""Hand-made networks of segmentation_models_pytorch, to stand beside what a search has found."""

from __future__ import annotations

from typing import ClassVar

from automl_plugins.spaces.task import Level, Task
from seg_space.smp.network import SmpNetwork, create_network


class _SmpReference(SmpNetwork):
    """A model of smp with its own defaults, without pretrained weights, for images of any size.

    Args:
        task: what the network must fit.

    Raises:
        ValueError: a task of another level.
    """

    levels: ClassVar[frozenset[Level]] = frozenset(("pixel",))
    decoder: ClassVar[str]
    encoder: ClassVar[str]

    def __init__(self, task: Task) -> None:
        if task.level not in self.levels:
            raise ValueError(f"{type(self).__name__} is for tasks of level 'pixel'; got one of level {task.level!r}")
        values = {"decoder": self.decoder, "encoder": self.encoder, "encoder_depth": 5}
        super().__init__(create_network(values, task.in_channels, task.out_channels).model)


class UNet(_SmpReference):
    """U-Net (Ronneberger et al. 2015) on a MobileNetV2, of smp, without pretrained weights."""

    decoder, encoder = "Unet", "mobilenet_v2"


class FPN(_SmpReference):
    """Feature pyramid (Kirillov et al. 2019) on an EfficientNet-B0, of smp, without pretrained weights."""

    decoder, encoder = "FPN", "efficientnet-b0"
