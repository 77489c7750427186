"""Refusals of projects that a search cannot serve, before training starts."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from typing import Any

from torch import nn

from automl_plugins.decoders.base import Decoder
from automl_plugins.search import report
from automl_plugins.search.weight_step import has_a_say
from automl_plugins.strategies import Strategy, composition
from automl_plugins.supernets.relaxations import Relaxation
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.training.adapted import Adapted

_SHARDED = ("FSDPStrategy", "DeepSpeedStrategy", "ModelParallelStrategy", "XLAFSDPStrategy")
_SERVED = ("SingleDeviceStrategy", "DDPStrategy")


def find_searchables(module: nn.Module) -> dict[str, Searchable]:
    """All searchables of a module, by name, inside compiled parts too; those whose logits are frozen are left out.

    Raises:
        ValueError: there is none.
    """
    found: dict[str, Searchable] = {}
    adapted: set[str] = set()
    for path, part in module.named_modules():
        name = path.replace("_orig_mod.", "").removesuffix("_orig_mod").strip(".")
        if isinstance(part, Adapted):
            adapted.add(name)
        elif isinstance(part, Searchable):
            above = name.rpartition(".")[0]
            found[above if above in adapted else name] = part
    if not found:
        raise ValueError(
            f"{type(module).__name__} has no Searchable, so there is nothing to search; put `space.searchable(task)` "
            "where the network was, in `__init__`, `setup` or `configure_model`"
        )
    free = {name: part for name, part in found.items() if part.logits.requires_grad}
    if not free:
        raise ValueError(f"the logits of {', '.join(map(repr, found))} are frozen; set requires_grad to search them")
    return free


def check_search_data(given: Any, strategy: Strategy) -> None:
    """Refuse search data for a strategy that has no use for them.

    Raises:
        ValueError: some are given.
    """
    if given is not None and not strategy.uses_search_data:
        raise ValueError(
            f"search_data is given, but {type(strategy).__name__} learns on the training batch; leave it out"
        )


def check_project(
    trainer: Any, module: Any, strategy: Strategy, relaxations: Iterable[Relaxation], warmup_epochs: int
) -> None:
    """Refuse a project that the search cannot serve.

    Args:
        trainer: the Trainer.
        module: the LightningModule.
        strategy: how it is searched.
        relaxations: those that it begins with.
        warmup_epochs: epochs in which only weights learn.

    Raises:
        ValueError: it cannot; the message says why, and what can be done.
    """
    runs_single_paths = type(strategy).single_path is not Strategy.single_path
    _check_strategy(trainer, runs_single_paths or any(each.single_path for each in relaxations))
    for limit in ("max_epochs", "max_steps", "limit_train_batches"):
        if getattr(trainer, limit, None) == 0:
            raise ValueError(f"{limit}=0: a search of no step finds nothing; give the Trainer a larger one")
    _check_module(module, strategy)
    _check_weight_steps(module, strategy)
    searchables = find_searchables(module)
    strategy.check(searchables)
    composition.check(strategy, relaxations, searchables.values())
    for searchable in searchables.values():
        searchable.limits.check_any()
    if any("_orig_mod" in name or getattr(part, "_compiled_call_impl", None) for name, part in module.named_modules()):
        report.line(
            "parts of the module are compiled; a supernet runs as it is written, since what it runs changes with its "
            "gates (the derived network can be compiled)"
        )
    if warmup_epochs and trainer.max_epochs not in (None, -1) and warmup_epochs >= trainer.max_epochs:
        raise ValueError(
            f"warmup_epochs={warmup_epochs} leaves no epoch of max_epochs={trainer.max_epochs} for the architecture"
        )
    unlimited = trainer.max_epochs in (None, -1) and trainer.max_steps == -1
    if unlimited and composition.needs_end(strategy):
        raise ValueError(
            f"{type(strategy).__name__} follows a schedule, which needs an end: give the Trainer max_epochs or "
            "max_steps"
        )


def check_decoder(
    decoder: Decoder, strategy: Strategy, relaxations: Iterable[Relaxation], searchables: Iterable[Searchable]
) -> None:
    """Refuse a decoder that could not read what the strategy learns, or says itself that it could not (`check`).

    Raises:
        ValueError: it could not; the message says why.
    """
    name, learner = type(decoder).__name__, type(strategy).__name__
    if getattr(decoder, "reads_logits", False) and not strategy.learns_logits:
        raise ValueError(
            f"decoder={name} reads logits, and {learner} learns none; take one that compares architectures with the "
            "shared weights, such as best-sampled"
        )
    if (check := getattr(decoder, "check", None)) is not None:
        for searchable in searchables:
            check(searchable)
    single = strategy.single_path(1.0) or any(each.single_path for each in relaxations)
    if getattr(decoder, "needs_mixture", False) and single:
        raise ValueError(
            f"decoder={name} asks what a mixture loses without an option, and {learner} trains single paths; take "
            "best-sampled, or a strategy of mixtures, such as darts"
        )


def check_warmup(trainer: Any, warmup_epochs: int) -> None:
    """Refuse a warm-up after which no step is left; the training loader is made by now.

    Raises:
        ValueError: none is.
    """
    batches = trainer.num_training_batches
    if not warmup_epochs or trainer.max_steps == -1 or batches == float("inf"):
        return
    steps = math.ceil(batches / trainer.accumulate_grad_batches)
    if warmup_epochs * steps >= trainer.max_steps:
        raise ValueError(
            f"warmup_epochs={warmup_epochs} (of {steps} steps each) leaves no step of max_steps={trainer.max_steps} "
            "for the architecture"
        )


def check_stepped(steps: int) -> None:
    """Refuse to call an epoch without a step a search.

    Raises:
        ValueError: there was none.
    """
    if steps == 0:
        raise ValueError(
            "the training data gave no batch, so nothing was searched; look at batch_size and drop_last, or at what "
            "the data set yields"
        )


def _check_strategy(trainer: Any, single_path: bool) -> None:
    parallel = trainer.strategy
    ancestors = [ancestor.__name__ for ancestor in type(parallel).__mro__]
    name = ancestors[0]
    if any(ancestor in _SHARDED for ancestor in ancestors):
        raise ValueError(
            f"{name} shards parameters over the processes, and the architecture logits with them, so that no process "
            "could take their gradient; use strategy='ddp', or one device"
        )
    if not any(ancestor in _SERVED for ancestor in ancestors):
        raise ValueError(
            f"{name} was never tried with a search, and logits that silently differ between processes would be worse "
            "than no search; use strategy='ddp', or one device"
        )
    if single_path and "DDPStrategy" in ancestors:
        arguments = parallel._ddp_kwargs
        if arguments.get("static_graph"):
            raise ValueError(
                "each step runs another path, which DDP's static_graph=True forbids; use "
                "DDPStrategy(find_unused_parameters=True)"
            )
        if not arguments.get("find_unused_parameters"):
            raise ValueError(
                "each step runs a single path and leaves the other options' weights without a gradient, for which DDP "
                "would wait; use strategy='ddp_find_unused_parameters_true', or "
                "DDPStrategy(find_unused_parameters=True)"
            )


def _check_module(module: Any, strategy: Strategy) -> None:
    kind = type(module).__name__
    if hasattr(module, "architecture_loss") or not (strategy.learns_logits or strategy.uses_search_data):
        return
    remedy = f"add a method `architecture_loss(self, batch)` to {kind} that returns the loss of a batch"
    if not module.automatic_optimization:
        raise ValueError(
            f"{kind} optimizes manually, so its training_step moves weights and cannot be asked for a loss alone; "
            f"{remedy}"
        )
    if "dataloader_iter" in inspect.signature(module.training_step).parameters:
        raise ValueError(f"{kind}.training_step fetches its own batches, so it cannot be given one; {remedy}")


def _check_weight_steps(module: Any, strategy: Strategy) -> None:
    if not has_a_say(strategy):
        return
    kind, name = type(module).__name__, type(strategy).__name__
    if not module.automatic_optimization:
        raise ValueError(
            f"{name} gives the loss of the weights or leaves out their steps, and {kind} optimizes manually, so its "
            "training_step takes them by itself; let Lightning optimize, or use another strategy"
        )
    if "dataloader_iter" in inspect.signature(module.training_step).parameters:
        raise ValueError(
            f"{name} gives the loss of the weights, and {kind}.training_step fetches its own batches, so that there "
            "is none to give it of; let it take a batch, or use another strategy"
        )
