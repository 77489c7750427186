"""Networks of segmentation_models_pytorch for images of any size: of pixels, and of whole images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins.spaces.plain_source import PlainSource
from seg_space.pretrained.normalisation import InputNormalisation
from seg_space.smp.source import smp_source

# They normalise the average over the whole feature map: one value a channel and image.
_NORMALISE_AVERAGES = ("DeepLabV3", "DeepLabV3Plus", "PAN", "UPerNet")


class SmpNetwork(nn.Module):
    """A model of smp for images of any size: they are padded to what it needs, and the outputs cropped.

    Below and on the right, the image's border is repeated up to the multiple of the encoder's stride that smp
    asks for, and to twice the stride at least (eight times for PAN, which pools its coarsest feature map three times).

    Shapes:
        images `[batch, in_channels, height, width]`; output `[batch, classes, height, width]`.

    Args:
        model: of smp, without an auxiliary head; its own methods (`save_pretrained` and others) stay its own.
        normalisation: of the images, for an encoder with pretrained weights; None: it has none.

    Raises:
        ValueError: in training, for a batch of one image, where the decoder normalises over the batch alone.
    """

    def __init__(self, model: nn.Module, normalisation: InputNormalisation | None = None) -> None:
        super().__init__()
        self.model = model
        self.normalisation = normalisation
        self.decoder_name = type(model).__name__
        encoder: Any = model.encoder
        self.multiple = int(encoder.output_stride)
        self.least = self.multiple * (8 if self.decoder_name == "PAN" else 2)

    @property
    def pretrained_encoder(self) -> nn.Module | None:
        """The encoder, where it began with pretrained weights."""
        encoder: Any = self.model.encoder
        return None if self.normalisation is None else encoder

    def plain_source(self) -> PlainSource:
        """See `automl_plugins.spaces.plain_source.HasPlainSource`; the source needs smp."""
        return smp_source(self.model, self.normalisation is not None, self.multiple, self.least)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        outputs: Tensor = self.model(self.prepared(images))
        return outputs[..., :height, :width]

    def save_smp(self, folder: Path) -> None:
        """Write the model as `smp.from_pretrained` reads it; parts that smp makes and no output depends on are zero.

        smp's model neither pads nor normalises images: they are to be multiples of the encoder's stride, and to have
        the statistics that the training's had.

        Args:
            folder: a new one.

        Raises:
            ValueError: its images are normalised for pretrained weights, which smp's model would not do.
        """
        model: Any = self.model
        if self.normalisation is not None:
            raise ValueError("smp keeps no normalisation of images beside a model; use --format huggingface or python")
        whole = type(model)(**{**model.config, "encoder_weights": None})
        state = {name: torch.zeros_like(value) for name, value in whole.state_dict().items()}
        whole.load_state_dict(state | {name: value.cpu() for name, value in model.state_dict().items()})
        whole.save_pretrained(str(folder))

    def prepared(self, images: Tensor) -> Tensor:
        """The images as the model takes them: normalised, and padded."""
        if self.training and images.size(0) == 1 and self.decoder_name in _NORMALISE_AVERAGES:
            raise ValueError(
                f"{self.decoder_name} normalises averages of whole images over the batch, so it cannot train on a "
                "batch of one image; give it two or more, and drop a last batch that is smaller"
            )
        if self.normalisation is not None:
            images = self.normalisation(images)
        return padded(images, self.multiple, self.least)


def padded(images: Tensor, multiple: int, least: int) -> Tensor:
    """Images whose border is repeated, below and on the right, up to multiples of a number and to a least size."""
    height, width = images.shape[-2:]
    below, right = (max(size, least) - size for size in (height, width))
    below, right = below + -(height + below) % multiple, right + -(width + right) % multiple
    if below or right:
        images = functional.pad(images, (0, right, 0, below), mode="replicate")
    return images


class SmpImageNetwork(SmpNetwork):
    """A model of smp for whole images: what its encoder and its decoder give, averaged, and a linear layer.

    The averages are of the encoder's coarsest feature map and of the decoder's output, so every choice of `SmpSpace`
    counts. Images are padded as by `SmpNetwork`, and the border that is repeated is part of the averages.

    Shapes:
        images `[batch, in_channels, height, width]`; output `[batch, out_channels]`.

    Args:
        model: of smp, without an auxiliary head; it loses its segmentation head.
        out_channels: of the output.
        normalisation: see `SmpNetwork`.

    Raises:
        ValueError: in training, for a batch of one image, where the decoder normalises over the batch alone.
    """

    def __init__(self, model: nn.Module, out_channels: int, normalisation: InputNormalisation | None = None) -> None:
        super().__init__(model, normalisation)
        parts: Any = model
        channels = parts.encoder.out_channels[-1] + parts.segmentation_head[0].in_channels
        model.segmentation_head = nn.Identity()
        self.classifier = nn.Linear(channels, out_channels)

    def plain_source(self) -> PlainSource:
        """See `automl_plugins.spaces.plain_source.HasPlainSource`; the source needs smp."""
        return smp_source(self.model, self.normalisation is not None, self.multiple, self.least, self.classifier)

    def save_smp(self, folder: Path) -> None:
        raise ValueError("smp has no models of whole images; use --format huggingface or python")

    def forward(self, images: Tensor) -> Tensor:
        parts: Any = self.model
        features: list[Tensor] = parts.encoder(self.prepared(images))
        pooled = [x.mean(dim=(2, 3)) for x in (features[-1], parts.decoder(features))]
        outputs: Tensor = self.classifier(torch.cat(pooled, dim=1))
        return outputs
