"""SDARTS: weights are trained with gates beside those of the logits, so that the loss is flat around these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from automl_plugins.strategies.perturbations.base import Perturbation
from automl_plugins.strategies.schedules import linear
from automl_plugins.strategies.step import SearchStep
from automl_plugins.supernets.gates import Gates
from automl_plugins.system.arguments import at_least, positive


class SDARTSRandom(Perturbation):
    r"""SDARTS-RS (Chen and Hsieh 2020, arXiv 2002.05283, equation 5): uniform noise on the gates.

    A gate becomes :math:`p + \delta` with :math:`\delta \sim U(-\epsilon, \epsilon)`, clamped to [0, 1]; a row then
    has the sum that it had before. Closed options stay closed.

    Args:
        start: :math:`\epsilon` at first.
        end: in the end, reached linearly.

    Raises:
        ValueError: one is negative.
    """

    needs_end: ClassVar[bool] = True

    def __init__(self, start: float = 0.03, end: float = 0.3) -> None:
        self.start, self.end = positive("start", start, zero=True), positive("end", end, zero=True)

    def __call__(self, step: SearchStep, gates: Mapping[str, Gates]) -> Mapping[str, Gates]:
        size = linear(self.start, self.end, step.progress)
        return {name: projected(each, _noise(each, size, step.generator)) for name, each in gates.items()}


class SDARTSAdversarial(SDARTSRandom):
    r"""SDARTS-ADV (Chen and Hsieh 2020, equation 6): the gates within :math:`\epsilon` that raise the loss most.

    They are looked for by projected gradient ascent in the maximum norm on the training batch, from a random start; the
    gates are in [0, 1] after each of its steps, which are :math:`2.5 \epsilon / \text{steps}` long (Madry et al. 2018,
    section 5). A step of the weights then takes `steps` forward and backward passes more. Of an accumulated step it is
    the first batch; of several processes, each looks on its own.

    Args:
        start: see `SDARTSRandom`.
        end: see `SDARTSRandom`.
        steps: of the ascent.

    Raises:
        ValueError: a size is negative, or there is no step.
    """

    def __init__(self, start: float = 0.03, end: float = 0.3, steps: int = 7) -> None:
        super().__init__(start, end)
        self.steps = at_least("steps", steps, 1)

    def __call__(self, step: SearchStep, gates: Mapping[str, Gates]) -> Mapping[str, Gates]:
        size = linear(self.start, self.end, step.progress)
        deltas = {name: _noise(each, size, step.generator) for name, each in gates.items()}
        for _ in range(self.steps):
            asked = {name: each.requires_grad_() for name, each in deltas.items()}
            with torch.enable_grad():
                held = {name: projected(each, asked[name]) for name, each in gates.items()}
                loss = step.loss_of(held, step.training_batch)
            gradients = torch.autograd.grad(loss, list(asked.values()), allow_unused=True)
            deltas = {
                name: (delta.detach() + 2.5 * size / self.steps * _sign(gradient, delta)).clamp(-size, size)
                for (name, delta), gradient in zip(asked.items(), gradients, strict=True)
            }
        return {name: projected(each, deltas[name]) for name, each in gates.items()}


def projected(gates: Gates, delta: Tensor) -> Gates:
    """Gates with a change: clamped to [0, 1], with the sums of rows as they were, and zero where they were closed.

    Args:
        gates: soft ones.
        delta: `[num_choices, most_options]`.
    """
    matrix = gates.matrix
    moved = torch.where(matrix > 0, (matrix + delta).clamp(0, 1), 0.0)
    before, after = matrix.sum(dim=1, keepdim=True), moved.sum(dim=1, keepdim=True)
    # A row whose gates have all become zero stays as it was.
    scaled = torch.where(after > 0, moved * before / torch.where(after > 0, after, 1.0), matrix)
    return Gates(gates.choices, scaled)


def _noise(gates: Gates, size: float, generator: torch.Generator) -> Tensor:
    uniform = torch.rand(gates.matrix.shape, generator=generator, dtype=torch.float64)
    return ((2 * uniform - 1) * size).to(gates.matrix)


def _sign(gradient: Tensor | None, delta: Tensor) -> Tensor:
    return torch.zeros_like(delta) if gradient is None else gradient.sign()
