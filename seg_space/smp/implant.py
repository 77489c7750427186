"""Cells on the skip connections of a trained model of smp (Benedykciuk et al. 2024, arXiv 2405.03420)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.calls import CallReader
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.spaces.operation import Operation
from automl_plugins.spaces.task import Level, Task
from automl_plugins.supernets import rules
from automl_plugins.supernets.gates import Closed, Gates
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.supernets.supernet import Supernet
from seg_space.auto_deeplab.cell import IDENTITY, NONE, POOLS, Step
from seg_space.auto_deeplab.cell_choices import CellChoices
from seg_space.auto_deeplab.joint_cell import JointCell
from seg_space.auto_deeplab.layout import cell_steps
from seg_space.auto_deeplab.mixed_cell import Input, MixedCell
from seg_space.auto_deeplab.network import Cell
from seg_space.auto_deeplab.operations import interpolate
from seg_space.calls import ImageReader
from seg_space.smp.decoder.encoder import evaluated, with_frozen_norms
from seg_space.smp.decoder.stage import normalised
from seg_space.smp.network import SmpNetwork

SKIPS = "skips"
"""The choice of the skip connections that have a cell."""


class Implant(nn.Module):
    """A cell beside a skip connection: its output is added to the map, and is zero before the first step of training.

    Args:
        channels: of the encoder's map.
        coarser_channels: of its next coarser map.
        cell: of the states' channels.
        width: of what the cell gives.
        state_channels: of each of its states.
    """

    def __init__(self, channels: int, coarser_channels: int, cell: nn.Module, width: int, state_channels: int) -> None:
        super().__init__()
        self.own = normalised(channels, state_channels)
        self.coarser = normalised(coarser_channels, state_channels)
        self.cell = cell
        self.output = nn.Conv2d(width, channels, 1)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(cast(Tensor, self.output.bias))

    def states(self, x: Tensor, coarser: Tensor) -> tuple[Tensor, Tensor]:
        """The two states that the cell begins with: the map, and the coarser one at its size."""
        size = (x.size(2), x.size(3))
        return self.own(x), interpolate(self.coarser(coarser), size)

    def forward(self, x: Tensor, coarser: Tensor) -> Tensor:
        return self.added(x, self.cell(*self.states(x, coarser)))

    def added(self, x: Tensor, of_cell: Tensor, gate: Tensor | None = None) -> Tensor:
        """The map and what a cell gives, times its gate."""
        change: Tensor = self.output(functional.relu(of_cell))
        return x + (change if gate is None else gate * change)


class _Implanted:
    """The parts that a network and a supernet of implants have in common: a trained network, run in three steps."""

    base: SmpNetwork
    frozen: bool

    def run(self, images: Tensor, implant: Callable[[Sequence[Tensor]], list[Tensor]]) -> Tensor:
        """The network's outputs, with its encoder's maps changed by a function of them."""
        parts: Any = self.base.model
        if self.frozen:
            with evaluated(self.base):
                with torch.no_grad():
                    maps = parts.encoder(self.base.prepared(images))
                outputs = parts.segmentation_head(parts.decoder(implant(maps)))
        else:
            outputs = parts.segmentation_head(parts.decoder(implant(parts.encoder(self.base.prepared(images)))))
        return cast(Tensor, outputs)[..., : images.size(2), : images.size(3)]


class ImplantNetwork(_Implanted, nn.Module):
    """A model of smp with cells on some of its skip connections.

    Args:
        base: a trained network around a model of smp; it is taken over.
        levels: of the encoder's maps that have a cell, from 1 for the stride 2.
        steps: of the cell.
        state_channels: of each of its states.
        frozen: whether the model is trained no further.

    Shapes:
        images `[batch, in_channels, height, width]` of any size; outputs `[batch, out_channels, height, width]`.
    """

    def __init__(
        self, base: SmpNetwork, levels: Sequence[int], steps: Sequence[Step], state_channels: int, frozen: bool
    ) -> None:
        super().__init__()
        self.base, self.frozen = base, frozen
        self.implants = nn.ModuleDict()
        channels = _channels(base)
        for level in levels:
            width = state_channels * (len(steps) // 2)
            cell = Cell(steps, state_channels)
            self.implants[str(level)] = Implant(channels[level], channels[level + 1], cell, width, state_channels)

    def forward(self, images: Tensor) -> Tensor:
        return self.run(images, self._implant)

    def _implant(self, maps: Sequence[Tensor]) -> list[Tensor]:
        changed = list(maps)
        for level, implant in self.implants.items():
            changed[int(level)] = implant(maps[int(level)], maps[int(level) + 1])
        return changed


class ImplantSupernet(_Implanted, Supernet):
    """All cells on all skip connections of a model; inputs and outputs as those of `ImplantNetwork`.

    Args:
        base: a trained network around a model of smp; it is taken over.
        choices: of the space's gates.
        blocks: of the cell.
        state_channels: of each of its states.
        frozen: whether the model is trained no further.
        joint: compute cells jointly.
    """

    def __init__(
        self,
        base: SmpNetwork,
        choices: Sequence[Choice],
        blocks: int,
        state_channels: int,
        frozen: bool,
        joint: bool = True,
    ) -> None:
        super().__init__()
        self.base, self.frozen, self.choices = base, frozen, tuple(choices)
        self.blocks, self.state_channels = blocks, state_channels
        self.implants = nn.ModuleDict()
        channels = _channels(base)
        for level in split_levels(choices[0].options[-1]):
            cell = (JointCell if joint else MixedCell)(blocks, state_channels, 1)
            width = blocks * state_channels
            self.implants[str(level)] = Implant(channels[level], channels[level + 1], cell, width, state_channels)

    def forward(self, images: Tensor, *, gates: Mapping[str, Tensor]) -> Tensor:
        gates = Gates.of(self.choices, gates)

        weights = self._weights(gates)

        def implanted(maps: Sequence[Tensor]) -> list[Tensor]:
            changed = list(maps)
            for level, weight in weights.items():
                implant = cast(Implant, self.implants[str(level)])
                own, coarser = implant.states(maps[level], maps[level + 1])
                of_cell = implant.cell(own, [Input(coarser, 0, None)], gates)
                changed[level] = implant.added(maps[level], of_cell, weight)
            return changed

        return self.run(images, implanted)

    def _weights(self, gates: Gates) -> dict[int, Tensor]:
        """For each level that has a cell in an open option, the sum of the weights of such options."""
        weights: dict[int, Tensor] = {}
        for position in gates.open(SKIPS):
            for level in split_levels(self.choices[0].options[position]):
                weight = gates[SKIPS][position]
                weights[level] = weights[level] + weight if level in weights else weight
        return weights

    def plain(self) -> ImplantSupernet:
        """The plain form, with copies of these weights, in the same training mode."""
        with torch.random.fork_rng(devices=[]):
            plain = ImplantSupernet(
                copy.deepcopy(self.base), self.choices, self.blocks, self.state_channels, self.frozen, joint=False
            )
        like = next(self.parameters())
        plain.to(device=like.device, dtype=like.dtype).load_state_dict(self.state_dict())
        return plain.train(self.training)

    def inherit(self, network: nn.Module, architecture: Architecture) -> None:
        network = cast(ImplantNetwork, network)
        network.base.load_state_dict(self.base.state_dict())
        for level, each in network.implants.items():
            implant, mixed = cast(Implant, each), cast(Implant, self.implants[level])
            for part in ("own", "coarser", "output"):
                implant.get_submodule(part).load_state_dict(mixed.get_submodule(part).state_dict())
            cell = cast(Cell, implant.cell)
            for step in cell.steps:
                # The supernet lacks the weights of normalisations, which start as ones and zeros.
                state = cast(MixedCell, mixed.cell).state_of(step, 0)
                cell.operations[step.key].load_state_dict(state, strict=False)


class ImplantSpace(SupernetSpace):
    """Cells on the skip connections of one trained model of smp, the rest of it frozen or not.

    After Implantable Adaptive Cells (Benedykciuk, Denkowski and Wójcik 2024, arXiv 2405.03420), which are searched by
    PC-DARTS for a trained U-Net and trained while it stays as it is. A cell is one of Auto-DeepLab, the same on all
    skip connections that have one (`skips`, by their strides), with weights of its own on each; it reads the encoder's
    map and the next coarser one. Ours: its output is added to the map by a 1x1 convolution that begins as zero, so that
    before training every network, and the supernet, computes exactly what the model does.

    Args:
        model: of smp, trained, with at least one skip connection, or an `SmpNetwork` around one; networks have copies.
        frozen: leave its weights and batch statistics as they are, and drop nothing in it.
        blocks: of the cell.
        state_channels: of each of the cell's states.
        max_parameters: networks with more trainable parameters are refused before they are built.

    Raises:
        ValueError: a number out of range, or a model whose decoder reads no map beside the last one.
    """

    name: ClassVar[str] = "smp-implant"
    version: ClassVar[int] = 1
    levels: ClassVar[frozenset[Level]] = frozenset(("pixel",))
    call_reader: ClassVar[CallReader | None] = ImageReader()
    exported_input: ClassVar[str | None] = "images"
    parameter_free: ClassVar[frozenset[Value]] = frozenset((NONE, IDENTITY, *POOLS))
    identities: ClassVar[frozenset[Value]] = frozenset((IDENTITY,))

    def __init__(
        self,
        model: nn.Module,
        frozen: bool = True,
        blocks: int = 2,
        state_channels: int = 16,
        max_parameters: int | None = None,
    ) -> None:
        for argument, number in (("blocks", blocks), ("state_channels", state_channels)):
            if number < 1:
                raise ValueError(f"{argument} is at least 1; got {number}")
        self.model: nn.Module | dict[str, Any] = model
        self.frozen, self.blocks, self.state_channels = frozen, blocks, state_channels
        self._base = model if isinstance(model, SmpNetwork) else _network_of(model)
        self.cell = CellChoices(blocks)
        if frozen:
            self._base = copy.deepcopy(self._base)
            self._base.model = with_frozen_norms(self._base.model).requires_grad_(False)
        self._gate_choices = (self._skips(), *self.cell.gate_choices)
        super().__init__([self._skips(), *self.cell.choices], max_parameters)

    def _skips(self) -> Choice:
        levels = skip_levels(self._base.model)
        chosen = [each for count in range(1, len(levels) + 1) for each in combinations(levels, count)]
        return Choice(SKIPS, tuple("+".join(str(2**level) for level in each) for each in chosen))

    def _copied(self, task: Task) -> SmpNetwork:
        base = copy.deepcopy(self._base)
        parts: Any = base.model
        has = (parts.encoder.out_channels[0], parts.segmentation_head[0].out_channels)
        if has != (task.in_channels, task.out_channels):
            raise ValueError(
                f"the model takes {has[0]} channels and gives {has[1]}; the task has {task.in_channels} and "
                f"{task.out_channels}"
            )
        return base.train().to(torch.get_default_device())

    def build(self, architecture: Architecture, task: Task) -> ImplantNetwork:
        levels, steps = split_levels(architecture[SKIPS]), cell_steps(architecture, self.blocks)
        return ImplantNetwork(self._copied(task), levels, steps, self.state_channels, self.frozen)

    def operations(self, architecture: Architecture) -> Sequence[Operation]:
        made = [Operation("images", "images"), Operation("encoder", "encoder of the model", ("images",))]
        ends = ["encoder"]
        steps = cell_steps(architecture, self.blocks)
        told = "; ".join(f"block {step.block}: {step.operation} of {step.source}" for step in steps)
        for level in split_levels(architecture[SKIPS]):
            made.append(Operation(f"stride{2**level}", f"cell ({told})", ("encoder",), tuple(architecture)))
            ends.append(made[-1].name)
        made.append(Operation("decoder", "decoder of the model", tuple(ends)))
        return [*made, Operation("output", "output", ("decoder",))]

    def build_supernet(self, task: Task) -> ImplantSupernet:
        return ImplantSupernet(self._copied(task), self.gate_choices, self.blocks, self.state_channels, self.frozen)

    @property
    def gate_choices(self) -> tuple[Choice, ...]:
        return self._gate_choices

    def gate_values(self, architecture: Architecture) -> Mapping[str, Value]:
        return {SKIPS: architecture[SKIPS], **self.cell.gate_values(architecture)}

    def open_options(self, choice: Choice, values: Mapping[str, Value], closed: Closed) -> Sequence[Value]:
        if choice in self.cell:
            return self.cell.open_options(choice, values, closed)
        return super().open_options(choice, values, closed)

    def decode(self, scores: Mapping[str, Tensor]) -> Architecture:
        """The architecture that scores stand for; that of an architecture's own gates is itself.

        Args:
            scores: for every gate, `[num_options]`; higher is better.
        """
        return self.architecture({**rules.argmax(self.gate_choices[:1], scores), **self.cell.decode(scores)})


def split_levels(option: Value) -> list[int]:
    """The levels of the encoder's maps of an option of skip connections (`2+8`), from 1 for the stride 2."""
    return [int(stride).bit_length() - 1 for stride in str(option).split("+")]


