"""The network of one architecture of `SmpDecoderSpace`."""

from __future__ import annotations

from torch import Tensor, nn

from automl_plugins.spaces.counting import part
from automl_plugins.spaces.plain_source import PlainSource
from automl_plugins.spaces.task import Task
from seg_space.smp.decoder.context import make_context
from seg_space.smp.decoder.encoder import Encoder
from seg_space.smp.decoder.head import LastHead, PyramidHead
from seg_space.smp.decoder.sizes import LAST_MAP, DecoderOptions, EncoderSizes
from seg_space.smp.decoder.source import smp_decoder_source
from seg_space.smp.decoder.stage import Stage, upsampled
from seg_space.smp.network import padded


class SmpDecoderNetwork(nn.Module):
    """An encoder of smp's, and a decoder along the strides that it visits.

    Args:
        options: of the network.
        task: the channels of images and of outputs.
        sizes: the encoder.

    Shapes:
        images `[batch, in_channels, height, width]` of any size: their border is repeated, below and on the right,
        up to multiples of 32 and to 64 at least; outputs `[batch, out_channels, height, width]`.
    """

    def __init__(self, options: DecoderOptions, task: Task, sizes: EncoderSizes) -> None:
        super().__init__()
        self.options, self.task, self.sizes = options, task, sizes
        self.encoder = part(Encoder, sizes.name, task.in_channels, options.encoder_stride, sizes.weights, sizes.frozen)
        last = sizes.map_channels(LAST_MAP)
        self.context = make_context(options, last)
        channels = [last if options.context == "none" else options.context_filters]
        self.stages = nn.ModuleList()
        for stage in options.stages:
            map_channels = 0 if stage.skip is None else sizes.map_channels(stage.skip)
            self.stages.append(Stage(stage, channels[-1], map_channels, options.steps, options.upsampling))
            channels.append(stage.channels(channels[-1]))
        self.strides = (options.encoder_stride, *(stage.stride for stage in options.stages))
        """Those of the encoder's last map and of each stage."""
        self.channels = tuple(channels)
        """Those of the context's output and of each stage's."""
        self.head = (
            LastHead(channels[-1], task.out_channels, options.head_kernel)
            if options.head == "last"
            else PyramidHead(self.strides, channels, options.head_filters, task.out_channels)
        )
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.encoder(padded(images, LAST_MAP, 2 * LAST_MAP))
        states = [(self.options.encoder_stride, self.context(maps[LAST_MAP]))]
        for stage, stride in zip(self.stages, self.strides[1:], strict=True):
            coarser, x = states[-1]
            states.append((stride, stage(upsampled(x, coarser // stride, self.options.upsampling), maps)))
        outputs = upsampled(self.head(states), self.strides[-1], "bilinear")
        return outputs[..., : images.size(2), : images.size(3)]

    def plain_source(self) -> PlainSource:
        """See `automl_plugins.spaces.plain_source.HasPlainSource`; the source needs smp."""
        return smp_decoder_source(self.options, self.task, self.sizes, self.encoder.normalisation is not None)


def initialise(network: nn.Module) -> None:
    """Draw the weights of a decoder as smp does: convolutions by Kaiming's rule, those that give outputs by Glorot's.

    Args:
        network: with a decoder in all of its parts but `encoder`; convolutions named `output` give outputs.
    """
    from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head

    for name, each in network.named_children():
        if name != "encoder":
            initialize_decoder(each)
    for name, each in network.named_modules():
        if name.startswith("head") and name.endswith("output"):
            initialize_head(each)
