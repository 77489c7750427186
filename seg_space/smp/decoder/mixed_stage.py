"""One stage of a supernet of decoders: all that may be done at a stride, mixed by gates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins.spaces.choice import Value
from automl_plugins.supernets.gates import Gates
from seg_space.auto_deeplab.cell import IDENTITY, Step
from seg_space.auto_deeplab.joint_cell import JointCell
from seg_space.auto_deeplab.mixed_cell import Input, MixedCell
from seg_space.auto_deeplab.operations import BatchNorm
from seg_space.auto_deeplab.stem import rectified
from seg_space.smp.decoder.mixing import State, as_state, mixed, opened, product, total_of
from seg_space.smp.decoder.sizes import CELL, CONVOLUTIONS, NO_SKIP, PROJECTED_CHANNELS, StageOptions
from seg_space.smp.decoder.stage import brought, make_convolution, normalised

X, PROJECTED = "x", "projected"
"""Names of the parts that a first convolution reads: what comes from coarser stages, and a projected map."""


def map_part(stride: int) -> str:
    """The name of the part that is an encoder's map as it is."""
    return f"map{stride}"


class Parts(NamedTuple):
    """The input of a stage's first convolutions.

    Args:
        x: all parts, `[batch, channels, height, width]`.
        channels: of each part, by its name, in order.
    """

    x: Tensor
    channels: Mapping[str, int]


