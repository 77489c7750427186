"""Running a user's training step a second time without anybody noticing."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from automl_plugins.search.aside import objects_aside
from automl_plugins.search.set_aside import nothing
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.system.randomness import seeded_aside
from automl_plugins.training.lightning import pl

_SILENCED = ("log", "log_dict", "print")


@contextmanager
def isolated(trainer: Any, module: Any, seed: int) -> Iterator[None]:
    """Nothing that the module logs, counts, draws or writes into its buffers inside is seen outside.

    That is: `self.log`, `self.print`, the loggers and what is logged to wandb and mlflow directly, the random
    generators, all buffers but those of searchables themselves (so BatchNorm statistics), the states of torchmetrics,
    the Trainer's `should_stop`, its schedulers and learning rates, and what `objects_aside` puts back of the module and
    of callbacks. Gradients must be taken inside: a recomputed checkpoint runs the module again.

    Args:
        trainer: the Trainer.
        module: the LightningModule.
        seed: what is drawn inside is a function of it.
    """
    with ExitStack() as stack:
        stack.enter_context(seeded_aside(seed, trainer.strategy.root_device))
        stack.enter_context(buffers_aside(module))
        stack.enter_context(objects_aside(module, _beside(trainer)))
        for part in module.modules():
            if hasattr(part, "log_dict"):
                vars(part).update(dict.fromkeys(_SILENCED, nothing))
                stack.callback(_hear, part)
        if trainer.loggers:
            stack.enter_context(_loggers_aside(trainer))
        stack.callback(setattr, trainer, "should_stop", trainer.should_stop)
        yield


def _beside(trainer: Any) -> list[object]:
    """Parts of a step beside the module: schedulers, learning rates, and callbacks, which may hook modules."""
    schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
    return [*schedulers, *trainer.optimizers, *trainer.callbacks]


def _hear(part: nn.Module) -> None:
    for name in _SILENCED:
        vars(part).pop(name, None)


@contextmanager
def buffers_aside(module: nn.Module) -> Iterator[None]:
    """Let the module write into copies of its buffers.

    Copies, not values that are written back: what autograd has saved stays untouched, and a buffer that is
    replaced comes back too.
    """
    originals: list[tuple[dict[str, Tensor | None], str, Tensor]] = []
    copies: dict[int, Tensor] = {}
    for part in module.modules():
        if isinstance(part, Searchable):
            continue
        for name, buffer in part._buffers.items():
            if buffer is not None:
                originals.append((part._buffers, name, buffer))
                if id(buffer) not in copies:
                    copies[id(buffer)] = buffer.detach().clone()
                part._buffers[name] = copies[id(buffer)]
    try:
        yield
    finally:
        for buffers, name, buffer in originals:
            buffers[name] = buffer


@contextmanager
def _loggers_aside(trainer: Any) -> Iterator[None]:
    loggers = trainer.loggers
    trainer.loggers = [_dummy_logger() for _ in loggers]
    try:
        yield
    finally:
        trainer.loggers = loggers


@contextmanager
def frozen(weights: Iterable[nn.Parameter]) -> Iterator[None]:
    """Have those of the weights that ask for gradients not ask for them inside."""
    thawed = [weight for weight in weights if weight.requires_grad]
    for weight in thawed:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in thawed:
            weight.requires_grad_(True)


@cache
def _dummy_logger() -> Any:
    return pl.loggers.logger.DummyLogger()


def shallow(batch: Any) -> Any:
    """A batch of the same tensors, to which a step may assign without changing the original."""
    if isinstance(batch, Tensor) or batch is None:
        return batch
    if isinstance(batch, tuple):
        parts = (shallow(value) for value in batch)
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    made = copy.copy(batch)
    if isinstance(batch, list | dict):
        for key, value in batch.items() if isinstance(batch, dict) else enumerate(batch):
            made[key] = shallow(value)
    return made


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluate without gradients and dropout, and with `batch_statistics`."""
    with torch.no_grad(), batch_statistics(module):
        yield


@contextmanager
def batch_statistics(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, but BatchNorm with each batch's own statistics; it moves the running ones.

    The running ones are a mixture of all that was trained, right for no architecture.
    """
    modes = {part: part.training for part in module.modules()}
    module.eval()
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) or getattr(part, "keeps_running_statistics", False):
            part.train()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
