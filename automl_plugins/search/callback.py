"""Differentiable search as a Lightning callback: the user's module, data and Trainer stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from automl_plugins import registry
from automl_plugins.decoders.base import Evaluation
from automl_plugins.errors import NotFiniteError
from automl_plugins.search import provenance, ranks, report
from automl_plugins.search.checks import check_arguments, check_project, check_stepped, check_warmup, find_searchables
from automl_plugins.search.collapse import CollapseWatch
from automl_plugins.search.data import SearchBatches
from automl_plugins.search.divergence import DivergedError, DivergenceWatch
from automl_plugins.search.evaluation import search_evaluation
from automl_plugins.search.learner import LogitsLearner
from automl_plugins.search.memory_check import check_memory
from automl_plugins.search.outcome import Outcome
from automl_plugins.search.progress import SearchProgress
from automl_plugins.search.resuming import count_epoch, restore_randomness, warn_of_a_beginning
from automl_plugins.search.source import SearchSource, Word
from automl_plugins.search.step import draw, make_step, past_the_end, share_done
from automl_plugins.search.user_step import UserStep
from automl_plugins.search.validation import ValidationView
from automl_plugins.strategies import Strategy
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.system.randomness import random_state
from automl_plugins.training.lightning import pl

_LOOKS = 16
"""After how many steps a GPU, or other processes, are waited for to look at losses."""
_EVALUATION_BATCHES = 16
"""How many search batches a decoder's evaluation reads at most: many architectures are compared."""


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
        learning_rate: of the logits.
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

    Raises:
        ValueError: an argument is out of range, or no strategy has that name; (in a fit) the project cannot be
            searched, or not within `memory_limit`.
        DivergedError: (in a fit) a loss, a weight, a logit or a validation is not finite. The logits are then those of
            the last epoch before, and so is the `architecture.json`.
    """

    def __init__(
        self,
        strategy: str | Strategy = "darts",
        search_data: Word | Iterable[Any] | Callable[[], Iterable[Any]] | None = None,
        search_fraction: float = 0.5,
        learning_rate: float = 3e-4,
        weight_decay: float = 1e-3,
        betas: tuple[float, float] = (0.5, 0.999),
        warmup_epochs: int = 0,
        collapse: float | None = None,
        path: str | Path | None = None,
        seed: int = 0,
        memory_limit: int | None = None,
    ) -> None:
        super().__init__()
        self.strategy: Strategy = registry.load("strategies", strategy)() if isinstance(strategy, str) else strategy
        check_arguments(learning_rate, weight_decay, betas, warmup_epochs, seed, collapse, memory_limit)
        if search_data is not None and not self.strategy.uses_search_data:
            raise ValueError(
                f"search_data is given, but {type(self.strategy).__name__} learns on the training batch; leave it out"
            )
        self.source = SearchSource(search_data, search_fraction, seed)
        self.settings = {"learning_rate": learning_rate, "weight_decay": weight_decay, "betas": tuple(betas)}
        data = search_data if isinstance(search_data, str) else search_data is not None
        others = {
            "warmup_epochs": warmup_epochs,
            "collapse": collapse,
            "seed": seed,
            "search_fraction": search_fraction,
        }
        self._arguments = {**self.settings, **others, "search_data": data}
        self.warmup_epochs, self.collapse = warmup_epochs, collapse
        self.memory_limit = memory_limit
        self.path = None if path is None else Path(path)
        self.seed = seed
        self.searchables: dict[str, Searchable] = {}
        """What is searched in the present fit, by name."""
        self.steps = 0
        """Optimizer steps of the weights so far."""
        self._forget()

    def _forget(self) -> None:
        self.steps = 0
        self._learner: LogitsLearner | None = None
        self._batches: SearchBatches | None = None
        self._pending: Mapping[str, Any] | None = None
        self._planned_epochs = -1
        self._between_epochs = False
        self._ended_epochs = 0
        self._outcome = Outcome({}, self.strategy, self.path)
        self._validation = ValidationView([], False)
        self._divergence: DivergenceWatch | None = None
        self._progress = SearchProgress()
        self.watch = CollapseWatch(self.collapse)
        self._decoded = False
        self._memory_checked = False
        self._provenance: dict[str, Any] = {}

    # Before the first step.

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take over the logits, before the optimizers are made and DDP looks for parameters.

        Raises:
            ValueError: the project cannot be searched; the message says why.
        """
        if stage != "fit":
            return
        self._forget()
        searchables = find_searchables(pl_module)
        relaxations = {name: self.strategy.relaxation() for name in searchables}
        single_path = self.strategy.holds_single_path or any(each.single_path for each in relaxations.values())
        check_project(trainer, pl_module, self.strategy, single_path, self.warmup_epochs)
        self.searchables = searchables
        self._outcome = Outcome(searchables, self.strategy, self.path)
        self._validation = ValidationView(searchables.values(), single_path)
        for name, searchable in searchables.items():
            searchable.logits.requires_grad_(False)
            searchable.logits.grad = None
            searchable.relaxation = relaxations[name]
            searchable.draws_by_itself = False
        if self.strategy.uses_search_data:
            self.source.prepare(trainer, pl_module)
        self._planned_epochs = -1 if trainer.max_epochs is None else trainer.max_epochs

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        device = trainer.strategy.root_device
        scaler = torch.amp.GradScaler(device.type) if trainer.precision == "16-mixed" else None
        self._learner = LogitsLearner(
            pl_module, self.searchables, self.strategy, self.settings, scaler, trainer.world_size
        )
        self._divergence = DivergenceWatch(device, trainer.world_size, trainer.scaler is not None)
        if trainer.world_size > 1:
            ranks.copy_from_first(self._outcome.tensors)
        self._outcome.remember()
        self.watch.remember(self.searchables)
        self._provenance["settings"] = provenance.of_settings(
            trainer, pl_module, self.searchables, self.strategy, self._arguments
        )
        if self._pending is None and trainer.ckpt_path is not None:
            warn_of_a_beginning(trainer.ckpt_path)
        if self._pending is not None:
            self._learner.load_state_dict(self._pending["learner"])
            if "provenance" in self._pending:
                provenance.check_settings(self._pending["provenance"]["settings"], self._provenance["settings"])
            self.steps = self._pending["steps"]
            self._ended_epochs = self._pending["ended_epochs"]
            self.watch.healthy = [tensor.to(device) for tensor in self._pending["healthy"]]
            if self._pending["between_epochs"]:
                # Lightning goes on to make the epoch's iterator, which draws.
                restore_randomness(self._pending["random"], trainer)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        check_warmup(trainer, self.warmup_epochs if self.strategy.learns_logits else 0)
        loader = self.source.loader(trainer) if self.strategy.uses_search_data else None
        self._provenance["data"] = provenance.of_data(trainer, loader)
        if self._pending is not None and "provenance" in self._pending:
            provenance.check_data(self._pending["provenance"]["data"], self._provenance["data"])
        if loader is not None:
            self._batches = SearchBatches(loader, self.seed, trainer.global_rank, trainer.world_size)
        if self._pending is not None:
            if self._batches is not None and self._pending["batches"] is not None:
                self._batches.load_state_dict(self._pending["batches"])
            if not self._pending["between_epochs"]:
                # The iterator of an epoch that has begun drew before the state was taken.
                restore_randomness(self._pending["random"], trainer)
            self._pending = None
            last = trainer.current_epoch - 1
            if self._ended_epochs <= last and not past_the_end(last, self._planned_epochs):
                # The checkpoint was of an epoch's last batch: Lightning leaves out the end of that epoch.
                self._end_epoch(trainer, pl_module, last)
        self._progress.start(trainer)

    # Steps.

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Take the step of the architecture, and set the gates for that of the weights."""
        self._between_epochs = False
        count_epoch(trainer)
        if past_the_end(trainer.current_epoch, self._planned_epochs):
            self._outcome.put_back()
            return
        if batch_idx % trainer.accumulate_grad_batches != 0:
            return
        progress = share_done(trainer, batch_idx, self._planned_epochs, self.warmup_epochs)
        for searchable in self.searchables.values():
            searchable.use_gates(None)
            self.strategy.schedule(searchable.relaxation, progress)
        user = UserStep(trainer, pl_module)
        where = (self.searchables, self._batches, (self.seed, self.steps))
        if self.memory_limit is not None and not self._memory_checked:
            report.line("search: estimating the memory of a step, within memory_limit")
            with user.isolated(self.seed, self.steps):
                step = make_step(user, batch, batch_idx, progress, *where)
                check_memory(self.memory_limit, user, batch, self._present_learner, self.strategy, step)
            self._memory_checked = True
        with user.isolated(self.seed, self.steps):
            step = make_step(user, batch, batch_idx, progress, *where)
            draw(self.searchables.values())
            if self.strategy.learns_logits and trainer.current_epoch >= self.warmup_epochs:
                self._present_learner.step(lambda: self.strategy.architecture_loss(step))
                if not self.strategy.shares_draw:
                    draw(self.searchables.values())
            for searchable in self.searchables.values():
                searchable.use_gates(self.strategy.weight_gates(searchable, step))
        self.steps += 1

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # From a checkpoint of an epoch's last batch Lightning goes on with the next epoch, and leaves out validation.
        self._between_epochs = trainer.is_last_batch
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        self._progress.step(trainer, loss, batch_idx)
        if self._divergence is not None:
            self._divergence.saw(loss, trainer.global_step)
            if self._divergence.looks_at_each_step or batch_idx % _LOOKS == _LOOKS - 1:
                self._stop_if(self._divergence.of_losses(), trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # From a checkpoint of a validation it goes on in the same epoch, even where no batch is left.
        self._between_epochs = False
        self._validation.open()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validation.close()
        self._stop_if(self._validation.divergence(trainer), trainer)

    def _stop_if(self, divergence: str | None, trainer: pl.Trainer) -> None:
        """Leave a search that has diverged, with the logits of the last epoch that had not."""
        if divergence is not None:
            self._outcome.put_back()
            epochs = self._ended_epochs
            kept = self._outcome.architectures() if epochs > 0 and self._outcome.decodes_as_it_goes else {}
            raise DivergedError(divergence, epochs, kept)

    # Between epochs.

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare the ranks, look for a collapse, and tell where the search is.

        Raises:
            RuntimeError: the logits differ between ranks.
            ValueError: there was no step.
            DivergedError: a loss, a weight or a logit is not finite.
        """
        check_stepped(self.steps)
        if past_the_end(trainer.current_epoch, self._planned_epochs):
            self._between_epochs, self._ended_epochs = True, trainer.current_epoch + 1
            return
        if self._divergence is not None:
            divergence = self._divergence.of_epoch(pl_module, self._outcome.logits, trainer.global_step)
            self._stop_if(divergence or self._present_learner.divergence, trainer)
        self._between_epochs, self._ended_epochs = True, trainer.current_epoch + 1
        if trainer.world_size > 1:
            ranks.check_equal(self._outcome.tensors, trainer.strategy.root_device)
        self._end_epoch(trainer, pl_module, trainer.current_epoch)
        values = report.measures(self.searchables)
        report.log_measures(trainer, pl_module, values)
        self._progress.epoch(trainer, values)
        if self._outcome.decodes_as_it_goes:
            report.tell_architectures(trainer, self._outcome.architectures())
            self._outcome.write(trainer)

    def _end_epoch(self, trainer: pl.Trainer, pl_module: pl.LightningModule, epoch: int) -> None:
        self.strategy.end_epoch(self.searchables, epoch, self._evaluation(trainer, pl_module))
        if self.watch.stops(self.searchables):
            trainer.should_stop = True
            report.line(
                f"search stopped after epoch {epoch}: options without weights are preferred in "
                f"{self.watch.share:.0%} or more of the choices; the logits are those of the last epoch before that"
            )
        self._outcome.remember()

    # After the last step.

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Decode, and set the logits so that `derive` gives what was found.

        Raises:
            ValueError: there was no step.
            DivergedError: nothing that could be found has a finite loss.
        """
        check_stepped(self.steps)
        self._decoded = True
        self._outcome.put_back()
        for searchable in self.searchables.values():
            searchable.use_gates(None)
        try:
            self._outcome.conclude(trainer, self._evaluation(trainer, pl_module))
        except NotFiniteError as error:
            self._stop_if(str(error), trainer)

    def _evaluation(self, trainer: pl.Trainer, module: pl.LightningModule) -> Evaluation:
        """The loss on the same few search batches at each call."""

        def read() -> list[Any]:
            return [] if self._batches is None else self._batches.first(_EVALUATION_BATCHES)

        return search_evaluation(UserStep(trainer, module), read, self.seed)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._decoded:
            # The checkpoint was of the last step, or there is no batch: no end of a training.
            self.on_train_start(trainer, pl_module)
            pl_module.to(trainer.strategy.root_device)
            self.on_train_end(trainer, pl_module)
        self._outcome.put_back()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit":
            self._release()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Give everything back; what was found until an interruption is written first."""
        if self.steps and not isinstance(exception, DivergedError):
            self._outcome.write_at_an_exception(trainer)
        self._release()

    def _release(self) -> None:
        """Make the searchables ordinary modules again. They keep their relaxation: the logits were learned with it."""
        self._validation.close()
        for searchable in self.searchables.values():
            searchable.use_gates(None)
            searchable.logits.requires_grad_(True)
            searchable.draws_by_itself = True
        self.source.restore()

    # State.

    @property
    def _present_learner(self) -> LogitsLearner:
        if self._learner is None:
            raise RuntimeError("a step of the architecture was asked for outside of a fit")
        return self._learner

    def state_dict(self) -> dict[str, Any]:
        """All but the logits, which are the module's; Lightning asks for it on all ranks at once."""
        if self._learner is None:
            return {}
        device = next(iter(self.searchables.values())).logits.device
        return {
            "steps": self.steps,
            "learner": self._learner.state_dict(),
            "batches": None if self._batches is None else self._batches.state_dict(),
            "between_epochs": self._between_epochs,
            "ended_epochs": self._ended_epochs,
            "healthy": self.watch.healthy,
            "provenance": self._provenance,
            "random": ranks.of_all(random_state(device), self._learner.world_size),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._pending = state_dict or None
