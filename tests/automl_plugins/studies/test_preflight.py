"""What is wrong with a study is said before its first trial, and leaves nothing behind."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from perceptron_space.data import WavesData
from perceptron_space.module import PixelRegression
from perceptron_space.space import PerceptronSpace
from pytorch_lightning.callbacks import EarlyStopping, RichProgressBar
from torch import Tensor, nn
from torch.utils.data import DataLoader

from automl_plugins import Task
from automl_plugins.errors import StudyError
from automl_plugins.studies.preflight import Preflight
from automl_plugins.studies.study import Study
from automl_plugins.training.trainer_options import check_validates
from gnn_space import AGNNSpace, EGNASSpace, NodeClassification
from gnn_space.data import ClusterData
from seg_space import AutoDeepLabSpace, SmpSpace

MakeStudy = Callable[..., Study]


class NoTestStep(PixelRegression):
    test_step = pl.LightningModule.test_step


class SilentTest(PixelRegression):
    def test_step(self, batch: Any, batch_index: int) -> None:
        pass

    def on_test_epoch_end(self) -> None:
        pass


class Fails(PixelRegression):
    """Raises in one of its steps, with every network."""

    where = ""

    def _step(self, name: str) -> None:
        if self.where == name:
            raise ArithmeticError(f"{name} is broken")

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        self._step("training_step")
        return super().training_step(batch, batch_index)

    def validation_step(self, batch: Any, batch_index: int) -> None:
        self._step("validation_step")
        super().validation_step(batch, batch_index)

    def test_step(self, batch: Any, batch_index: int) -> None:
        self._step("test_step")
        super().test_step(batch, batch_index)

    def configure_optimizers(self) -> Any:
        self._step("configure_optimizers")
        return super().configure_optimizers()


class FailsInTraining(Fails):
    where = "training_step"


class FailsInValidation(Fails):
    where = "validation_step"


class FailsInTest(Fails):
    where = "test_step"


class FailsToOptimize(Fails):
    where = "configure_optimizers"


class InfiniteRate(PixelRegression):
    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=float("inf"))


class NoValidation(WavesData):
    val_dataloader = pl.LightningDataModule.val_dataloader


class NoTest(WavesData):
    test_dataloader = pl.LightningDataModule.test_dataloader


class NanData(WavesData):
    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        for part in self.parts:
            part.tensors[0].fill_(float("nan"))


def not_a_module(network: nn.Module, task: Task) -> nn.Module:
    return network


REFUSALS = {
    "no test step": ({"module": NoTestStep}, "WavesData has test data, but NoTestStep has no test_step: give it one"),
    "a silent test": ({"module": SilentTest}, "SilentTest.test_step logs no metric"),
    "no validation": ({"data": NoValidation()}, "NoValidation has no val_dataloader; a study selects by validation"),
    "training": (
        {"module": FailsInTraining},
        r"training on one batch fails with a network: ArithmeticError: training_s",
    ),
    "validation": ({"module": FailsInValidation}, "validation on one batch fails with a network: ArithmeticError"),
    "test": (
        {"module": FailsInTest},
        "the test on one batch fails with a network: ArithmeticError: test_step is broken",
    ),
    "optimizer": ({"module": FailsToOptimize}, "ArithmeticError: configure_optimizers is broken"),
    "not a module": ({"module": not_a_module, "monitor": "m", "direction": "minimize"}, "which is no LightningModule"),
    "nan data": ({"data": NanData()}, "the loss is not finite after one training batch .*so with all of 8 random arch"),
    "infinite rate": ({"module": InfiniteRate}, r"the weights \S+ are not finite after one training batch"),
    "monitor": (
        {"monitor": "val_los"},
        "monitor='val_los': PixelRegression logs no such metric.* did you mean 'val_loss'",
    ),
    "reference": ({"references": ["gcn"]}, "the reference 'gcn'.*for the levels edge, graph, node"),
    "callback": (
        {"trainer": {"max_epochs": 1, "callbacks": [EarlyStopping("val_los")]}},
        "EarlyStopping monitors 'val_los', which PixelRegression does not log; did you mean 'val_loss'",
    ),
    "no progress bar": (
        {"trainer": {"max_epochs": 1, "callbacks": [RichProgressBar()]}},
        "trainer: Lightning refuses these arguments: .*enable_progress_bar=False",
    ),
    "never validates": (
        {"trainer": {"max_epochs": 2, "check_val_every_n_epoch": 3}},
        "check_val_every_n_epoch=3: a training has 2 epoch.s., so it would end without a validation",
    ),
    "too few steps": ({"trainer": {"max_steps": 1}}, "max_steps=1: the first validation comes after 2 steps"),
    "no validation batches": ({"trainer": {"max_epochs": 1, "limit_val_batches": 0}}, "trainer.limit_val_batches=0"),
    "cap": ({"space": PerceptronSpace(max_parameters=1)}, "max_parameters=1 admits no network"),
    "reward": (
        {"reward": {"class_path": "monas-mixed", "cost": "params", "most": 1e4}},
        "reward: it takes a metric of which more is better",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_comes_before_anything_and_the_mended_study_runs(case: str, make_study: MakeStudy) -> None:
    given, message = REFUSALS[case]
    study = make_study(**given)
    states = random.getstate(), torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    with pytest.raises(StudyError, match=message) as refusal:
        study.run()
    assert "\n" not in str(refusal.value)
    assert not study.folder.path.exists()
    assert states[0] == random.getstate()
    assert states[1].equal(torch.get_rng_state())
    assert states[2] == np.random.get_state()[1].tolist()  # noqa: NPY002
    make_study().prepare()


def test_some_architectures_that_cannot_be_trained_are_for_trials_to_find(make_study: MakeStudy) -> None:
    class ReluFails(PixelRegression):
        def training_step(self, batch: Any, batch_index: int) -> Tensor:
            if any(isinstance(part, nn.ReLU) for part in self.network.modules()):
                raise ArithmeticError("relu is broken")
            return super().training_step(batch, batch_index)

    for seed in range(3):
        make_study(module=ReluFails, seed=seed).prepare()


def test_a_score_that_needs_more_than_one_batch_is_tried_on_all(make_study: MakeStudy) -> None:
    class NeedsTwo(PixelRegression):
        batches = 0

        def validation_step(self, batch: Any, batch_index: int) -> None:
            self.batches += 1
            super().validation_step(batch, batch_index)

        def on_validation_epoch_end(self) -> None:
            if self.batches < 2:
                raise ValueError("only one class present")
            super().on_validation_epoch_end()

    make_study(module=NeedsTwo, data=WavesData(batch_size=4)).prepare()
    with pytest.raises(StudyError, match=r"validation fails with a network: ValueError: only one class present"):
        make_study(module=NeedsTwo, data=WavesData(batch_size=8)).prepare()


def test_nothing_is_left_of_it(make_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study whose loaders draw from a generator of their own ends as if nothing had been tried."""

    class Drawn(WavesData):
        def __init__(self) -> None:
            super().__init__()
            self.generator = torch.Generator().manual_seed(3)
            self.trainer = None

        def train_dataloader(self) -> DataLoader[Any]:
            return DataLoader(self.parts[0], batch_size=4, shuffle=True, generator=self.generator)

    monkeypatch.chdir(tmp_path)
    data = Drawn()
    before = data.generator.get_state()
    make_study(data=data, trainer={"max_epochs": 1, "logger": pl.loggers.CSVLogger(tmp_path)}).prepare()
    assert data.generator.get_state().equal(before)
    assert data.trainer is None
    assert {"setup", "prepare_data"}.isdisjoint(vars(data))
    assert list(tmp_path.iterdir()) == []


