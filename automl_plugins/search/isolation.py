"""Running a user's training step a second time without anybody noticing."""

from __future__ import annotations

import copy
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from automl_plugins._lightning import pl
from automl_plugins.randomness import seeded_aside
from automl_plugins.searchable import Searchable

_SILENCED = ("log", "log_dict", "print")
_CONTAINERS = (list, dict, set, deque, defaultdict, OrderedDict)


@contextmanager
def isolated(trainer: Any, module: Any, seed: int) -> Iterator[None]:
    """What the module logs, counts, draws and writes into its buffers inside is not seen outside.

    That is: `self.log`, `self.print` and the loggers, the random generators, all buffers but those of
    searchables themselves (so BatchNorm statistics), the states of torchmetrics, and attributes of the
    LightningModule, such as a list to which each step appends its loss. Gradients must be taken inside: a
    recomputed checkpoint runs the module again.

    Args:
        trainer: the Trainer.
        module: the LightningModule.
        seed: what is drawn inside is a function of it.
    """
    with ExitStack() as stack:
        stack.enter_context(seeded_aside(seed, trainer.strategy.root_device))
        stack.enter_context(buffers_aside(module))
        for part in module.modules():
            if hasattr(part, "log_dict"):
                stack.enter_context(_attributes_aside(part))
                vars(part).update(dict.fromkeys(_SILENCED, _nothing))
            elif isinstance(part, Metric | MetricCollection):
                stack.enter_context(_metric_aside(part))
        if trainer.loggers:
            stack.enter_context(_loggers_aside(trainer))
        yield


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
def _attributes_aside(module: nn.Module) -> Iterator[None]:
    """Let a LightningModule change attributes and fill containers that are put back."""
    attributes = vars(module)
    own = {name: value for name, value in attributes.items() if name not in _internals()}
    attributes.update({name: _copied(value) for name, value in own.items() if type(value) in _CONTAINERS})
    try:
        yield
    finally:
        for name in attributes.keys() - own.keys() - _internals():
            del attributes[name]
        attributes.update(own)


def _copied(container: Any) -> Any:
    """A container of the same things, in which containers are copies too."""
    made = copy.copy(container)
    if isinstance(container, list | deque | dict):
        items = container.items() if isinstance(container, dict) else enumerate(container)
        for key, value in items:
            if type(value) in _CONTAINERS:
                made[key] = _copied(value)
    return made


@contextmanager
def _metric_aside(metric: Metric | MetricCollection) -> Iterator[None]:
    """Let a metric count in copies of its states."""
    attributes = vars(metric)
    before = dict(attributes)
    if isinstance(metric, MetricCollection):
        # Which metrics share a state is settled at the first update, inside these lists.
        attributes["_groups"] = copy.deepcopy(metric._groups)
    else:
        for name in metric._defaults:
            state = attributes[name]
            attributes[name] = state.detach().clone() if isinstance(state, Tensor) else list(state)
    try:
        yield
    finally:
        attributes.clear()
        attributes.update(before)


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


@cache
def _internals() -> frozenset[str]:
    """The attributes that every LightningModule has, which are torch's and Lightning's affair."""
    return frozenset(vars(pl.LightningModule()))


def _nothing(*_: object, **__: object) -> None:
    """What `self.log` does inside."""


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
