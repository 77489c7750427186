"""Stop a trial's training early where the study's pruner says so."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import torch

from automl_plugins.studies.storage import open_storage
from automl_plugins.training.best_validation import BestValidation, monitored
from automl_plugins.training.lightning import pl

if TYPE_CHECKING:
    import optuna


class TrialPruning(pl.Callback):
    """Report a trial's validation metric to its study, and stop the training when the pruner asks for it.

    The pruner's steps are validations, counted from 0: epochs where there is one in each.

    Rank 0 reports and asks, and all ranks hear the verdict, so that none waits for another. It
    opens the storage itself in the process that it runs in: with `ddp_spawn` and `ddp_fork` that
    is not the process that started the trial. (optuna-integration's callback needs the other
    Lightning distribution.)

    Args:
        monitor: the validation metric.
        trial: the running trial.
        storage: its study's storage, see `automl_plugins.studies.storage.open_storage`.
        pruner: its study's pruner; a storage does not remember it.
    """

    def __init__(self, monitor: str, trial: optuna.Trial, storage: str, pruner: optuna.pruners.BasePruner) -> None:
        self.monitor = monitor
        self.storage = storage
        self.pruner = pruner
        self.study_name = trial.study.study_name
        self.number = trial.number
        self._trial: optuna.Trial | None = trial
        self._process = os.getpid()
        self._validations = 0
        # In shared memory, so that the verdict comes back from the processes that train.
        self._verdict = torch.zeros(1, dtype=torch.bool).share_memory_()

    @property
    def pruned(self) -> bool:
        """True where the pruner stopped the training."""
        return bool(self._verdict)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_trial": None}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        verdict = False
        value = monitored(trainer, self.monitor)
        step, self._validations = self._validations, self._validations + 1
        callbacks: list[pl.Callback] = getattr(trainer, "callbacks", [])
        numbers = all(each.gives_numbers for each in callbacks if isinstance(each, BestValidation))
        if trainer.is_global_zero and math.isfinite(value) and numbers:
            trial = self._trial_here()
            trial.report(value, step=step)
            verdict = bool(trial.should_prune())
            self._verdict[0] = verdict
        if trainer.strategy.broadcast(verdict):
            trainer.should_stop = True

    def _trial_here(self) -> optuna.Trial:
        """The trial, through a storage of this process's own."""
        import optuna

        if self._trial is None or self._process != os.getpid():
            study = optuna.load_study(
                study_name=self.study_name,
                storage=open_storage(self.storage, wait=True),
                # The trial has its parameters; no other sampler draws none again when it is opened.
                sampler=optuna.samplers.RandomSampler(),
                pruner=self.pruner,
            )
            trial_id = study.get_trials(deepcopy=False)[self.number]._trial_id
            self._trial, self._process = optuna.Trial(study, trial_id), os.getpid()
        return self._trial
