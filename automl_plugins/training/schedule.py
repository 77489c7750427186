"""The learning rate over a training: warm-up, and then down to zero at the end that the Trainer was given."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, get_args

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from automl_plugins.training.lightning import pl

if TYPE_CHECKING:
    from torch import Tensor

Shape = Literal["cosine", "poly", "constant"]

WARMUP = 0.05
"""The part of a training's steps in which the rate of `cosine` rises to the optimizer's own."""
POLY_POWER = 0.9
"""The rate of `poly` at step s of S is (1 - s / S) to this power of the first one (Chen et al. 2017, DeepLab, 4.1)."""


def factor(shape: Shape, step: int, steps: float) -> float:
    """The part of the optimizer's own learning rate that a step has.

    Args:
        shape: `cosine`: rises linearly in the first twentieth of the steps, then falls along half a cosine to zero
            (Loshchilov and Hutter 2017, arXiv 1608.03983, without restarts); `poly`: falls with the power 0.9, without
            warm-up, as published; `constant`: 1.
        step: optimizer steps that were taken before it.
        steps: of the whole training; inf: it has no known end, and the rate is constant.
    """
    if shape == "constant" or steps == math.inf:
        return 1.0
    if step >= steps:
        return 0.0
    if shape == "poly":
        return (1 - step / steps) ** POLY_POWER
    warmup = int(WARMUP * steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


class Schedule(LRScheduler):
    """A learning rate over a training whose end is told when it is known, and constant until then.

    The rate follows from the number of steps alone, so a training that is resumed has the rates that were due, and one
    that is resumed with another end those of a training with that end.

    Args:
        optimizer: with its learning rates.
        shape: see `factor`.

    Raises:
        ValueError: there is no such shape.
    """

    def __init__(self, optimizer: Optimizer, shape: Shape) -> None:
        self.shape = check_shape(shape)
        self.steps = math.inf
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """The learning rate of each group of parameters, for the next step."""
        part = factor(self.shape, self.last_epoch, self.steps)
        return [rate * part for rate in self.base_lrs]

    def end_at(self, steps: float) -> None:
        """Let the rate be zero after so many steps in all, from the next step on; inf: no end is known."""
        self.steps = steps
        rates = self.get_lr()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = rates

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint: with the steps that were taken, and with this training's own shape."""
        super().load_state_dict({**state_dict, "shape": self.shape})


def check_shape(shape: Shape) -> Shape:
    """The shape of a schedule.

    Raises:
        ValueError: there is no such shape.
    """
    if shape not in get_args(Shape):
        raise ValueError(f"schedule is {', '.join(get_args(Shape))}; got {shape!r}")
    return shape


def planned_steps(trainer: pl.Trainer) -> float:
    """Optimizer steps of a whole training, once its data are loaded; inf: it has no known end.

    An end is known from `max_epochs` or `max_steps`. A time limit alone gives none, nor does a stream of data of no
    known length, nor an accumulation of gradients that changes between epochs.
    """
    callbacks: list[pl.Callback] = getattr(trainer, "callbacks", [])
    if any(isinstance(each, pl.callbacks.GradientAccumulationScheduler) for each in callbacks):
        return math.inf  # Lightning's estimate has the first epoch's accumulation in all of them
    steps = trainer.estimated_stepping_batches
    return steps if steps > 0 else math.inf
