"""The step of the weights where the strategy has a say in it: its loss, or whether it is taken."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from automl_plugins.search.learner import SkippedStep
from automl_plugins.search.user_step import UserStep
from automl_plugins.strategies import SearchStep, Strategy

_NAME = "training_step"


def has_a_say(strategy: Strategy) -> bool:
    """True where a strategy gives the weights' loss or leaves their steps out."""
    kind = type(strategy)
    return kind.weight_loss is not Strategy.weight_loss or kind.trains_weights is not Strategy.trains_weights


class WeightStep:
    """Puts the strategy's loss where Lightning calls the module's `training_step`, for one batch at a time.

    So it runs inside DDP's forward pass, under the Trainer's precision, and once for each accumulated batch.

    Args:
        strategy: whose loss it is; where it has no say, the module is left alone.
        trainer: the Trainer.
        module: the LightningModule.
    """

    def __init__(self, strategy: Strategy, trainer: Any, module: Any) -> None:
        self._strategy, self._trainer, self._module = strategy, trainer, module
        self._give_back: Callable[[], None] | None = None
        self._frozen = False

    def take_over(self, step: SearchStep, batch_idx: int) -> None:
        """Have the next `training_step` be this step's."""
        if not has_a_say(self._strategy):
            return
        attributes, own = vars(self._module), self._module.training_step
        before = attributes.get(_NAME)
        self._give_back = (lambda: attributes.update({_NAME: before})) if before else (lambda: attributes.pop(_NAME))
        self._frozen = not self._strategy.trains_weights(step.progress)

        @functools.wraps(own)
        def training_step(batch: Any, *others: Any) -> Any:
            if self._frozen:
                with torch.no_grad():  # what it logs and counts is seen as ever
                    output = own(batch, *others)
                return _without_gradient(output, self._module)
            user = UserStep(self._trainer, self._module, own)
            present = replace(step, training_batch=batch, loss=lambda each: user.loss(each, batch_idx))
            try:
                loss = self._strategy.weight_loss(present)
            except SkippedStep:
                return None
            if loss is None:
                return own(batch, *others)
            if not isinstance(loss, torch.Tensor) or not loss.requires_grad:
                raise TypeError(
                    f"weight_loss of {type(self._strategy).__name__} gives {loss!r}, which is no tensor with a "
                    "gradient; give a loss of `step`, or None for the user's own"
                )
            return loss

        attributes[_NAME] = training_step

    def give_back(self) -> None:
        """Have the module's `training_step` be its own."""
        if self._give_back is not None:
            self._give_back()
            self._give_back = None
        self._frozen = False

    def drop_gradients(self, optimizer: torch.optim.Optimizer) -> None:
        """Have the optimizer leave frozen weights alone: momentum and decay would move those with a gradient of 0."""
        if self._frozen:
            for group in optimizer.param_groups:
                for weight in group["params"]:
                    weight.grad = None


def _without_gradient(output: Any, module: nn.Module) -> Any:
    """The loss of a step, with a gradient of 0 for all weights, since DDP waits for one."""
    if output is None:
        return None
    pieces = [weight.flatten()[:1].sum() * 0 for weight in module.parameters() if weight.requires_grad]
    nothing = torch.stack(pieces).sum() if pieces else torch.zeros((), requires_grad=True)
    return {**output, "loss": output["loss"] + nothing} if isinstance(output, Mapping) else output + nothing
