"""The LightningModules of whole images: scores worked out by hand, refusals, and trainings on generated images."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from automl_plugins import Task, registry
from automl_plugins.training.data.batches import FixedBatches
from automl_plugins.training.fit import LEAN
from automl_plugins.training.lightning import pl
from seg_space import AutoDeepLabSpace, ImageClassification, ImageRegression
from seg_space.modules.images import ImageModule

CLASSES = Task("image", "classes", in_channels=3, out_channels=3)
BINARY = Task("image", "binary", in_channels=1, out_channels=1)
LABELS = Task("image", "multilabel", in_channels=2, out_channels=2)
VALUES = Task("image", "regression", in_channels=2, out_channels=2)
TASKS = [CLASSES, BINARY, LABELS, VALUES]
NAN = math.nan


class Means(nn.Module):
    """The mean of each channel, times a weight that begins at one: a test writes outputs down as images of a pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        return self.weight * images.mean(dim=(2, 3))


def outputs(rows: list[list[float]]) -> Tensor:
    """Images of which `Means` makes these rows."""
    return torch.tensor(rows)[:, :, None, None].expand(-1, -1, 4, 5)


def module_of(task: Task, network: nn.Module | None = None, **arguments: Any) -> ImageModule:
    return registry.load("modules", f"image-{task.target}")(network or Means(), task, **arguments)


def validated(module: pl.LightningModule, *batches: tuple[Tensor, Any], **attributes: Any) -> dict[str, float]:
    data = pl.LightningDataModule()
    data.val_dataloader = lambda: FixedBatches([(images, torch.tensor(targets)) for images, targets in batches])
    vars(data).update(attributes)
    (metrics,) = pl.Trainer(**LEAN).validate(module, data, verbose=False)
    return dict(metrics)


# Scores.


