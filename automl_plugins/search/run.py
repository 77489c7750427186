"""The state of one fit of a search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from automl_plugins.decoders.base import Decoder
from automl_plugins.errors import DivergedError
from automl_plugins.search import provenance, ranks, report
from automl_plugins.search.batches import SearchBatches
from automl_plugins.search.checks import check_warmup
from automl_plugins.search.collapse import CollapseWatch
from automl_plugins.search.divergence import DivergenceWatch, diverged
from automl_plugins.search.history import NAME, LogitsHistory
from automl_plugins.search.learner import LogitsLearner
from automl_plugins.search.memory_check import check_memory
from automl_plugins.search.options import SearchOptions
from automl_plugins.search.outcome import Outcome
from automl_plugins.search.progress import SearchProgress
from automl_plugins.search.rate import rate_for
from automl_plugins.search.resuming import count_epoch, restore_randomness, warn_of_a_beginning
from automl_plugins.search.source import SearchSource
from automl_plugins.search.step import Moment, StepMaker, draw, past_the_end, share_done
from automl_plugins.search.user_step import UserStep
from automl_plugins.search.validation import ValidationView
from automl_plugins.search.weight_step import WeightStep, has_a_say
from automl_plugins.strategies import SearchStep, Strategy, composition
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.system.formats import stamp, unstamped
from automl_plugins.system.randomness import random_state

_LOOKS = 16
"""After how many steps a GPU, or other processes, are waited for to look at losses."""


class SearchRun:
    """One fit of a search, from `setup` to the end: what it has made, and where it is.

    Args:
        trainer: the Trainer.
        module: the LightningModule.
        searchables: what is searched, by name; their logits are taken over.
        strategy: how.
        decoder: reads the architecture off in the end.
        options: the plain arguments.
        source: of the search data.
    """

    def __init__(
        self,
        trainer: Any,
        module: Any,
        searchables: Mapping[str, Searchable],
        strategy: Strategy,
        decoder: Decoder,
        options: SearchOptions,
        source: SearchSource,
    ) -> None:
        self._trainer, self._module = trainer, module
        self.searchables, self.strategy, self.options, self._source = searchables, strategy, options, source
        self.planned_epochs = -1 if trainer.max_epochs is None else trainer.max_epochs
        self.steps = self.ended_epochs = 0
        """Optimizer steps of the weights, and epochs, so far."""
        self.share = 0.0
        """Of the search that was done at the beginning of the present step."""
        self.between_epochs = self.decoded = False
        self.learner: LogitsLearner | None = None
        self.maker = StepMaker(trainer, module, searchables, options.seed)
        self._decoder = decoder
        self.outcome = Outcome(searchables, strategy, decoder, options.path)
        self.validation = ValidationView(searchables.values())
        self.weights = WeightStep(strategy, trainer, module)
        self.progress = SearchProgress()
        writes = strategy.learns_logits and trainer.is_global_zero
        self._history = LogitsHistory(Path(options.path).with_name(NAME) if options.path and writes else None)
        self.watch = CollapseWatch(options.collapse)
        self.pending: Mapping[str, Any] | None = None
        """The state in the checkpoint from which the search goes on, until it does."""
        self._unchecked_limit = options.memory_limit
        self._divergence: DivergenceWatch | None = None
        self._step: SearchStep | None = None
        self._provenance: dict[str, Any] = {}
        for searchable in searchables.values():
            searchable.logits.requires_grad_(False)
            searchable.logits.grad = None
            searchable.draws_by_itself = False

    # Before the first step.

    def begin_fit(self) -> None:
        """Make what needs the Trainer's optimizers and processes, and take up the state of a checkpoint."""
        trainer, device = self._trainer, self._trainer.strategy.root_device
        scaler = torch.amp.GradScaler(device.type) if trainer.precision == "16-mixed" else None
        self.learner = LogitsLearner(
            self._module, self.searchables, self.strategy, self.options.of_optimizer, scaler, trainer.world_size
        )
        self._divergence = DivergenceWatch(device, trainer.world_size, trainer.scaler is not None)
        self._agree()
        settings = {**self.options.of_result, **self._source.settings}
        if self._decoder is not self.strategy.decoder:
            settings["decoder"] = self._decoder
        self._provenance["settings"] = provenance.of_settings(
            trainer, self._module, self.searchables, self.strategy, settings
        )
        if self.pending is not None:
            self._take_up(self.pending, device)
        elif trainer.ckpt_path is not None:
            warn_of_a_beginning(trainer.ckpt_path)

    def _agree(self) -> None:
        """Have all ranks begin with the first one's logits, and remember them."""
        if self._trainer.world_size > 1:
            ranks.copy_from_first(self.outcome.tensors)
        self.outcome.remember()
        self.watch.remember(self.searchables)

    def _take_up(self, state: Mapping[str, Any], device: torch.device) -> None:
        state = unstamped(state, "the checkpoint of a search")
        self.present_learner.load_state_dict(state["learner"])
        if "provenance" in state:
            provenance.check_settings(state["provenance"]["settings"], self._provenance["settings"])
        self.steps, self.ended_epochs = state["steps"], state["ended_epochs"]
        self.share = state.get("share", 0.0)
        self.watch.healthy = [tensor.to(device) for tensor in state["healthy"]]
        remembered = {name: state.get(name, []) for name in ("regularizers", "stops")}
        remembered["strategy"] = state.get("strategy", {})
        moved = torch.utils._pytree.tree_map_only(Tensor, lambda each: each.to(device), remembered)
        composition.load_state(self.strategy, moved)
        if state["between_epochs"]:
            # Lightning goes on to make the epoch's iterator, which draws.
            restore_randomness(state["random"], self._trainer)

    def begin_training(self) -> None:
        """Open the search data, and begin, or go on."""
        trainer, state = self._trainer, self.pending
        check_warmup(trainer, self.options.warmup_epochs if self.strategy.learns_logits else 0)
        loader = self._source.loader(trainer) if self.strategy.uses_search_data else None
        self._provenance["data"] = provenance.of_data(trainer, loader)
        if state is not None and "provenance" in state:
            provenance.check_data(state["provenance"]["data"], self._provenance["data"])
        if loader is not None:
            self.maker.batches = SearchBatches(loader, self.options.seed, trainer.global_rank, trainer.world_size)
        if state is None:
            self._set_rate()
            composition.begin(self.strategy, self.maker.between(Moment.BEGINNING, 0, 0.0, self.steps))
            self._agree()
        self._history.begin(self.searchables, self.ended_epochs)
        if state is not None:
            self._go_on(state)
            report.line(
                f"the search goes on after {self.ended_epochs} whole epoch(s) and {self.steps:,} steps; weights, "
                "logits and optimizers are kept"
            )
        self.progress.start(trainer)

    def _set_rate(self) -> None:
        """Choose the logits' learning rate where none was given, once the loaders are made, which tell the steps."""
        if self.options.learning_rate is not None or not self.strategy.learns_logits:
            return
        rate = self.strategy.learning_rate or rate_for(self._trainer, self.options.warmup_epochs)
        self.present_learner.set_rate(rate)
        report.line(f"the logits' learning rate is {rate:.2g}, since none was given; `learning_rate` sets another")

    def _go_on(self, state: Mapping[str, Any]) -> None:
        if self.maker.batches is not None and state["batches"] is not None:
            self.maker.batches.load_state_dict(state["batches"])
        if not state["between_epochs"]:
            # The iterator of an epoch that has begun drew before the state was taken.
            restore_randomness(state["random"], self._trainer)
        self.pending = None
        last = self._trainer.current_epoch - 1
        if self.ended_epochs <= last and not past_the_end(last, self.planned_epochs):
            # The checkpoint was of an epoch's last batch: Lightning leaves out the end of that epoch.
            self.end_epoch(last)

    # Steps.

    def begin_batch(self, batch: Any, batch_idx: int) -> None:
        """Take the step of the architecture, and set the gates and the loss for that of the weights."""
        self.between_epochs = False
        count_epoch(self._trainer)
        if past_the_end(self._trainer.current_epoch, self.planned_epochs):
            self.outcome.put_back()
            return
        if batch_idx % self._trainer.accumulate_grad_batches == 0:
            self._take_step(batch, batch_idx)
        if self._step is None:  # the checkpoint was of a batch before the last one of an accumulated step
            user = UserStep(self._trainer, self._module)
            self._step = self.maker.on_batch(user, batch, batch_idx, self.share, self.steps)
        self.weights.take_over(self._step, batch_idx)

    def _take_step(self, batch: Any, batch_idx: int) -> None:
        within = batch_idx / max(self._trainer.num_training_batches, 1)
        self.share = self._share(self._trainer.current_epoch + within)
        for searchable in self.searchables.values():
            searchable.use_gates(None)
            self.strategy.schedule(searchable.relaxation, self.share)
        user = UserStep(self._trainer, self._module)
        if self._unchecked_limit is not None:
            self._check_memory(self._unchecked_limit, user, batch, batch_idx)
            self._unchecked_limit = None  # asked once, before the first batch
        with user.isolated(self.options.seed, self.steps):
            step = self._step = self.maker.on_batch(user, batch, batch_idx, self.share, self.steps)
            draw(self.searchables.values())
            if self.strategy.learns_logits and step.epoch >= self.options.warmup_epochs:
                self.present_learner.step(lambda: composition.loss_of_logits(self.strategy, step))
                if not self.strategy.shares_draw:
                    draw(self.searchables.values())
            for name, held in composition.gates_of_weights(self.strategy, step).items():
                self.searchables[name].use_gates(held)
        self.steps += 1

    def _check_memory(self, limit: int, user: UserStep, batch: Any, batch_idx: int) -> None:
        report.line("search: estimating the memory of a step, within memory_limit")
        with user.isolated(self.options.seed, self.steps):
            step = self.maker.on_batch(user, batch, batch_idx, self.share, self.steps)
            check_memory(limit, user, batch, self.present_learner, self.strategy, step)

    def close_step(self, outputs: Any, batch_idx: int) -> None:
        """Take note of a step's loss, and stop where one was not finite.

        Args:
            outputs: of the user's `training_step`.
            batch_idx: its place in the epoch.
        """
        self.weights.give_back()
        # From a checkpoint of an epoch's last batch Lightning goes on with the next epoch, and leaves out validation.
        self.between_epochs = self._trainer.is_last_batch
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        self.progress.step(self._trainer, loss, batch_idx)
        if self._divergence is not None:
            self._divergence.saw(loss, self._trainer.global_step)
            if self._divergence.looks_at_each_step or batch_idx % _LOOKS == _LOOKS - 1:
                self.stop_if(self._divergence.of_losses())

    def begin_validation(self) -> None:
        """Show validation what the weights are trained for.

        Raises:
            DivergedError: the logits stand for no architecture.
        """
        # From a checkpoint of a validation it goes on in the same epoch, even where no batch is left.
        self.between_epochs = False
        drawn = any(searchable.relaxation.single_path for searchable in self.searchables.values())
        try:
            self.validation.open(drawn or self.strategy.single_path(self.share))
        except DivergedError as error:
            self.stop_if(error.reason)

    def end_validation(self, trainer: Any) -> None:
        """Show training the search again.

        Args:
            trainer: the one that validates, which may be another than that of the fit.

        Raises:
            DivergedError: a result of the validation is not finite.
        """
        self.validation.close()
        self.stop_if(self.validation.divergence(trainer))

    # Between epochs.

    def close_epoch(self, epoch: int) -> None:
        """Stop where something was not finite or differs between ranks; else let the strategy end the epoch, and tell.

        Raises:
            RuntimeError: the logits, or what the strategy remembers, differ between ranks.
            DivergedError: a loss, a weight or a logit is not finite.
        """
        over = past_the_end(epoch, self.planned_epochs)
        if not over:
            self._check_epoch()
        self.between_epochs, self.ended_epochs = True, epoch + 1
        if over:
            return
        self._check_ranks()
        self.end_epoch(epoch)
        values = {**report.measures(self.searchables), **composition.figures(self.strategy)}
        report.log_measures(self._trainer, self._module, values)
        self.progress.epoch(self._trainer, values)
        if self.outcome.decodes_as_it_goes:
            report.tell_architectures(self._trainer, self.outcome.architectures())
            self.outcome.write(self._trainer)

    def end_epoch(self, epoch: int) -> None:
        """Have the strategy change the searchables, and look for a collapse."""
        moment = Moment.END_OF_EPOCH, epoch, self._share(epoch + 1), self.steps
        self.strategy.end_epoch(self.maker.between(*moment))
        reason = composition.reason_to_stop(self.strategy, self.maker.between(*moment, looks=True))
        if reason is not None:
            self._trainer.should_stop = True
            report.line(f"search stopped after epoch {epoch}: {reason}")
        if self.watch.stops(self.searchables):
            self._trainer.should_stop = True
            report.line(
                f"search stopped after epoch {epoch}: options without weights are preferred in "
                f"{self.watch.share:.0%} or more of the choices; the logits are those of the last epoch before that"
            )
        self.outcome.remember()
        self._history.add(self.searchables, epoch)

    def _check_epoch(self) -> None:
        if self._divergence is not None:
            # A strategy may leave the weights' steps out, and manual optimization need not return a loss.
            if self._divergence.saw_no_loss and self._module.automatic_optimization and not has_a_say(self.strategy):
                raise ValueError(
                    f"{type(self._module).__name__}.training_step returned no loss in a whole epoch, so nothing was "
                    "searched; return the loss"
                )
            found = self._divergence.of_epoch(self._module, self.outcome.logits, self._trainer.global_step)
            self.stop_if(found or self.present_learner.divergence)

    def _check_ranks(self) -> None:
        if self._trainer.world_size > 1:
            device = self._trainer.strategy.root_device
            ranks.check_equal(self.outcome.tensors, device)
            ranks.check_state(self.strategy, device)

    def stop_if(self, reason: str | None) -> None:
        """Leave a search that has diverged, with the logits of the last epoch that had not.

        Raises:
            DivergedError: there is a reason.
        """
        if reason is not None:
            self.outcome.put_back()
            epochs = self.ended_epochs
            found = self.outcome.architectures() if epochs > 0 and self.outcome.decodes_as_it_goes else {}
            raise diverged(reason, epochs, found)

    def conclude(self) -> None:
        """Decode, and set the logits so that `derive` gives what was found."""
        self.decoded = True
        self.outcome.put_back()
        for searchable in self.searchables.values():
            searchable.use_gates(None)
        try:
            self.outcome.conclude(self._trainer, self.maker.evaluation(), self.progress.seconds)
        except DivergedError as error:
            self.stop_if(error.reason)

    def release(self) -> None:
        """Make the searchables ordinary modules again. They keep their relaxation: the logits were learned with it."""
        self._step = None  # and its batches
        if self.maker.batches is not None:
            self.maker.batches.close()
        self.weights.give_back()
        self.validation.close()
        for searchable in self.searchables.values():
            searchable.use_gates(None)
            searchable.logits.requires_grad_(True)
            searchable.draws_by_itself = True

    # State.

    def state_dict(self) -> dict[str, Any]:
        """All but the logits, which are the module's; Lightning asks for it on all ranks at once."""
        if self.learner is None:
            return {}
        device, batches = next(iter(self.searchables.values())).logits.device, self.maker.batches
        return {
            **stamp(),
            "steps": self.steps,
            "share": self.share,
            "learner": self.learner.state_dict(),
            "batches": None if batches is None else batches.state_dict(),
            "between_epochs": self.between_epochs,
            "ended_epochs": self.ended_epochs,
            "healthy": self.watch.healthy,
            **composition.state_of(self.strategy),
            "provenance": self._provenance,
            "random": ranks.of_all(random_state(device), self.learner.world_size),
        }

    @property
    def present_learner(self) -> LogitsLearner:
        """The learner, once the fit has begun."""
        if self.learner is None:
            raise RuntimeError("a step of the architecture was asked for outside of a fit")
        return self.learner

    def _share(self, epochs: float) -> float:
        return share_done(self._trainer, epochs, self.planned_epochs, self.options.warmup_epochs)
