from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import pytorch_lightning as pl
from optuna.trial import TrialState
from perceptron_space.data import WavesData
from pytorch_lightning.strategies import DDPStrategy

from automl_plugins.studies.study import Study
from automl_plugins.training.best_validation import BestValidation


class NotTanh(optuna.pruners.BasePruner):
    """Stops the trials of one activation at their first report."""

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return trial.params["activation"] == "tanh"


class CountEpochs(pl.Callback):
    """Writes the epochs that each rank trained, one file for each training and rank."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        activation = type(pl_module.network[1]).__name__.lower()
        with (self.folder / f"{activation}-rank{trainer.global_rank}").open("a") as file:
            file.write(f"{trainer.current_epoch}\n")


def epochs(path: Path) -> set[str]:
    return set(path.read_text().split())


def test_a_pruner_stops_trials_and_they_count(make_study: Callable[..., Study]) -> None:
    trainer = {"max_epochs": 6, "accelerator": "cpu"}
    pruner = {"class_path": "MedianPruner", "init_args": {"n_startup_trials": 2, "n_warmup_steps": 1}}
    study = make_study(trials=12, sampler="RandomSampler", pruner=pruner, trainer=trainer)
    study.run()
    trials = study.arm_trials("search")
    assert len(trials) == 12
    stopped = [trial for trial in trials if trial.state is TrialState.PRUNED and "steps" in trial.user_attrs]
    completed = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    assert any(len(trial.intermediate_values) < 6 for trial in stopped)
    full = {trial.user_attrs["steps"] for trial in completed if "steps" in trial.user_attrs}
    assert full == {6 * 2}
    for trial in stopped:
        reported = len(trial.intermediate_values)
        assert 2 <= reported <= 6  # the last report may be the one too many
        assert trial.user_attrs["steps"] == 2 * reported


def test_the_pruner_hears_every_validation(make_study: Callable[..., Study]) -> None:
    study = make_study(trials=2, pruner="NopPruner", sampler="RandomSampler")
    study.run()
    assert all(not trial.intermediate_values for trial in study.arm_trials("search"))  # nobody listens: nothing is told
    study = make_study(folder=study.folder.path.with_name("other"), trials=2, pruner="MedianPruner")
    study.run()
    for trial in study.arm_trials("search"):
        assert list(trial.intermediate_values) == [0, 1]
        assert trial.value == min(trial.intermediate_values.values())


@pytest.mark.parametrize(
    ("often", "validations"),
    [({"val_check_interval": 0.5}, 4), ({"val_check_interval": 1, "check_val_every_n_epoch": None}, 4)],
    ids=["twice an epoch", "by steps"],
)
def test_the_pruner_hears_every_validation_of_an_epoch(
    make_study: Callable[..., Study], often: dict[str, object], validations: int
) -> None:
    study = make_study(trials=1, pruner="MedianPruner", trainer={"max_epochs": 2, "accelerator": "cpu", **often})
    study.run()
    (trial,) = study.arm_trials("search")
    assert list(trial.intermediate_values) == list(range(validations))
    assert trial.value == min(trial.intermediate_values.values())


@pytest.mark.filterwarnings("ignore:It is recommended to use `self.log")
def test_trials_of_two_processes_are_stopped_on_both(make_study: Callable[..., Study], tmp_path: Path) -> None:
    trainer = {
        "max_epochs": 3,
        "accelerator": "cpu",
        "devices": 2,
        "strategy": DDPStrategy(start_method="fork", process_group_backend="gloo"),
        "callbacks": [CountEpochs(tmp_path)],
    }
    study = make_study(
        trials=5, sampler="RandomSampler", pruner=NotTanh(), trainer=trainer, data=WavesData(batch_size=4)
    )
    study.run()
    trials = [trial for trial in study.arm_trials("search") if "copied_from" not in trial.user_attrs]
    outcomes = {trial.params["activation"]: trial for trial in trials}
    assert {name: trial.state for name, trial in outcomes.items()} == {
        "tanh": TrialState.PRUNED,
        "relu": TrialState.COMPLETE,
    }
    # 16 images in batches of 4 on 2 ranks: two steps an epoch.
    assert outcomes["tanh"].user_attrs["steps"] == 2
    assert outcomes["relu"].user_attrs["steps"] == 3 * 2
    assert outcomes["relu"].value == min(outcomes["relu"].intermediate_values.values())
    for rank in range(2):
        assert epochs(tmp_path / f"tanh-rank{rank}") == {"1"}
        # One epoch alone: where this network was the one that was tried on a batch before the first trial.
        assert {"3"} <= epochs(tmp_path / f"relu-rank{rank}") <= {"1", "3"}


def test_a_record_of_the_best_survives_pickling_to_another_process() -> None:
    best = BestValidation("val_loss", "minimize", keep_weights=False)
    assert best._record.is_shared()