def test_classes_are_judged_by_the_share_that_is_right_in_the_whole_epoch() -> None:
    module = module_of(CLASSES)
    assert (module.monitor, module.direction) == ("val_accuracy", "maximize")
    rows = outputs([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    found = validated(module, (rows, [0, 1, 0]), (rows[:1], [0]))
    assert found["val_accuracy"] == pytest.approx(3 / 4)
    # The mean over all images, not over batches.
    losses = nn.functional.cross_entropy(Means()(rows[[0, 1, 2, 0]]), torch.tensor([0, 1, 0, 0]))
    assert found["val_loss"] == pytest.approx(losses.item())


def test_labels_are_judged_by_the_mean_of_their_areas_without_unknown_ones() -> None:
    module = module_of(LABELS)
    assert (module.monitor, module.direction) == ("val_auroc", "maximize")
    rows = outputs([[3.0, -1.0], [2.0, 5.0], [1.0, 2.0], [-5.0, 0.0]])
    found = validated(module, (rows, [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [NAN, 1.0]]))
    assert found["val_auroc"] == pytest.approx((1 / 2 + 3 / 4) / 2)


def test_yes_or_no_may_be_a_number_or_a_row_of_one() -> None:
    rows = outputs([[2.0], [-1.0], [1.0]])
    for targets in ([1, 0, 0], [[1.0], [0.0], [0.0]]):
        found = validated(module_of(BINARY), (rows, targets))
        assert found["val_auroc"] == 1.0
        assert found["val_accuracy"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(("loss", "monitor"), [("squared", "val_nrmse"), ("absolute", "val_nmae")])
def test_real_values_are_learned_standardised_and_judged_in_their_own_units(loss: str, monitor: str) -> None:
    module = module_of(VALUES, loss=loss)
    assert (module.monitor, module.direction) == (monitor, "minimize")
    module.mean.copy_(torch.tensor([10.0, -1.0]))
    module.scale.copy_(torch.tensor([2.0, 4.0]))
    images = outputs([[1.0, 0.0], [0.0, 1.0]])
    assert module(images).tolist() == [[12.0, -1.0], [10.0, 3.0]]
    found = validated(module, (images, [[12.0, 3.0], [14.0, NAN]]))
    # The first value is wrong by 0 and 4 of its unit, 2 of which are its deviation; the second by 4, its deviation.
    assert found["val_nrmse"] == pytest.approx(math.sqrt(((0 + 16) / 2 / 2**2 + 16 / 4**2) / 2))
    assert found["val_nmae"] == pytest.approx(((0 + 4) / 2 / 2 + 4 / 4) / 2)
    assert found["val_loss"] == pytest.approx((0 + 1 + 4) / 3 if loss == "squared" else (0 + 1 + 2) / 3)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.target)
@pytest.mark.parametrize("value", [NAN, math.inf])
def test_a_network_that_has_diverged_has_no_score(task: Task, value: float) -> None:
    good, bad = torch.zeros(2, task.out_channels, 4, 5), torch.full((2, task.out_channels, 4, 5), value)
    targets = [0, 1] if task.target in ("classes", "binary") else [[0.0, 1.0], [1.0, 0.0]]
    module = module_of(task)
    for batches in ((good, bad), (bad, good)):
        found = validated(module, *((images, targets) for images in batches))
        assert math.isnan(found[module.monitor])
        assert math.isnan(found["val_loss"])


# Refusals.


@pytest.mark.parametrize(
    ("task", "targets", "complaint"),
    [
        (CLASSES, [0, 3], "a class is a whole number from 0 to 2; a batch holds 3"),
        (CLASSES, [0.0, 0.5], "a class is a whole number from 0 to 2; a batch holds 0.5"),
        (CLASSES, [[1, 0, 0], [0, 1, 0]], "shape .*; give the number of its class for each image"),
        (BINARY, [0, 2], "a binary target is 0, 1, or nan where it is not known; a batch holds 2"),
        (LABELS, [1, 0], r"targets are of shape \[2, 2\]; these are of shape \[2\]"),
        (VALUES, [[0.0, math.inf], [0.0, 1.0]], "a target is a finite number"),
    ],
)
def test_targets_that_are_none_of_the_tasks_are_refused(task: Task, targets: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        validated(module_of(task), (torch.zeros(2, task.out_channels, 4, 5), targets))


def test_a_network_of_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"outputs of shape \[2, 3, 4, 5\] for 2 images; it has to give .* \[2, 3\]"):
        validated(module_of(CLASSES, nn.Identity()), (torch.zeros(2, 3, 4, 5), [0, 1]))


def test_modules_refuse_tasks_of_others() -> None:
    with pytest.raises(ValueError, match="ImageClassification needs a target of classes; the task's is 'regression'"):
        ImageClassification(Means(), VALUES)
    with pytest.raises(ValueError, match="ImageRegression needs a target of real values; the task's is 'classes'"):
        ImageRegression(Means(), CLASSES)
    with pytest.raises(ValueError, match="ImageClassification trains image-level tasks; the task is of level 'pixel'"):
        ImageClassification(Means(), Task("pixel", "classes", 3, 3))
    with pytest.raises(ValueError, match="loss is squared or absolute; got 'huber'"):
        ImageRegression(Means(), VALUES, loss="huber")


# Whole trainings.


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.target)
@pytest.mark.filterwarnings("ignore:val_nrmse takes the errors of 2 targets together")  # loaders tell no statistics
def test_a_found_network_learns_from_images(task: Task) -> None:
    generator = torch.Generator().manual_seed(0)
    bright = torch.randint(2, (24, task.in_channels), generator=generator).float()
    images = bright[:, :, None, None] + 0.3 * torch.randn(24, task.in_channels, 8, 8, generator=generator)
    targets = {
        "classes": bright.sum(dim=1).clamp(max=2).long(),
        "binary": bright[:, 0],
        "multilabel": bright[:, : task.out_channels],
        "regression": bright[:, : task.out_channels],
    }[task.target]
    loader = DataLoader(TensorDataset(images, targets), batch_size=8)
    torch.manual_seed(0)
    space = AutoDeepLabSpace(layers=2, blocks=1, filters=4, stem=(8,), stem_stride=1)
    module = module_of(task, space.network(space.sample(generator), task), learning_rate=0.02)
    trainer = pl.Trainer(**{**LEAN, "max_epochs": 15})
    (before,) = trainer.validate(module, loader, verbose=False)
    trainer.fit(module, loader, loader)
    (after,) = trainer.validate(module, loader, verbose=False)
    assert after["val_loss"] < 0.7 * before["val_loss"]
    predictions = torch.cat(trainer.predict(module, loader))
    assert predictions.shape == (24, task.out_channels)
