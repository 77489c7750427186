"""The networks of `SmpDecoderSpace` as plain source, which imports smp and nothing of ours."""

from __future__ import annotations

from automl_plugins.spaces.plain_source import PlainSource
from automl_plugins.spaces.source_text import call, class_text, module_list
from automl_plugins.spaces.task import Task
from seg_space.auto_deeplab import plain as cells
from seg_space.auto_deeplab.cell import IDENTITY
from seg_space.auto_deeplab.source import cell_names, cell_text
from seg_space.smp.decoder import plain
from seg_space.smp.decoder.sizes import (
    CELL,
    CONVOLUTIONS,
    LAST_MAP,
    PROJECTED_CHANNELS,
    DecoderOptions,
    EncoderSizes,
    StageOptions,
)
from seg_space.smp.source import NORMALISED, normalisation_names, normalising


def smp_decoder_source(options: DecoderOptions, task: Task, sizes: EncoderSizes, normalises: bool) -> PlainSource:
    """The source of an `SmpDecoderNetwork`.

    Args:
        options: of the network.
        task: what it fits.
        sizes: the encoder.
        normalises: whether images are brought to what pretrained weights expect.
    """
    return _Source(options, task, sizes, normalises).made()


class _Source:
    """The lines of one network, part by part; arguments as those of `smp_decoder_source`."""

    def __init__(self, options: DecoderOptions, task: Task, sizes: EncoderSizes, normalises: bool) -> None:
        self.options, self.task, self.sizes, self.normalises = options, task, sizes, normalises
        self.init: list[str] = []
        self.forward = ["height, width = images.shape[-2:]"]
        self.names: dict[str, str | None] = {"encoder.model": "encoder", "head.output": "output"}
        self.has_cell = any(stage.operation == CELL for stage in options.stages)

    def made(self) -> PlainSource:
        """The whole."""
        options = self.options
        self._encoder()
        channels, keeps = [self._context()], options.head == "pyramid"
        stride = options.encoder_stride
        self.forward += ["states = [x]"] if keeps else []
        for place, stage in enumerate(options.stages):
            channels.append(self._stage(place, stage, stride, channels[-1]))
            self.forward += ["states.append(x)"] if keeps else []
            stride = stage.stride
        strides = [options.encoder_stride, *(stage.stride for stage in options.stages)]
        self._head(channels, strides)
        outputs = "outputs" if stride == 1 else f"bilinear(outputs, {stride})"
        self.forward.append(f"return {outputs}[..., :height, :width]")
        told = f"A decoder on the feature maps of {self.sizes.name}, for images of any size."
        network = class_text("Network", told, self.init, self.forward, ["images: Tensor"])
        texts = [cell_text(options.steps), _cell_stage()] if self.has_cell else []
        needs = ("segmentation_models_pytorch",)
        return PlainSource("\n\n\n".join([*texts, network]), (cells, plain), self.names, needs)

    def _encoder(self) -> None:
        name, channels = self.sizes.name, self.task.in_channels
        arguments = [f'"{name}"', f"in_channels={channels}", "depth=5", "weights=None"]
        arguments.append(f"output_stride={self.options.encoder_stride}")
        self.init.append(call("self.encoder = smp.encoders.get_encoder(", arguments, ")", 8))
        if self.sizes.frozen:
            self.init[-1] = self.init[-1].replace("self.encoder = ", "encoder = ", 1)
            self.init.append("self.encoder = freeze_batch_norm_2d(encoder)")
        if self.normalises:
            self.init += normalising(channels)
            self.names |= normalisation_names("encoder.normalisation")
        images = f"padded(images, multiple={LAST_MAP}, least={2 * LAST_MAP})"
        self.forward.append(f"images = {images}")
        self.forward += [NORMALISED] if self.normalises else []
        self.forward.append("maps = self.encoder(images)")

    def _context(self) -> int:
        """The lines of the context; its channels."""
        options, inputs = self.options, self.sizes.map_channels(LAST_MAP)
        if options.context == "none":
            self.forward.append("x = maps[5]")
            return inputs
        outputs = options.context_filters
        rates = f"[{options.rates.replace('-', ', ')}]"
        made = f"AtrousPyramid({inputs}, {outputs}, {rates})" if options.context == "aspp" else ""
        self.init.append(f"self.context = {made or f'nn.Conv2d({inputs}, {outputs}, 1)'}")
        self.forward.append("x = self.context(maps[5])")
        return outputs

    def _stage(self, place: int, stage: StageOptions, coarser: int, inputs: int) -> int:
        """The lines of a stage; its channels."""
        stride, operation = stage.stride, stage.operation
        if coarser != stride:
            self.forward.append(f"x = {self.options.upsampling}(x, {coarser // stride})")
        skip = "" if stage.skip is None else self._brought(stage.skip, stride)
        maps = 0 if stage.skip is None else self.sizes.map_channels(stage.skip)
        ours = f"stages.{place}"
        self.names |= {f"{ours}.lateral": f"lateral{stride}", f"{ours}.operation": f"stage{stride}"}
        if operation == CELL:
            channels = stage.filters // (len(self.options.steps) // 2)
            self.init.append(f"self.stage{stride} = CellStage({inputs}, {maps or inputs}, {channels})")
            self.names |= cell_names(f"{ours}.operation.cell", f"stage{stride}.cell", self.options.steps)
            self.forward.append(f"x = self.stage{stride}(x, {skip or 'x'})")
            return stage.filters
        fused, width = "x", inputs
        if skip and (operation == IDENTITY or stage.fusion == "sum"):
            self.init.append(f"self.lateral{stride} = nn.Conv2d({maps}, {inputs}, 1)")
            fused = f"x + self.lateral{stride}({skip})"
        elif skip and stage.fusion == "projected":
            self.init.append(f"self.lateral{stride} = rectified({maps}, {PROJECTED_CHANNELS})")
            fused, width = f"torch.cat([x, self.lateral{stride}({skip})], dim=1)", inputs + PROJECTED_CHANNELS
        elif skip:
            fused, width = f"torch.cat([x, {skip}], dim=1)", inputs + maps
        if operation == IDENTITY:
            self.forward += [f"x = {fused}"] if skip else []
            return inputs
        widths = (width, *[stage.filters] * (stage.layers - 1))
        made = [_convolution(operation, each, stage.filters) for each in widths]
        self.init.append(call(f"self.stage{stride} = nn.Sequential(", made, ")", 8))
        self.forward.append(f"x = self.stage{stride}({fused})")
        return stage.filters

    def _brought(self, skip: int, stride: int) -> str:
        level = f"maps[{skip.bit_length() - 1}]"
        if stride > skip:
            return f"functional.avg_pool2d({level}, {stride // skip})"
        return level if stride == skip else f"{self.options.upsampling}({level}, {skip // stride})"

    def _head(self, channels: list[int], strides: list[int]) -> None:
        options, outputs = self.options, self.task.out_channels
        if options.head == "last":
            kernel = options.head_kernel
            padding = f", padding={kernel // 2}" if kernel > 1 else ""
            self.init.append(f"self.output = nn.Conv2d({channels[-1]}, {outputs}, {kernel}{padding})")
            self.forward.append("outputs = self.output(x)")
            return
        filters = options.head_filters
        made = []
        for place, (stride, each) in enumerate(zip(strides, channels, strict=True)):
            doublings = (stride // strides[-1]).bit_length() - 1
            made.append(f"ascent({each}, {filters}, doublings={doublings})")
            self.names[f"head.ascents.{place}.layers"] = f"ascents.{place}"
        self.init.append(module_list("ascents", made))
        self.init.append(f"self.dropout, self.output = nn.Dropout2d(0.2), nn.Conv2d({filters}, {outputs}, 1)")
        self.forward.append("levels = [ascend(state) for ascend, state in zip(self.ascents, states, strict=True)]")
        self.forward.append("outputs = self.output(self.dropout(torch.stack(levels).sum(dim=0)))")


def _convolution(operation: str, inputs: int, outputs: int) -> str:
    convolution = CONVOLUTIONS[operation]
    if convolution is None:
        return f"rectified({inputs}, {outputs}, 3)"
    kernel, dilation, _ = convolution
    return f"depthwise({inputs}, {outputs}, {kernel}{f', dilation={dilation}' if dilation > 1 else ''})"


def _cell_stage() -> str:
    init = ["self.previous, self.lateral = normalised(inputs, channels), normalised(skip, channels)"]
    init.append("self.cell = Cell(channels)")
    forward = ["return functional.relu(self.cell(self.previous(x), self.lateral(skip)))"]
    told = "A cell, rectified, over what comes from coarser stages and a feature map of the encoder."
    arguments = ["inputs: int", "skip: int", "channels: int"]
    return class_text("CellStage", told, init, forward, ["x: Tensor", "skip: Tensor"], arguments)
