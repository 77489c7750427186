"""The exploration of RADARS: reinforcement on single paths, and options that are closed until mixtures fit."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from automl_plugins.measures.activations import activation_mib
from automl_plugins.measures.memory import StepMemory, estimate_step, of_training, readable
from automl_plugins.search.report import line
from automl_plugins.spaces.probe import probe_of
from automl_plugins.strategies.base import Strategy
from automl_plugins.strategies.step import SearchStep
from automl_plugins.strategies.unas import draw
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.relaxations import Relaxation, StraightThrough
from automl_plugins.supernets.searchable import Searchable

_LEARNING_RATE = 0.05
"""Of the policy: rewards are few, and its logits have to move within some epochs."""
_DECAY = 0.9
"""Of the baseline, an exponential mean of losses."""
_ENTROPY = 1e-3
_PASSES = ((2, True), (1, True), (1, False))
"""The fewest options of a gate, one of them with weights where there are two, and whether closing one has to save
activations. The later ones are for where nothing fits by those before; single options that save nothing by themselves
may save together."""
_EXAMPLES = 2
"""Graphs or images on which the memory of options is compared."""


class Option(NamedTuple):
    """An open option that may be closed.

    Args:
        searchable: its name.
        row: of its gate.
        column: of the option.
        probability: after the policy.
    """

    searchable: str
    row: int
    column: int
    probability: float


class Needed(NamedTuple):
    """Bytes of a search.

    Args:
        total: weights, optimizers and a step.
        step: the step alone.
    """

    total: float
    step: float


class Exploration(Strategy):
    """Single paths are trained and rewarded, and options are closed until a mixture of those that are left fits.

    The policy learns by REINFORCE, with the negative loss on search data as reward and a running mean as baseline. At
    the end of each epoch the bound is nearer, from what a step of the whole mixture takes to `memory_limit`: of the
    least probable option of each gate that takes memory the one that takes most is closed, until a step of the
    mixture, measured anew, is within it. A gate keeps two options, one of them with weights, as long as that is enough.

    Args:
        memory_limit: in bytes.
        epochs: of the exploration.
        mixture: the strategy whose mixtures are to fit.

    Raises:
        ValueError: (in a fit) no mixture within the limit is left.
    """

    def __init__(self, memory_limit: int, epochs: int, mixture: Strategy) -> None:
        super().__init__()
        self.memory_limit, self.epochs, self.mixture = memory_limit, epochs, mixture
        self._forget()

    def _forget(self) -> None:
        self._baseline: float | None = None
        self._whole = 0.0
        self._largest = 0.0

    def relaxation(self) -> Relaxation:
        return StraightThrough()

    def single_path(self, progress: float) -> bool:
        return True

    def optimizer(
        self, logits: Sequence[nn.Parameter], learning_rate: float, weight_decay: float, betas: tuple[float, float]
    ) -> torch.optim.Optimizer:
        return torch.optim.Adam(logits, lr=_LEARNING_RATE, betas=betas)

    def begin(self, step: SearchStep) -> None:
        self._forget()

    def architecture_loss(self, step: SearchStep) -> Tensor:
        size = probe_of(_first(step).task).size(step.training_batch)
        self._largest = max(self._largest, step.average(float(size)))
        samples = {name: draw(each, 1.0, step.generator) for name, each in step.searchables.items()}
        with torch.no_grad():
            found = step.loss_of({name: sample.hard for name, sample in samples.items()}, step.search_batch)
        cost = step.average(float(found))
        baseline = cost if self._baseline is None else self._baseline
        self._baseline = _DECAY * baseline + (1 - _DECAY) * cost
        log_probability = torch.stack([sample.log_probability for sample in samples.values()]).sum()
        entropy = torch.stack([_entropy(each) for each in step.searchables.values()]).sum()
        return (cost - baseline) * log_probability - _ENTROPY * entropy

    def weight_gates(self, searchable: Searchable, step: SearchStep) -> Gates:
        return draw(searchable, 1.0, step.generator).hard

    def end_epoch(self, step: SearchStep) -> None:
        needed = self._needed(step)
        self._whole = self._whole or needed.total
        done = min((step.epoch + 1) / self.epochs, 1.0)
        bound = self._whole + done * (self.memory_limit - self._whole)
        closed = 0
        while needed.total > bound:
            closed += self._close(step, needed.total - bound, needed)
            needed = self._needed(step)
        line(
            f"radars: a step of mixtures takes {readable(needed.total)} of {readable(self.memory_limit)}"
            + (f", after {closed} option(s) were closed" if closed else "")
        )

    def state_dict(self) -> dict[str, Any]:
        return {"baseline": self._baseline, "whole": self._whole, "largest": self._largest}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._baseline, self._whole, self._largest = state["baseline"], state["whole"], state["largest"]

    # Memory.

    def _needed(self, step: SearchStep) -> Needed:
        """The bytes of a step of the mixtures, on the largest batch that was seen."""
        mixtures = {name: self._mixture(each) for name, each in step.searchables.items()}
        weights = [weight for weight in step.module.parameters() if weight.requires_grad]
        leaves = {name: each.matrix.requires_grad_() for name, each in mixtures.items()}

        def of(variables: Sequence[Tensor], batch: Any) -> None:
            torch.autograd.grad(step.loss_of(mixtures, batch), variables, allow_unused=True)

        batch, probe = step.search_batch, probe_of(_first(step).task)
        steps = [
            estimate_step(lambda piece: of(weights, piece), batch, probe),
            estimate_step(lambda piece: of(list(leaves.values()), piece), batch, probe),
        ]
        largest = max(steps, key=lambda each: each.total)
        scale = max(self._largest / max(probe.size(batch), 1), 1.0)
        # A batch of which no piece can be made counts as fixed, and grows nevertheless.
        fixed = largest.fixed if largest.of_batch else largest.fixed * scale
        scaled = StepMemory(round(fixed), round(largest.of_batch * scale))
        # Adam keeps two numbers for each logit, and their gradient is there, too.
        logits = sum(3 * each.logits.numel() * each.logits.element_size() for each in step.searchables.values())
        optimizers = step.module.trainer.optimizers
        total, beside = (
            of_training(each, step.module, optimizers).total + logits for each in (scaled, StepMemory(0, 0))
        )
        return Needed(step.average(float(total)), step.average(float(total - beside)))

    def _mixture(self, searchable: Searchable) -> Gates:
        relaxation = self.mixture.starting_relaxation()
        relaxation.group([[searchable.gates().row(name) for name in group] for group in searchable.space.gate_groups])
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            matrix = relaxation(searchable.logits, searchable.mask, generator)
        return Gates(searchable.choices, matrix.clone())

    def _close(self, step: SearchStep, excess: float, needed: Needed) -> int:
        """Close options that take about as many bytes as are too many, one at least; their number."""
        for floor, saves in _PASSES:
            savings = self._savings(step, floor, needed.step, saves)
            closed, saved = 0, 0.0
            while savings and saved < excess and (saves or not closed):
                option = max(_least_probable(savings), key=lambda each: (savings[each], -each.row, -each.column))
                saving = savings.pop(option)
                if _may_close(step.searchables[option.searchable], option, floor):
                    closed += _close(step.searchables[option.searchable], option)
                    saved += saving
            if closed:
                return closed
        raise ValueError(
            f"memory_limit={self.memory_limit} is {readable(self.memory_limit)}, and a step takes "
            f"{readable(needed.total)} with the fewest options; give a larger limit, a smaller batch, or fewer channels"
        )

    def _savings(self, step: SearchStep, floor: int, whole_step: float, saves: bool) -> dict[Option, float]:
        """The bytes that closing each option saves, by what few samples keep, as a share of what a step takes."""
        savings: dict[Option, float] = {}
        for name, searchable in step.searchables.items():
            # Apart: a pass moves running statistics, and may draw.
            other = copy.deepcopy(searchable)
            inputs = probe_of(searchable.task).example(_EXAMPLES, torch.Generator().manual_seed(0))
            inputs = tuple(each.to(other.logits.device) if isinstance(each, Tensor) else each for each in inputs)
            mixture, whole = self._mixture(searchable).matrix, 0.0
            for option in _options(name, searchable, floor):
                whole = whole or _memory(other, mixture, inputs)
                without = mixture.clone()
                without[option.row, option.column] = 0.0
                saved = step.average(1 - _memory(other, without, inputs) / max(whole, 1e-12))
                if saved > 0 or not saves:
                    savings[option] = max(saved, 0.0) * whole_step
        return savings


def _memory(searchable: Searchable, matrix: Tensor, inputs: Sequence[Any]) -> float:
    devices = [matrix.device] if matrix.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), searchable.hold(Gates(searchable.choices, matrix)):
        torch.manual_seed(0)
        return activation_mib(searchable, inputs)


def _first(step: SearchStep) -> Searchable:
    return next(iter(step.searchables.values()))


def _entropy(searchable: Searchable) -> Tensor:
    shares = searchable.relaxation.probabilities(searchable.logits, searchable.mask)
    return -torch.special.xlogy(shares, shares).sum()


def _options(name: str, searchable: Searchable, floor: int) -> Iterator[Option]:
    """The open options that may be closed, by their gates."""
    shares = searchable.probabilities().matrix
    for row in range(len(searchable.choices)):
        for column in searchable.mask[row].nonzero().flatten().tolist():
            option = Option(name, row, column, float(shares[row, column]))
            if _may_close(searchable, option, floor):
                yield option


def _may_close(searchable: Searchable, option: Option, floor: int) -> bool:
    left = [column for column in searchable.mask[option.row].nonzero().flatten().tolist() if column != option.column]
    if len(left) < floor:
        return False
    names, free = searchable.choices[option.row].options, searchable.space.parameter_free
    has_weights = [column for column in left if names[column] not in free and names[column] != "none"]
    return floor == 1 or bool(has_weights) or all(name in free for name in names)


def _least_probable(options: Mapping[Option, float]) -> list[Option]:
    """Of each gate the option with the smallest probability."""
    least: dict[tuple[str, int], Option] = {}
    for option in options:
        gate = option.searchable, option.row
        if gate not in least or option.probability < least[gate].probability:
            least[gate] = option
    return list(least.values())


def _close(searchable: Searchable, option: Option) -> int:
    choice = searchable.choices[option.row]
    with suppress(ValueError):  # no architecture would be left without it
        searchable.close(choice.name, choice.options[option.column])
        return 1
    return 0
