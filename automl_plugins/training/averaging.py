"""Averaged weights: the mean of a training's last steps, with batch statistics of its own, which is what is judged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from automl_plugins.system.arguments import at_least
from automl_plugins.system.generators import held_generators, undisturbed
from automl_plugins.training.fingerprint import flat_loaders
from automl_plugins.training.fit import seeded
from automl_plugins.training.lightning import pl
from automl_plugins.training.recalibration import recalibrate
from automl_plugins.training.schedule import planned_steps


class AveragedWeights(pl.callbacks.WeightAveraging):
    """Stochastic weight averaging (Izmailov et al. 2018, arXiv 1803.05407) over the last part of a training's steps.

    Until then, validations and checkpoints have the weights as they are. From then on they have the mean of the weights
    after each step, and so has the module in the end. The running statistics of batch normalisation are no means, which
    would be right for no weights: before each validation they are measured anew on training batches (section 3.2,
    `recalibration.recalibrate`, which calls the module with a batch, or with the first part of one that is a tuple).
    Those that the last training step left alone stay (`norm.eval()`, as `fixed_statistics` and `frozen_epochs` of our
    modules have it). Several ranks end with the same statistics: of a datamodule, each measures them on the same
    batches; of a loader that Lightning has split among them, each on its share, and they are averaged. An exponential
    average is Lightning's own `EMAWeightAveraging`.

    In YAML it is one of the Trainer's callbacks:

    ```yaml
    trainer:
      max_epochs: 60
      callbacks: [{class_path: automl_plugins.training.averaging.AveragedWeights, init_args: {start: 0.5}}]
    ```

    Args:
        start: the part of the training's steps after which the mean begins, from 0 to 1 (without 1).
        batches: of the training data, that statistics are measured on.

    Raises:
        ValueError: a number out of range; (when a fit begins) the training has no known end, or the module holds a
            supernet, whose running statistics are those of all architectures.
    """

    def __init__(self, start: float = 0.75, batches: int = 50) -> None:
        super().__init__(use_buffers=False)
        if not 0 <= start < 1:
            raise ValueError(f"start is at least 0 and less than 1; got {start}")
        self.start = start
        self.batches = at_least("batches", batches, 1)
        self._first = 0.0
        self._measured_at = -1
        self._fixed: list[_BatchNorm] = []

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        supernets = [type(each).__name__ for each in pl_module.modules() if _keeps_statistics(each)]
        if supernets:
            raise ValueError(
                f"averaged weights are a network's; {supernets[0]} keeps running statistics for all of its options: "
                "leave AveragedWeights out of a search, and train what it finds with them"
            )
        super().setup(trainer, pl_module, stage)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        steps = planned_steps(trainer)
        if steps == math.inf:
            raise ValueError("averaged weights need a training with a known end: give trainer.max_epochs or max_steps")
        self._first = self.start * steps

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """True after the steps that count."""
        return step_idx is not None and step_idx >= self._first

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *others: Any) -> None:
        # In a validation all of them are in evaluation mode.
        self._fixed = [norm for norm in _norms(pl_module) if not norm.training]
        super().on_train_batch_end(trainer, pl_module, *others)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._follow(pl_module)
        super().on_validation_epoch_start(trainer, pl_module)
        if self._averages() and trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._measure(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._follow(pl_module)
        super().on_train_end(trainer, pl_module)
        if self._averages() and self._measured_at != trainer.global_step:
            self._measure(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._follow(pl_module)
        super().on_save_checkpoint(trainer, pl_module, checkpoint)

    def _averages(self) -> bool:
        """True once there is a mean."""
        return self._average_model is not None and int(self._average_model.n_averaged) > 0

    @torch.no_grad()
    def _follow(self, module: nn.Module) -> None:
        """Have what is to be averaged equal the weights as they are, as long as there is no mean."""
        if self._average_model is None or self._averages():
            return
        for mine, current in zip(_tensors(self._average_model.module), _tensors(module), strict=True):
            mine.copy_(current)

    def _measure(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        data: Any = getattr(trainer, "datamodule", None)
        hooks = module if data is None else data

        def handed_over(batch: Any) -> Any:
            batch = hooks.transfer_batch_to_device(hooks.on_before_batch_transfer(batch, 0), module.device, 0)
            return hooks.on_after_batch_transfer(batch, 0)

        # A loader of its own, so that the training's order of batches and its draws are what they would be without.
        with undisturbed(held_generators([data] if data is not None else [])), seeded(0):
            loader = trainer.train_dataloader if data is None else data.train_dataloader()
            batches = map(handed_over, islice(flat_loaders(loader)[0], self.batches))
            recalibrate(module, batches, fixed=self._fixed)
        if trainer.world_size > 1:
            for norm in _norms(module):
                for statistic in (norm.running_mean, norm.running_var):
                    if statistic is not None:
                        statistic.copy_(trainer.strategy.reduce(statistic.clone(), reduce_op="mean"))
        self._measured_at = trainer.global_step


def _tensors(module: nn.Module) -> Iterable[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _norms(module: nn.Module) -> Iterator[_BatchNorm]:
    return (part for part in module.modules() if isinstance(part, _BatchNorm))


def _keeps_statistics(module: nn.Module) -> bool:
    return bool(getattr(module, "keeps_running_statistics", False))
