"""The user's training step as a function from a batch to a loss."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor

from automl_plugins.search.isolation import evaluating, isolated, shallow
from automl_plugins.search.learner import SkippedStep
from automl_plugins.system.randomness import seed_from


class UserStep:
    """The module's `architecture_loss`, or else its `training_step`, as the Trainer would run it.

    Args:
        trainer: the Trainer.
        module: the LightningModule.
        step: another function of a batch; None: one of those two.
    """

    def __init__(self, trainer: Any, module: Any, step: Callable[..., Any] | None = None) -> None:
        self.trainer, self.module = trainer, module
        # The module's own method, not DDP's wrapper: its hooks wait for gradients of the weights.
        self.step = step or getattr(module, "architecture_loss", module.training_step)
        self.takes_index = len(inspect.signature(self.step).parameters) > 1

    def loss(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a batch that is on the device.

        Raises:
            SkippedStep: the step gave none.
            TypeError: the step gave something else.
        """
        arguments = (shallow(batch), batch_idx) if self.takes_index else (shallow(batch),)
        with self.trainer.precision_plugin.train_step_context():
            output = self.step(*arguments)
        loss = output.get("loss") if isinstance(output, Mapping) else output
        if loss is None:
            raise SkippedStep
        if not isinstance(loss, Tensor):
            kind = type(loss).__name__
            raise TypeError(f"the loss of a step is a tensor, a dict with one as 'loss', or None; got a {kind}")
        return loss

    def on_device(self, batch: Any) -> Any:
        """A batch of a loader as Lightning hands it to a training step."""
        batch = self.trainer.precision_plugin.convert_input(batch)
        batch = self.module._on_before_batch_transfer(batch, dataloader_idx=0)
        return self.trainer.strategy.batch_to_device(batch, dataloader_idx=0)

    def isolated(self, *seeds: int) -> AbstractContextManager[None]:
        """Nothing that the step does to the project inside is seen outside; each rank draws noise of its own."""
        return isolated(self.trainer, self.module, seed_from(*seeds, self.trainer.global_rank))

    def evaluated(self, batch: Any, index: int, seed: int) -> float | None:
        """The loss of a batch of a loader on this rank, without dropout; None: the step gave none.

        Args:
            batch: as the loader gives it.
            index: what the step is told that it is.
            seed: what the step draws is a function of it, the index and the rank.
        """
        with self.isolated(seed, index), evaluating(self.module):
            try:
                return float(self.loss(self.on_device(batch), index))
            except SkippedStep:
                return None
