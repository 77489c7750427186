"""The predictions of one trained network, or of several: their mean, and how far they are spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from automl_plugins.spaces.task import Task
from automl_plugins.system.files import whole_file
from automl_plugins.training.lightning import pl
from automl_plugins.training.task_module import TaskModule


@dataclass(frozen=True)
class Prediction:
    """The predictions for a batch.

    Args:
        values: `[num_predictions, out_channels, ...]`: real values in the targets' units; of classes and labels their
            probabilities.
        spread: the standard deviation of `values` over the networks, of the same shape; None: there is one network.
        task: that they are of.
    """

    values: Tensor
    spread: Tensor | None
    task: Task

    @property
    def decided(self) -> Tensor:
        """The most probable class `[num_predictions, ...]`, or yes and no `[num_predictions, out_channels, ...]`.

        Raises:
            ValueError: these are real values.
        """
        if self.task.target == "regression":
            raise ValueError("real values are no classes and no labels")
        return self.values.argmax(dim=1) if self.task.target == "classes" else self.values > 0.5

    def __getitem__(self, index: int) -> Prediction:
        """The prediction of one input, `[1, out_channels, ...]`."""
        one = slice(index, index + 1)
        return Prediction(self.values[one], None if self.spread is None else self.spread[one], self.task)

    def save(self, path: Path, names: Sequence[str]) -> None:
        """Write it as npz: `values` (of classes and labels their probabilities), `spread` and `names`.

        Raises:
            WriteError: it cannot be written.
        """
        spread = {} if self.spread is None else {"spread": self.spread[0].numpy()}
        with whole_file(path) as file:
            np.savez(
                file, allow_pickle=False, values=self.values[0].numpy(), names=np.array(names, dtype=str), **spread
            )


class Predictor:
    """Trained modules of one task; of several, the mean of their values is predicted.

    Of classes and labels the mean is of the probabilities, of real values in the targets' units. A module of ours gives
    logits, or values in units; what another one's `predict_step` gives is taken for logits, too, or for values in
    units. One without is called with the inputs alone where a batch is a pair of inputs and targets.

    Args:
        modules: at least one; they are in evaluation mode afterwards.
        task: that they fit.
    """

    def __init__(self, modules: Sequence[pl.LightningModule], task: Task) -> None:
        if not modules:
            raise ValueError("a prediction needs at least one network")
        self.modules = [module.eval() for module in modules]
        self.task = task

    def to(self, device: torch.device) -> Predictor:
        """The same, with its modules on a device."""
        self.modules = [module.to(device) for module in self.modules]
        return self

    def __call__(self, batch: Any) -> Prediction:
        """The prediction for a batch, on the CPU.

        Args:
            batch: as the datamodule gives it, targets or not.

        Raises:
            ValueError: the modules give something else than the task's outputs.
        """
        values = torch.stack([self._values(module, batch) for module in self.modules])
        spread = values.std(dim=0) if len(values) > 1 else None
        return Prediction(values.mean(dim=0), spread, self.task)

    @torch.no_grad()
    def _values(self, module: pl.LightningModule, batch: Any) -> Tensor:
        batch = module.transfer_batch_to_device(batch, module.device, 0)
        is_pair = isinstance(batch, list | tuple) and type(module).predict_step is pl.LightningModule.predict_step
        given = module(batch[0]) if is_pair else module.predict_step(batch, 0)
        outputs = given.float().cpu() if isinstance(given, Tensor) else None
        if outputs is not None and outputs.dim() == 1 and self.task.out_channels == 1:
            outputs = outputs.unsqueeze(1)
        if outputs is None or outputs.dim() < 2 or outputs.size(1) != self.task.out_channels:
            found = type(given).__name__ if outputs is None else f"the shape {list(outputs.shape)}"
            raise ValueError(
                f"{type(module).__name__}.predict_step gives {found}; predictions are a tensor "
                f"[num_predictions, {self.task.out_channels}, ...]"
            )
        if self.task.target == "regression":
            return outputs
        return outputs.softmax(dim=1) if self.task.target == "classes" else outputs.sigmoid()


class InUnits(nn.Module):
    """A network that has learned standardised targets, with outputs in the targets' units.

    Args:
        network: gives standardised values `[num_predictions, out_channels, ...]`.
        mean: of each target, `[out_channels]`.
        scale: of each target, `[out_channels]`.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        """The network's outputs in units; it is called with the network's arguments."""
        outputs: Tensor = self.network(*inputs, **named)
        shape = (-1, *(1,) * (outputs.dim() - 2))
        return outputs * self.scale.view(shape) + self.mean.view(shape)


def is_called_by_its_own(module: pl.LightningModule) -> bool:
    """True where a module says by itself what it predicts: ours do, others by `forward` or `predict_step`."""
    own = type(module)
    return (
        isinstance(module, TaskModule)
        or own.forward is not pl.LightningModule.forward
        or own.predict_step is not pl.LightningModule.predict_step
    )
