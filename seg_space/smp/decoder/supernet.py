"""The supernet of `SmpDecoderSpace`: an encoder that is run once, and all decoders over its maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice
from automl_plugins.spaces.task import Task
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.supernet import Supernet
from seg_space.auto_deeplab.cell import IDENTITY
from seg_space.smp.decoder.context import AtrousPyramid
from seg_space.smp.decoder.head import doublings
from seg_space.smp.decoder.mixed_head import MixedHeads, Visited
from seg_space.smp.decoder.mixed_stage import MixedStage
from seg_space.smp.decoder.mixing import State, as_state, mixed, opened, product
from seg_space.smp.decoder.network import SmpDecoderNetwork, initialise
from seg_space.smp.decoder.shared_encoder import SharedEncoder
from seg_space.smp.decoder.sizes import LAST_MAP, NO_SKIP, RATES, EncoderSizes
from seg_space.smp.decoder.stage import upsampled
from seg_space.smp.network import padded


class SmpDecoderSupernet(Supernet):
    """All decoders of a `SmpDecoderSpace`; inputs and outputs as those of `SmpDecoderNetwork`.

    **What is shared.** The encoder, by all; where its last map may have two strides, both forms share weights, and
    all but the dilated stages is one module of both (`SharedEncoder`). A stage may read a map of any width: weights
    read its first channels. Each stage, operation and number of filters has weights of its own, but for what is
    depthwise; and so has each place that the head may read last. Pyramids of all rates share theirs.

    **What soft gates compute.** A stage reads the mixture of all coarser ones, each by the weight of its being the last
    that was visited before; maps of the encoder are mixed where they are fused. Outputs are mixed over the stages that
    may be the finest.

    **What is not run.** Options with a gate of zero, and stages that are not visited. The encoder is run once a step;
    of its stages that are dilated, which compute another map with each stride, once for each open stride of the last
    map. No map is kept from step to step, not even of a frozen encoder: datamodules augment images at random.

    Args:
        choices: of the space's gates.
        task: what the networks must fit.
        sizes: the encoder.
        blocks: of the cell.
        joint: compute cells jointly.
        partial_channels: operations of cells run on one channel in so many (PC-DARTS); nothing could pass by the other
            operations of a stage, which change the number of channels.
    """

    def __init__(
        self,
        choices: Sequence[Choice],
        task: Task,
        sizes: EncoderSizes,
        blocks: int,
        joint: bool = True,
        partial_channels: int = 1,
    ) -> None:
        super().__init__()
        self.partial_channels = partial_channels
        self.choices, self.task, self.sizes, self.blocks = tuple(choices), task, sizes, blocks
        options = {choice.name: choice.options for choice in choices}
        self.encoder_strides = cast("tuple[int, ...]", options["encoder_stride"])
        self.strides = tuple(
            int(name[len("stride") : -len(".visited")]) for name in options if name.endswith(".visited")
        )
        self.encoder = SharedEncoder(sizes, task.in_channels, self.encoder_strides)
        last = sizes.map_channels(LAST_MAP)
        widths = [cast(int, each) for each in options["context.filters"]]
        self.linear = nn.ModuleDict({str(width): nn.Conv2d(last, width, 1) for width in widths})
        self.pyramids = nn.ModuleDict({str(width): AtrousPyramid(last, width, RATES[0]) for width in widths})
        channels = {f"start{stride}": max(last, *widths) for stride in self.encoder_strides}
        places = {f"start{stride}": stride for stride in self.encoder_strides}
        self.stages = nn.ModuleDict()
        for stride in self.strides:
            own = {
                name.rpartition(".")[2]: each for name, each in options.items() if name.startswith(f"stride{stride}.")
            }
            maps = {cast(int, each): sizes.map_channels(cast(int, each)) for each in own["skip"] if each != NO_SKIP}
            widest = max(channels.values())
            self.stages[str(stride)] = MixedStage(stride, own, widest, maps, blocks, joint, partial_channels)
            filters = [cast(int, each) for each in own.get("filters", ())]
            # An identity is as wide as what it reads.
            channels[f"stride{stride}"] = max(*filters, widest) if IDENTITY in own["operation"] else max(filters)
            places[f"stride{stride}"] = stride
        self.heads = MixedHeads(channels, places, options, task.out_channels)
        initialise(self)

    def forward(self, images: Tensor, *, gates: Mapping[str, Tensor]) -> Tensor:
        gates = Gates.of(self.choices, gates)
        visited: list[Visited] = []
        maps: dict[int, Tensor] = {}
        enlarged = padded(images, LAST_MAP, 2 * LAST_MAP)
        passed = product(self._passed(gates, self.strides))
        nothing = any(False not in dict(opened(gates, f"stride{stride}.visited")) for stride in self.strides)
        open_strides = dict(opened(gates, "encoder_stride"))
        for stride, found in self.encoder(enlarged, open_strides).items():
            gate = open_strides[stride]
            # The other maps are the same with both strides.
            maps = maps or found
            ends = None if nothing else product((gate, passed))
            state = self._context(found[LAST_MAP], gates)
            visited.append(Visited(f"start{stride}", stride, gate, ends, state))
        for position, stride in enumerate(self.strides):
            is_visited = dict(opened(gates, f"stride{stride}.visited"))
            if True not in is_visited:
                continue
            state = self.stages[str(stride)](self._incoming(visited, stride, gates), maps, gates)
            finer = self.strides[position + 1 :]
            ends = None
            if all(False in dict(opened(gates, f"stride{each}.visited")) for each in finer):
                ends = product((is_visited[True], *self._passed(gates, finer)))
            visited.append(Visited(f"stride{stride}", stride, is_visited[True], ends, state))
        outputs: Tensor = self.heads(visited, gates)
        return outputs[..., : images.size(2), : images.size(3)]

    def _passed(self, gates: Gates, strides: Sequence[int]) -> list[Tensor]:
        """The weights of not visiting some strides."""
        return [gates[f"stride{stride}.visited"][0] for stride in strides]

    def _context(self, x: Tensor, gates: Gates) -> State:
        parts: list[tuple[Tensor | None, State]] = []
        for context, gate in opened(gates, "context"):
            if context == "none":
                parts.append((gate, as_state(x)))
                continue
            for width, share in opened(gates, "context.filters"):
                if context == "linear":
                    parts.append((gate * share, as_state(self.linear[str(width)](x))))
                    continue
                pyramid = cast(AtrousPyramid, self.pyramids[str(width)])
                for rates, weight in opened(gates, "context.rates"):
                    parts.append((gate * share * weight, as_state(pyramid.pool(x, str(rates)))))
        return mixed(parts)

    def _incoming(self, visited: Sequence[Visited], stride: int, gates: Gates) -> State:
        """The input of a stage: the mixture of the states of coarser ones that may be the last before it."""
        parts: list[tuple[Tensor | None, State]] = []
        for place in visited:
            between = [each for each in self.strides if each > stride and self._follows(each, place)]
            if any(False not in dict(opened(gates, f"stride{each}.visited")) for each in between):
                continue
            weight = product((place.weight, *self._passed(gates, between)))
            times = place.stride // stride
            modes = dict(opened(gates, "upsampling")) if times > 1 else {"nearest": None}
            for mode, gate in modes.items():
                larger = State(upsampled(place.state.features, times, str(mode)), place.state.share)
                parts.append((product((weight, gate)), larger))
        return mixed(parts)

    def _follows(self, stride: int, place: Visited) -> bool:
        return place.name.startswith("start") or stride < place.stride

    def plain(self) -> SmpDecoderSupernet:
        """The plain form, with copies of these weights, in the same training mode."""
        with torch.random.fork_rng(devices=[]):
            plain = SmpDecoderSupernet(self.choices, self.task, self.sizes, self.blocks, False, self.partial_channels)
        like = next(self.parameters())
        plain.to(device=like.device, dtype=like.dtype).load_state_dict(self.state_dict())
        return plain.train(self.training)

    def inherit(self, network: nn.Module, architecture: Architecture) -> None:
        network = cast(SmpDecoderNetwork, network)
        options = network.options
        network.encoder.load_state_dict(self.encoder.forms[str(options.encoder_stride)].state_dict())
        width = str(options.context_filters)
        if options.context != "none":
            context = (self.linear if options.context == "linear" else self.pyramids)[width]
            network.context.load_state_dict(context.state_dict())
        for stage, module, channels in zip(options.stages, network.stages, network.channels, strict=False):
            mixed_stage = cast(MixedStage, self.stages[str(stage.stride)])
            mixed_stage.inherit(module, stage, channels, options.steps)
        places = [f"start{options.encoder_stride}", *(f"stride{stage.stride}" for stage in options.stages)]
        if options.head == "last":
            self.heads.inherit_last(network.head, places[-1], options.head_kernel, network.channels[-1])
        else:
            counts = [doublings(stride, network.strides[-1]) for stride in network.strides]
            self.heads.inherit_pyramid(
                network.head, list(zip(places, network.channels, counts, strict=True)), options.head_filters
            )
