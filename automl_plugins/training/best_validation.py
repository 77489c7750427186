"""The validation that a training is judged by, and whether what was trained still computes numbers in the end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from automl_plugins.system.nearest import did_you_mean
from automl_plugins.training.lightning import pl

Direction = Literal["minimize", "maximize"]
JudgedBy = Literal["last", "best"]


class BestValidation(pl.Callback):
    """Remember the score that a training is judged by and, where asked, put the weights that had it back at the end.

    The best of many validations is partly luck, the more so the more there are: so the last one counts, wherever the
    training ends (`max_epochs`, `max_steps`, a time limit, EarlyStopping), unless the best is asked for.

    A training has diverged, however well it validated before, where in its end a weight is not finite, the network
    gave nan in the last validation, every loss of the last epoch was not finite, or no validation was finite. A
    metric that is nan by itself (a precision without a positive prediction) is only not the best; as the last one it
    leaves nothing to judge by, so such a training counts as diverged too.

    A training that cannot recover, since weights, or all losses and the outputs, are not finite, ends with the
    validation that sees it.

    Weights that a callback averages are those that were validated: the averages.

    The record is in shared memory, so that it comes back from the processes that `ddp_spawn` and
    `ddp_fork` train in.

    Args:
        monitor: the validation metric.
        direction: whether lower or higher is better.
        keep_weights: keep a copy of the judged weights in memory and end the training with them.
        network: whose outputs are looked at; where left out, those of the module's submodules that have weights.
        judged_by: `last`, or `best`.
    """

    def __init__(
        self,
        monitor: str,
        direction: Direction,
        keep_weights: bool,
        network: nn.Module | None = None,
        judged_by: JudgedBy = "last",
    ) -> None:
        self.monitor = monitor
        self.sign = 1.0 if direction == "maximize" else -1.0
        self.keep_weights = keep_weights
        self.network = network
        self.judged_by = judged_by
        self.gives_numbers = True
        self._weights: dict[str, Tensor] = {}
        self._averages: dict[str, Tensor] = {}
        self._hooks: list[Any] = []
        self._not_numbers: Tensor | None = None
        self._finite_losses: Tensor | None = None
        # score, epoch, steps, whether the last validation and the end were of numbers, validations
        self._record = torch.tensor([math.nan, -1.0, 0.0, 1.0, 0.0], dtype=torch.float64).share_memory_()

    @property
    def score(self) -> float:
        return float(self._record[0])

    @property
    def best_epoch(self) -> int:
        return int(self._record[1])

    @property
    def validations(self) -> int:
        """The number of validations, the first look before training left out."""
        return int(self._record[4])

    @property
    def steps(self) -> int:
        return int(self._record[2])

    @property
    def diverged(self) -> bool:
        """True where the score is that of a network that does not compute numbers any more."""
        return self.best_epoch < 0 or not bool(self._record[3])

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finite_losses = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor):
            # Counted where the loss is: to read it here would have an accelerator waited for at every step.
            finite = loss.detach().isfinite().any()
            self._finite_losses = finite if self._finite_losses is None else self._finite_losses | finite

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._not_numbers = None
        networks = [self.network] if self.network is not None else _networks(pl_module)
        self._hooks = [network.register_forward_hook(self._look) for network in networks]

    def _look(self, module: nn.Module, arguments: Any, outputs: Any) -> None:
        for tensor in _floats(outputs):
            found = tensor.detach().isnan().any()
            self._not_numbers = (
                found if self._not_numbers is None else self._not_numbers | found.to(self._not_numbers.device)
            )

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Averages are the module's weights from here on, and no more when the validation has ended.
        callbacks: list[pl.Callback] = getattr(trainer, "callbacks", [])
        if self.keep_weights and any(isinstance(each, pl.callbacks.WeightAveraging) for each in callbacks):
            self._averages = _copied(pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        numbers = self._not_numbers is None or not bool(self._not_numbers)
        self.gives_numbers = bool(trainer.strategy.reduce_boolean_decision(numbers))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        value = monitored(trainer, self.monitor)
        if trainer.is_global_zero:
            self._record[3] = self.gives_numbers
            self._record[4] += 1
        counts = self.gives_numbers and math.isfinite(value)
        if self.judged_by == "last" and not counts and trainer.is_global_zero:
            self._record[0], self._record[1] = math.nan, -1
        if counts and (self.judged_by == "last" or not self.sign * value <= self.sign * self.score):
            if trainer.is_global_zero:
                self._record[0], self._record[1] = value, trainer.current_epoch
            if self.keep_weights:
                self._weights = self._averages or _copied(pl_module)
        self._averages = {}
        # Weights that are no numbers never are again, nor those of losses and outputs that are none.
        lost = not _all_finite(pl_module.parameters()) or not (self.gives_numbers or self._any_finite_loss)
        if trainer.strategy.reduce_boolean_decision(lost):
            trainer.should_stop = True

    @property
    def _any_finite_loss(self) -> bool:
        """False where every loss of this epoch was not finite."""
        return self._finite_losses is None or bool(self._finite_losses)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            self._record[2] = trainer.global_step
            if not self._any_finite_loss or not _all_finite(pl_module.parameters()):
                self._record[3] = False
        if self._weights:
            pl_module.load_state_dict(self._weights)
            self._weights = {}


def monitored(trainer: pl.Trainer, monitor: str) -> float:
    """The value of a logged metric.

    Raises:
        ValueError: no metric of that name was logged; the message names the nearest one.
    """
    metrics = trainer.callback_metrics
    if monitor not in metrics:
        raise ValueError(f"the monitored metric {monitor!r} was not logged; {did_you_mean(monitor, metrics)}")
    return float(metrics[monitor])


def _copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def _networks(module: nn.Module) -> list[nn.Module]:
    """The parts that a module computes with: losses and metrics have no weights, and may be nan by right."""
    return [child for child in module.children() if next(child.parameters(), None) is not None]


def _floats(outputs: Any) -> Iterable[Tensor]:
    """The tensors of floating-point numbers in what a network gives: one, several, or some by name."""
    if isinstance(outputs, Tensor):
        if outputs.is_floating_point():
            yield outputs
    elif isinstance(outputs, Mapping):
        for value in outputs.values():
            yield from _floats(value)
    elif isinstance(outputs, list | tuple):
        for value in outputs:
            yield from _floats(value)


def _all_finite(parameters: Iterable[nn.Parameter]) -> bool:
    trained = [parameter.detach() for parameter in parameters if parameter.requires_grad and parameter.numel()]
    return all(bool(parameter.isfinite().all()) for parameter in trained)