def test_data_are_not_set_up_again_for_every_try(make_study: MakeStudy) -> None:
    class Slow(WavesData):
        calls = 0

        def setup(self, stage: str | None = None) -> None:
            type(self).calls += 1
            super().setup(stage)

    make_study(data=Slow()).prepare()
    assert Slow.calls == 2  # for training and for the test


@pytest.mark.parametrize("slow", [True, False])
def test_a_line_says_what_is_done_before_the_first_trial_where_that_takes_long(
    make_study: MakeStudy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, slow: bool
) -> None:
    told = []

    def look(preflight: Preflight, guard: object) -> None:
        time.sleep(0.3 if slow else 0)
        told.append(capsys.readouterr())
        raise StudyError("seen")

    monkeypatch.setattr("automl_plugins.report.notes.SLOW", 0.01 if slow else 60)

    monkeypatch.setattr(Preflight, "try_space", look)
    with pytest.raises(StudyError, match="seen"):
        make_study().prepare()
    line = "study: before the first training: counts limits and tries networks on one batch"
    assert (line in told[0].err.splitlines()) == slow
    assert told[0].out == ""


# Test data.


def test_without_test_data_the_table_has_validation_scores_alone(
    make_study: MakeStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_study(data=NoTest(), module=NoTestStep, trials=2)
    summary = study.run()
    assert "NoTest has no test_dataloader: the table has validation scores alone" in capsys.readouterr().err
    assert [dict(row.test) for row in summary.rows] == [{}]
    assert study.folder.architecture.exists()


def test_two_test_sets_are_both_in_the_table(make_study: MakeStudy) -> None:
    class Two(WavesData):
        def test_dataloader(self) -> list[DataLoader[Any]]:  # type: ignore[override]
            return [self._loader(1), self._loader(2)]

    class Each(PixelRegression):
        def test_step(self, batch: Any, batch_index: int, dataloader_idx: int = 0) -> None:
            self.log("test_error", nn.functional.mse_loss(self.network(batch[0]), batch[1]))

        def on_test_epoch_end(self) -> None:
            pass

    (row,) = make_study(data=Two(), module=Each, trials=1).run().rows
    assert set(row.test) == {"test_error/dataloader_idx_0", "test_error/dataloader_idx_1"}


# References.


def test_a_reference_that_nobody_asked_for_is_left_out_where_it_does_not_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A module that only knows networks of one kind cannot train the others."""

    class OnlyGcn(NodeClassification):
        def training_step(self, batch: Any, batch_index: int) -> Tensor:
            if type(self.network).__name__ not in ("GCN", "AGNNNetwork"):
                raise TypeError("not mine")
            return super().training_step(batch, batch_index)

    options = {"trials": 1, "seeds": 1, "trainer": {"max_epochs": 1, "accelerator": "cpu"}}
    study = Study(AGNNSpace(layers=1), ClusterData(3, 2, 2), tmp_path, module=OnlyGcn, **options)
    study.prepare()
    assert [contender.reference for contender in study.references] == ["gcn"]
    assert "leaves out the reference 'gin': training on one batch fails" in capsys.readouterr().err


# Real spaces.


@pytest.mark.parametrize(
    "space",
    [
        partial(AGNNSpace, layers=1),
        partial(EGNASSpace, cells=1, nodes=2, node_channels=8, edge_channels=4),
        partial(AutoDeepLabSpace, layers=2, blocks=1, filters=4),
        partial(SmpSpace, decoders=("Unet",), encoders=("resnet18",)),
    ],
    ids=["agnn", "egnas", "auto-deeplab", "smp"],
)
def test_a_wrong_monitor_is_known_at_once_on_every_space(
    space: Callable[..., Any], make_study: MakeStudy, tmp_path: Path
) -> None:
    made = space()
    if "pixel" in made.levels:
        data: Any = Images()
        given = {"module": PixelRegression, "data": data}
    else:
        given = {"module": NodeClassification, "data": ClusterData(3, 2, 2, batch_size=3)}
    make_study(space=made, **given).prepare()
    with pytest.raises(StudyError, match="monitor='val_nothing'"):
        make_study(space=made, monitor="val_nothing", **given).prepare()


class Images(WavesData):
    """Images that are large enough for encoders."""

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        for part in self.parts:
            part.tensors = tuple(tensor.repeat_interleave(8, -1).repeat_interleave(8, -2) for tensor in part.tensors)


# Trainer options.


@pytest.mark.parametrize(
    ("options", "batches"),
    [
        ({"max_epochs": 1}, 10),
        ({"max_steps": 10}, 10),
        ({"max_steps": 5, "val_check_interval": 0.5}, 10),
        ({"max_steps": 5, "val_check_interval": 5}, 10),
        ({"max_steps": 5, "accumulate_grad_batches": 2}, 10),
        ({"max_steps": 3, "limit_train_batches": 3}, 10),
        ({"max_epochs": 2, "check_val_every_n_epoch": 2}, 10),
        ({"max_epochs": 1, "check_val_every_n_epoch": None, "val_check_interval": 10}, 10),
        ({"max_steps": 1}, None),
        ({"fast_dev_run": True, "max_steps": 1}, 10),
    ],
    ids=str,
)
def test_a_training_that_validates_is_allowed(options: dict[str, Any], batches: int | None) -> None:
    check_validates(options, batches)


@pytest.mark.parametrize(
    ("options", "batches"),
    [
        ({"max_steps": 9}, 10),
        ({"max_steps": 4, "val_check_interval": 0.5}, 10),
        ({"max_steps": 2, "accumulate_grad_batches": 4}, 10),
        ({"max_steps": 19, "check_val_every_n_epoch": 2}, 10),
        ({"max_epochs": 1, "check_val_every_n_epoch": None, "val_check_interval": 11}, 10),
    ],
    ids=str,
)
def test_a_training_without_a_validation_is_refused(options: dict[str, Any], batches: int) -> None:
    with pytest.raises(ValueError, match="would end without"):
        check_validates(options, batches)
