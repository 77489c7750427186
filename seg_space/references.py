"""Hand-made networks of segmentation_models_pytorch, to stand beside the networks that a search has found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import segmentation_models_pytorch as smp
from torch import Tensor, nn

from automl_plugins.spaces.plain_source import PlainSource
from automl_plugins.spaces.task import Level, Task
from seg_space.pretrained.encoders import pretrain
from seg_space.pretrained.sources import Weights, check_weights, of_one_encoder
from seg_space.smp.building import create_network
from seg_space.smp.network import SmpNetwork
from seg_space.smp.source import encoder_source


def _check_level(reference: type[Any], task: Task) -> None:
    """Refuse a task of a level that a reference has no networks for.

    Raises:
        ValueError: the level is another one.
    """
    if task.level not in reference.levels:
        (level,) = reference.levels
        raise ValueError(f"{reference.__name__} is for tasks of level {level!r}; got one of level {task.level!r}")


class _SmpReference(SmpNetwork):
    """A model of smp with its own defaults, for images of any size.

    Args:
        task: of level `pixel`.
        encoder_weights: that its encoder begins with, see `pretrained.sources.Weights`; None: random ones.
        encoders: that these weights are for; it has the first of them, unless its own is among them.

    Raises:
        ValueError: a task of another level, or weights that there are not.
        WeightsError: weights that cannot be had, or do not fit.
    """

    levels: ClassVar[frozenset[Level]] = frozenset(("pixel",))
    decoder: ClassVar[str]
    encoder: ClassVar[str]

    def __init__(self, task: Task, encoder_weights: Weights = None, encoders: Sequence[str] = ()) -> None:
        _check_level(type(self), task)
        encoder = self.encoder if self.encoder in encoders or not encoders else encoders[0]
        check_weights(encoder, encoder_weights)
        values = {"decoder": self.decoder, "encoder": encoder, "encoder_depth": 5}
        made = create_network(values, task, encoder_weights)
        super().__init__(made.model, made.normalisation)


class UNet(_SmpReference):
    """U-Net (Ronneberger et al. 2015) of smp; on a MobileNetV2, or the encoder that pretrained weights are for."""

    decoder, encoder = "Unet", "mobilenet_v2"


class FPN(_SmpReference):
    """Feature pyramid (Kirillov et al. 2019) of smp; on an EfficientNet-B0, or the encoder that weights are for."""

    decoder, encoder = "FPN", "efficientnet-b0"


class _EncoderReference(nn.Module):
    """An encoder of smp whose last feature map is averaged for a linear layer.

    Shapes:
        images `[batch, in_channels, height, width]` of any size; output `[batch, out_channels]`.

    Args:
        task: of level `image`.
        encoder_weights: that it begins with, see `pretrained.sources.Weights`; None: random ones.
        encoders: that these weights are for. If they are for others alone, it begins with random ones: it is named
            after its encoder.

    Raises:
        ValueError: a task of another level, or weights that there are not.
        WeightsError: weights that cannot be had, or do not fit.
    """

    levels: ClassVar[frozenset[Level]] = frozenset(("image",))
    name: ClassVar[str]

    def __init__(self, task: Task, encoder_weights: Weights = None, encoders: Sequence[str] = ()) -> None:
        super().__init__()
        _check_level(type(self), task)
        if encoders and self.name not in encoders and of_one_encoder(encoder_weights):
            encoder_weights = None
        check_weights(self.name, encoder_weights)
        encoder: Any = smp.encoders.get_encoder(self.name, in_channels=task.in_channels, depth=5, weights=None)
        self.normalisation = pretrain(encoder, self.name, encoder_weights, task.in_channels)
        self.encoder = encoder
        self.classifier = nn.Linear(encoder.out_channels[-1], task.out_channels)

    @property
    def pretrained_encoder(self) -> nn.Module | None:
        """The encoder, where it began with pretrained weights."""
        encoder: nn.Module = self.encoder
        return None if self.normalisation is None else encoder

    def plain_source(self) -> PlainSource:
        """See `automl_plugins.spaces.plain_source.HasPlainSource`; the source needs smp."""
        encoder: Any = self.encoder
        return encoder_source(self.name, encoder.out_channels[0], self.classifier, self.normalisation is not None)

    def forward(self, images: Tensor) -> Tensor:
        if self.normalisation is not None:
            images = self.normalisation(images)
        outputs: Tensor = self.classifier(self.encoder(images)[-1].mean(dim=(2, 3)))
        return outputs


class ResNet18(_EncoderReference):
    """ResNet-18 (He et al. 2016) of smp, for whole images."""

    name = "resnet18"


class MobileNetV2(_EncoderReference):
    """MobileNetV2 (Sandler et al. 2018) of smp, for whole images."""

    name = "mobilenet_v2"