class FusedConvolution(nn.Module):
    """A stage's first convolution, with weights for each part that it may read.

    Convolutions to several numbers of filters share what is depthwise.

    Args:
        operation: one of `CONVOLUTIONS`.
        channels: of each part, by its name; the first channels are used of a part that is narrower.
        filters: that the output may have.
    """

    def __init__(self, operation: str, channels: Mapping[str, int], filters: Sequence[int]) -> None:
        super().__init__()
        self.convolution = CONVOLUTIONS[operation]
        self.depthwise, self.dense = nn.ModuleDict(), nn.ModuleDict()
        for name, each in channels.items() if self.convolution is not None else ():
            self.depthwise[name] = make_convolution(operation, each, 1)[0]
        for width in filters:
            # The last convolution of a network's: a dense one of 3x3, or the pointwise one of a separable one.
            convolutions = {name: make_convolution(operation, each, width)[-3] for name, each in channels.items()}
            self.dense[str(width)] = nn.ModuleDict(convolutions)
        self.norms = nn.ModuleDict({str(width): BatchNorm(width) for width in filters})

    def forward(self, parts: Parts, filters: Iterable[int]) -> dict[int, Tensor]:
        """The outputs, by their numbers of filters."""
        x = parts.x
        if self.convolution is not None:
            kernel, dilation, _ = self.convolution
            weight = _joined(self.depthwise, parts.channels, 0)
            x = functional.conv2d(x, weight, padding=dilation * (kernel // 2), dilation=dilation, groups=x.size(1))
        found = {}
        for width in filters:
            weight = _joined(self.dense[str(width)], parts.channels, 1)
            mapped = functional.conv2d(x, weight, padding=weight.size(-1) // 2)
            found[width] = functional.relu(self.norms[str(width)](mapped))
        return found

    def state_of(self, channels: Mapping[str, int], filters: int) -> dict[str, Tensor]:
        """The weights and statistics of a network's convolution that reads parts so wide, by its names."""
        weights = [] if self.convolution is None else [_joined(self.depthwise, channels, 0)]
        weights.append(_joined(self.dense[str(filters)], channels, 1))
        state = {f"{position}.weight": weight for position, weight in enumerate(weights)}
        norm = self.norms[str(filters)].state_dict()
        return state | {f"{len(weights)}.{name}": each for name, each in norm.items()}


def _joined(convolutions: nn.Module, channels: Mapping[str, int], dim: int) -> Tensor:
    """The weights of convolutions of parts so wide, side by side."""
    modules = cast(nn.ModuleDict, convolutions)
    weights = [cast(nn.Conv2d, modules[name]).weight.narrow(dim, 0, width) for name, width in channels.items()]
    return torch.cat(weights, dim=dim)


class MixedConvolution(nn.Module):
    """One convolution of a stage, to several numbers of filters, once or twice.

    Args:
        operation: one of `CONVOLUTIONS`.
        channels: see `FusedConvolution`.
        filters: that the output may have.
    """

    def __init__(self, operation: str, channels: Mapping[str, int], filters: Sequence[int]) -> None:
        super().__init__()
        self.first = FusedConvolution(operation, channels, filters)
        self.second = nn.ModuleDict({str(width): make_convolution(operation, width, width) for width in filters})

    def forward(self, parts: Parts, filters: Iterable[int], layers: Mapping[Value, Tensor]) -> dict[int, Tensor]:
        """The outputs, by their numbers of filters."""
        found = {}
        for width, x in self.first(parts, filters).items():
            runs = [(layers[1], x)] if 1 in layers else []
            if 2 in layers:
                runs.append((layers[2], self.second[str(width)](x)))
            found[width] = total_of(runs)
        return found

    def state_of(self, channels: Mapping[str, int], filters: int, layers: int) -> dict[str, Tensor]:
        """The weights and statistics of a network's stage, by its names."""
        state = {f"0.{name}": each for name, each in self.first.state_of(channels, filters).items()}
        second = self.second[str(filters)].state_dict() if layers > 1 else {}
        return state | {f"1.{name}": each for name, each in second.items()}


class MixedCellStage(nn.Module):
    """A cell of one number of filters, over what comes from coarser stages and a map of the encoder.

    Args:
        blocks: of the cell.
        in_channels: of what comes from coarser stages, at its widest.
        maps: channels of the encoder's maps that may be read, by their strides.
        filters: of the output.
        joint: whether the cell is computed jointly.
        partial_channels: its operations run on one channel in so many.
    """

    def __init__(
        self,
        blocks: int,
        in_channels: int,
        maps: Mapping[int, int],
        filters: int,
        joint: bool,
        partial_channels: int,
    ) -> None:
        super().__init__()
        channels = filters // blocks
        self.previous = normalised(in_channels, channels)
        self.laterals = nn.ModuleDict({str(stride): normalised(each, channels) for stride, each in maps.items()})
        self.laterals[NO_SKIP] = normalised(in_channels, channels)
        self.cell = (JointCell if joint else MixedCell)(blocks, channels, 1, partial_channels)

    def forward(self, x: Tensor, skips: Sequence[Skip], gates: Gates, without: Tensor | None) -> Tensor:
        """The output, `[batch, filters, height, width]`.

        Args:
            x: what comes from coarser stages.
            skips: the encoder's maps that are open.
            gates: of all choices.
            without: the weight of reading no map; None: it is closed.
        """
        read = [(skip.gate, self.laterals[str(skip.stride)](skip.features)) for skip in skips]
        if without is not None:
            read.append((without, _narrow(self.laterals[NO_SKIP], x)))
        outputs: Tensor = self.cell(_narrow(self.previous, x), [Input(total_of(read), 0, None)], gates)
        return functional.relu(outputs)

    def state_of(self, in_channels: int, skip: int | None, steps: Sequence[Step]) -> dict[str, Tensor]:
        """The weights and statistics of a network's stage, by its names; a cell's normalisations have no weights."""
        lateral = self.laterals[NO_SKIP if skip is None else str(skip)].state_dict()
        if skip is None:
            lateral["0.weight"] = lateral["0.weight"][:, :in_channels]
        previous = self.previous.state_dict()
        previous["0.weight"] = previous["0.weight"][:, :in_channels]
        state = {f"previous.{name}": each for name, each in previous.items()}
        state |= {f"lateral.{name}": each for name, each in lateral.items()}
        for step in steps:
            of_step = self.cell.state_of(step, 0)
            state |= {f"cell.operations.{step.key}.{name}": each for name, each in of_step.items()}
        return state


def _narrow(module: nn.Module, x: Tensor) -> Tensor:
    """A 1x1 convolution and its normalisation of the first channels."""
    convolution, norm = cast(nn.Sequential, module)
    return cast(Tensor, norm(functional.conv2d(x, cast(Tensor, convolution.weight)[:, : x.size(1)])))


class Skip(NamedTuple):
    """One of the encoder's maps, at a stage's stride.

    Args:
        stride: that it has in the encoder, without dilation.
        gate: of reading it.
        features: `[batch, channels, height, width]`.
    """

    stride: int
    gate: Tensor
    features: Tensor


class MixedStage(nn.Module):
    """All that may be done at one stride; an option whose gate is zero is not run.

    Each operation has weights of its own for each number of filters. Of what comes from coarser stages, which is of
    different widths, the first channels are read.

    Args:
        stride: of the stage.
        options: of its choices, by the last part of their names.
        in_channels: of what comes from coarser stages, at its widest.
        maps: channels of the encoder's maps that may be read, by their strides.
        blocks: of the cell.
        joint: whether cells are computed jointly.
        partial_channels: operations of cells run on one channel in so many.
    """

    def __init__(
        self,
        stride: int,
        options: Mapping[str, Sequence[object]],
        in_channels: int,
        maps: Mapping[int, int],
        blocks: int,
        joint: bool,
        partial_channels: int = 1,
    ) -> None:
        super().__init__()
        self.stride, self.maps, self.prefix = stride, dict(maps), f"stride{stride}."
        operations = [str(each) for each in options["operation"]]
        filters = [cast(int, each) for each in options.get("filters", ())]
        convolutions = [each for each in operations if each in CONVOLUTIONS]
        self.laterals = nn.ModuleDict({str(each): nn.Conv2d(width, in_channels, 1) for each, width in maps.items()})
        self.projections = nn.ModuleDict()
        channels = {X: in_channels}
        if convolutions:
            self.projections.update({str(each): rectified(width, PROJECTED_CHANNELS) for each, width in maps.items()})
            channels |= {PROJECTED: PROJECTED_CHANNELS} if maps else {}
            channels |= {map_part(each): width for each, width in maps.items()}
        self.convolutions = nn.ModuleDict({each: MixedConvolution(each, channels, filters) for each in convolutions})
        self.cells = nn.ModuleDict(
            {
                str(width): MixedCellStage(blocks, in_channels, maps, width, joint, partial_channels)
                for width in (filters if CELL in operations else ())
            }
        )

    def forward(self, state: State, maps: Mapping[int, Tensor], gates: Gates) -> State:
        """The stage's output.

        Args:
            state: what comes from coarser stages, at this stride.
            maps: of the encoder, by their strides.
            gates: of all choices.
        """
        choices = {each: dict(opened(gates, self.prefix + each)) for each in _CHOICES}
        operations, filters = choices["operation"], {cast(int, each): gate for each, gate in choices["filters"].items()}
        skips = self._skips(maps, gates, choices["skip"])
        is_summed = IDENTITY in operations or "sum" in choices["fusion"]
        total = self._total(state, skips) if skips and is_summed else None
        fused: Parts | None = None
        parts: list[tuple[Tensor | None, State]] = []
        for operation, gate in operations.items():
            if operation == IDENTITY:
                parts.append((gate, State(state.features if total is None else state.features + total, state.share)))
                continue
            if operation == CELL:
                without = choices["skip"].get(NO_SKIP)
                outputs = {width: self.cells[str(width)](state.features, skips, gates, without) for width in filters}
            else:
                fused = fused or self._fused(state, total, skips, choices["fusion"])
                outputs = self.convolutions[str(operation)](fused, filters, choices["layers"])
            parts += [(product((gate, filters[width])), as_state(x)) for width, x in outputs.items()]
        return mixed(parts)

    def _skips(self, maps: Mapping[int, Tensor], gates: Gates, choices: Mapping[Value, Tensor]) -> list[Skip]:
        found = []
        for stride, gate in choices.items():
            if stride != NO_SKIP:
                coarser = cast(int, stride)
                modes = dict(opened(gates, "upsampling")) if coarser > self.stride else {"nearest": None}
                x = total_of(
                    (weight, brought(maps[coarser], coarser, self.stride, str(mode))) for mode, weight in modes.items()
                )
                found.append(Skip(coarser, gate, x))
        return found

    def _total(self, state: State, skips: Sequence[Skip]) -> Tensor:
        """The sum of the encoder's maps, in the channels of what comes from coarser stages."""
        width = state.features.size(1)
        laterals = total_of((skip.gate, self._lateral(skip.stride, width)(skip.features)) for skip in skips)
        return state.share.view(-1, 1, 1) * laterals

    def _lateral(self, stride: int, width: int) -> Lateral:
        module = cast(nn.Conv2d, self.laterals[str(stride)])
        return Lateral(module.weight[:width], cast(Tensor, module.bias)[:width])

    def _fused(
        self, state: State, total: Tensor | None, skips: Sequence[Skip], fusions: Mapping[Value, Tensor]
    ) -> Parts:
        x = state.features
        if total is not None and "sum" in fusions:
            x = x + fusions["sum"] * total
        parts = {X: x}
        if skips and PROJECTED in fusions:
            projected = total_of((skip.gate, self.projections[str(skip.stride)](skip.features)) for skip in skips)
            parts[PROJECTED] = fusions[PROJECTED] * projected
        if "concat" in fusions:
            parts |= {map_part(skip.stride): fusions["concat"] * skip.gate * skip.features for skip in skips}
        channels = {name: each.size(1) for name, each in parts.items()}
        return Parts(torch.cat(list(parts.values()), dim=1) if len(parts) > 1 else x, channels)

    def inherit(self, stage: nn.Module, options: StageOptions, in_channels: int, steps: Sequence[Step]) -> None:
        """Copy what a network's stage uses into it.

        Args:
            stage: of the network.
            options: of it.
            in_channels: of what it reads from coarser stages.
            steps: of the cell.
        """
        state: dict[str, Tensor] = {}
        if options.operation == CELL:
            cell = cast(MixedCellStage, self.cells[str(options.filters)])
            of_cell = cell.state_of(in_channels, options.skip, steps)
            state = {f"operation.{name}": each for name, each in of_cell.items()}
        elif options.operation != IDENTITY:
            convolution = cast(MixedConvolution, self.convolutions[options.operation])
            parts = self._parts(options, in_channels)
            of_convolution = convolution.state_of(parts, options.filters, options.layers)
            state = {f"operation.{name}": each for name, each in of_convolution.items()}
        if options.skip is not None and options.operation != CELL:
            if options.operation == IDENTITY or options.fusion == "sum":
                lateral = self._lateral(options.skip, in_channels)
                state |= {"lateral.weight": lateral.weight, "lateral.bias": lateral.bias}
            elif options.fusion == PROJECTED:
                projection = self.projections[str(options.skip)].state_dict()
                state |= {f"lateral.{name}": each for name, each in projection.items()}
        stage.load_state_dict(state, strict=options.operation != CELL)

    def _parts(self, options: StageOptions, in_channels: int) -> dict[str, int]:
        parts = {X: in_channels}
        if options.skip is not None and options.fusion == PROJECTED:
            parts[PROJECTED] = PROJECTED_CHANNELS
        if options.skip is not None and options.fusion == "concat":
            parts[map_part(options.skip)] = self.maps[options.skip]
        return parts


_CHOICES = ("skip", "operation", "fusion", "layers", "filters")


class Lateral(NamedTuple):
    """A 1x1 convolution to the first channels.

    Args:
        weight: `[channels, map_channels, 1, 1]`.
        bias: `[channels]`.
    """

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight, self.bias)
