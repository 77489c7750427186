"""Differentiable search as a Lightning callback: the user's module, data and Trainer stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from automl_plugins.decoders.base import Decoder, make_decoder
from automl_plugins.errors import DivergedError
from automl_plugins.search.checks import (
    check_decoder,
    check_project,
    check_search_data,
    check_stepped,
    find_searchables,
)
from automl_plugins.search.options import SearchOptions, make_strategy
from automl_plugins.search.run import SearchRun
from automl_plugins.search.source import SearchSource, Word
from automl_plugins.strategies import Strategy
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.training.late import nothing, when_whole
from automl_plugins.training.lightning import pl


class ArchitectureSearch(pl.Callback):
    """Learn the architecture of every `Searchable` in a LightningModule while its weights are trained.

    The module's `training_step`, optimizers, schedulers, data and loggers, and the Trainer's flags stay what
    they are. Once before each optimizer step, the logits take a step of their own on a batch of search data,
    through the module's `training_step`, or its method `architecture_loss(batch)` where it has one (which
    manual optimization needs); what that logs, counts and draws is not seen. After the fit,
    `Searchable.derive()` gives what was found.

    Validation sees what the weights are trained for: the mixture, or, where each step trains a single path, the
    architecture that is most probable so far, with normalisations by each batch's own statistics.

    Everything is in the Trainer's checkpoint. A search that was killed and goes on from its last checkpoint ends,
    on the CPU, with the very bits of one that was not killed: at the end of an epoch with any loader, in mid-epoch with
    training loaders that have `state_dict` and `load_state_dict`, in both cases on as many processes as before.

    Args:
        strategy: how the logits learn: a registered name, or a strategy.
        search_data: what the logits learn on: a loader, a callable that gives one, `datamodule` (its
            `search_dataloader()`), `split` (of the training data), `validation`, or `training`. None: the
            datamodule's `search_dataloader()` if it has one, else a split of the training data, unless that loader was
            given to `fit`, else, with a warning, the validation data. Strategies on the training batch alone
            (`single-level`, `snas`) take none.
        search_fraction: of the training data, for `split`.
        learning_rate: of the logits; None: the strategy's own (GAEA's 0.1), or else, the longer the search, the lower,
            so that they can move as far as in DARTS' 19,550 steps at 3e-4: 5.9 over the steps, from 3e-4 to 0.1.
        weight_decay: of the logits.
        betas: Adam's, of the logits.
        warmup_epochs: epochs in which only the weights learn.
        collapse: stop when this share of the choices prefers options without weights (DARTS+, Liang et al. 2019, stops
            at a number of them), and put the logits of the last epoch before that back; None: only warn, from
            three quarters on.
        path: where `architecture.json` is written at the end of each epoch; None: nowhere.
        seed: of the split, the order of search batches, and what strategies draw.
        memory_limit: bytes that weights, optimizers and a step may take; a search whose first batch would take more is
            refused before its first step, with what would fit. None: not asked, which saves the estimate's time, that
            of a few steps.
        decoder: reads the architecture off in the end: a registered name, or a decoder; None: the strategy's.

    Raises:
        ValueError: an argument is out of range, or no strategy or decoder has that name; (in a fit) the project cannot
            be searched, or not within `memory_limit`.
        DivergedError: (in a fit) a loss, a weight, a logit or a validation is not finite. The logits are then those of
            the last epoch before, and so is the `architecture.json`.
    """

    def __init__(
        self,
        strategy: str | Strategy = "darts",
        search_data: Word | Iterable[Any] | Callable[[], Iterable[Any]] | None = None,
        search_fraction: float = 0.5,
        learning_rate: float | None = None,
        weight_decay: float = 1e-3,
        betas: tuple[float, float] = (0.5, 0.999),
        warmup_epochs: int = 0,
        collapse: float | None = None,
        path: str | Path | None = None,
        seed: int = 0,
        memory_limit: int | None = None,
        decoder: str | Decoder | None = None,
    ) -> None:
        super().__init__()
        self.strategy = make_strategy(strategy)
        self.decoder = self.strategy.decoder if decoder is None else make_decoder(decoder)
        self.options = SearchOptions(
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            betas=betas,
            warmup_epochs=warmup_epochs,
            collapse=collapse,
            path=path,
            seed=seed,
            memory_limit=memory_limit,
        )
        check_search_data(search_data, self.strategy)
        self.source = SearchSource(search_data, search_fraction, seed)
        self.run: SearchRun | None = None
        """The present fit, or the last one."""
        self._taken_over: set[int] = set()
        self._forget: Callable[[], None] = nothing

    @property
    def searchables(self) -> Mapping[str, Searchable]:
        """The searchables of the present fit, by name."""
        return {} if self.run is None else self.run.searchables

    @property
    def steps(self) -> int:
        """Optimizer steps of the weights so far."""
        return 0 if self.run is None else self.run.steps

    # Before the first step.

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take over the logits, before the optimizers are made and DDP looks for parameters.

        Those of searchables that `setup` or `configure_model` makes are taken over after these.

        Raises:
            ValueError: the project cannot be searched; the message says why.
        """
        if stage != "fit":
            return
        self.run = None
        if any(isinstance(part, Searchable) for part in pl_module.modules()):
            self._take_over(trainer, pl_module)
        self._forget = when_whole(pl_module, partial(self._take_over, trainer, pl_module))

    def _take_over(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        present = {id(part) for part in pl_module.modules() if isinstance(part, Searchable)}
        if self.run is not None and present == self._taken_over:
            return
        self._taken_over = present
        self.source.restore()
        searchables = find_searchables(pl_module)
        relaxations = {name: self.strategy.starting_relaxation() for name in searchables}
        check_project(trainer, pl_module, self.strategy, relaxations.values(), self.options.warmup_epochs)
        for name, searchable in searchables.items():
            searchable.relaxation = relaxations[name]
        check_decoder(self.decoder, self.strategy, relaxations.values(), searchables.values())
        self.run = SearchRun(trainer, pl_module, searchables, self.strategy, self.decoder, self.options, self.source)
        if self.strategy.uses_search_data:
            self.source.prepare(trainer, pl_module)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._present.begin_fit()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._present.begin_training()

    # Steps.

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Take the step of the architecture, and set the gates and the loss for that of the weights."""
        self._present.begin_batch(batch, batch_idx)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        self._present.weights.drop_gradients(optimizer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._present.close_step(outputs, batch_idx)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.run is not None:
            self.run.begin_validation()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.run is not None:
            self.run.end_validation(trainer)

    # Between epochs.

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare the ranks, look for a collapse, and tell where the search is.

        Raises:
            RuntimeError: the logits differ between ranks.
            ValueError: there was no step.
            DivergedError: a loss, a weight or a logit is not finite.
        """
        check_stepped(self.steps)
        self._present.close_epoch(trainer.current_epoch)

    # After the last step.

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Decode, and set the logits so that `derive` gives what was found.

        Raises:
            ValueError: there was no step.
            DivergedError: nothing that could be found has a finite loss.
        """
        check_stepped(self.steps)
        self._present.conclude()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._present.decoded:
            # The checkpoint was of the last step, or there is no batch: no end of a training.
            self.on_train_start(trainer, pl_module)
            pl_module.to(trainer.strategy.root_device)
            self.on_train_end(trainer, pl_module)
        self._present.outcome.put_back()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit":
            self._release()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Give everything back; what was found until an interruption is written first."""
        if self.run is not None and self.steps and not isinstance(exception, DivergedError):
            self.run.outcome.write_at_an_exception(trainer)
        self._release()

    def _release(self) -> None:
        self._forget()
        self._forget = nothing
        if self.run is not None:
            self.run.release()
        self.source.restore()

    # State.

    @property
    def _present(self) -> SearchRun:
        if self.run is None:
            raise RuntimeError("ArchitectureSearch works in a fit, which has not been set up")
        return self.run

    def state_dict(self) -> dict[str, Any]:
        return {} if self.run is None else self.run.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self.run is not None:
            self.run.pending = state_dict or None