def _channels(base: SmpNetwork) -> list[int]:
    parts: Any = base.model
    channels: list[int] = parts.encoder.out_channels
    return channels


def _network_of(model: nn.Module) -> SmpNetwork:
    if not all(hasattr(model, part) for part in ("encoder", "decoder", "segmentation_head")):
        raise ValueError(f"a model of smp is needed, with encoder, decoder and head; got a {type(model).__name__}")
    return SmpNetwork(model)


def skip_levels(model: nn.Module) -> list[int]:
    """The levels of the encoder's maps that a model of smp reads beside the last one, from 1 for the stride 2.

    Raises:
        ValueError: there is none.
    """
    parts: Any = copy.deepcopy(model).eval()
    like = next(parts.parameters())
    channels = parts.encoder.out_channels
    side = 2 * int(parts.encoder.output_stride)
    with torch.no_grad():
        maps = parts.encoder(torch.zeros(1, channels[0], side, side, dtype=like.dtype, device=like.device))
    maps = [each.detach().requires_grad_() for each in maps]
    read = torch.autograd.grad(parts.decoder(maps).sum(), maps, allow_unused=True)
    found = [level for level in range(1, len(maps) - 1) if read[level] is not None and channels[level]]
    if not found:
        raise ValueError(f"{type(model).__name__} has no skip connection: its decoder reads the last map alone")
    return found
