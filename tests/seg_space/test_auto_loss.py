"""The loss `auto`: what the rule says of counts, what is computed, and that a datamodule is asked for them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from segmentation_models_pytorch.losses import LovaszLoss
from torch import Tensor, nn
from torch.utils.data import DataLoader

from automl_plugins import Task
from automl_plugins.training.fit import LEAN
from automl_plugins.training.lightning import pl
from seg_space import SemanticSegmentation
from seg_space.auto_loss import AutoLoss, loss_rule
from seg_space.data import BrainTemplateData
from seg_space.losses import PixelLoss

TASK = Task("pixel", "classes", in_channels=4, out_channels=4)
COUNTS = torch.tensor([[900, 90, 0, 10]])

pytestmark = pytest.mark.filterwarnings("ignore:(val|test)_miou is the mean over")


class Counted(pl.LightningDataModule):
    """One batch, and the counts of classes where there are any."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        vars(self).update(attributes)
        images = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
        self.batch = images, images.argmax(dim=1)

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader([(image, mask) for image, mask in zip(*self.batch, strict=True)], batch_size=2)

    val_dataloader = train_dataloader


# The rule, by numbers worked out by hand.


def test_classes_below_a_tenth_of_an_even_share_are_rare() -> None:
    # Three classes occur: an even share is a third, and a tenth of that 3.3 %. The median share is 9 %.
    rule = loss_rule(COUNTS, "classes")
    assert rule.rare == (3,)
    raw = torch.tensor([math.sqrt(0.09 / 0.9), 1.0, 1.0, math.sqrt(0.09 / 0.01)])
    mean = 0.9 * raw[0] + 0.09 * raw[1] + 0.01 * raw[3]
    torch.testing.assert_close(rule.weights, raw / mean)


def test_pixels_weigh_one_in_the_mean_and_no_class_ten_times_the_median() -> None:
    counts = torch.tensor([[1_000_000, 500_000, 10]])
    weights = loss_rule(counts, "classes").weights
    assert float((counts[0] / counts.sum() * weights).sum()) == pytest.approx(1.0)
    assert float(weights[2] / weights[1]) == pytest.approx(10.0)


def test_where_no_class_is_rare_all_weigh_one() -> None:
    assert loss_rule(torch.tensor([[60, 30, 10]]), "classes") == (pytest.approx(torch.ones(3)), ())


def test_a_yes_below_a_twentieth_is_rare() -> None:
    rule = loss_rule(torch.tensor([[96, 4], [80, 20], [100, 0]]), "multilabel")
    assert rule.rare == (0,)
    torch.testing.assert_close(rule.weights, torch.tensor([math.sqrt(24), 1.0, 1.0]))


# What is computed.


def batch(target: Any, channels: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    outputs = torch.randn(2, channels, 5, 5, generator=generator)
    shape = (2, channels, 5, 5) if target == "multilabel" else (2, 5, 5)
    targets = torch.randint(channels if target == "classes" else 2, shape, generator=generator)
    targets[0, ..., 0, :2] = 255
    return outputs, targets


@pytest.mark.parametrize(("target", "channels"), [("classes", 4), ("binary", 1), ("multilabel", 3)])
def test_without_rare_classes_it_is_cross_entropy(target: Any, channels: int) -> None:
    outputs, targets = batch(target, channels)
    loss = AutoLoss(target, channels, 255)
    even = torch.ones(1, channels) if target == "classes" else torch.ones(channels, 2)
    assert loss.settle(100 * even, [*map(str, range(channels))]).endswith("no class is rare")
    torch.testing.assert_close(loss(outputs, targets), PixelLoss("cross_entropy", target, 255)(outputs, targets))


def test_masks_without_a_pixel_that_counts_leave_cross_entropy() -> None:
    loss = AutoLoss("classes", 4, 255)
    assert loss.settle(torch.zeros(1, 4, dtype=torch.long), ["a", "b", "c", "d"]).endswith("training masks counts")
    assert loss.weights.tolist() == [1.0] * 4
    assert not loss.overlap


@pytest.mark.parametrize(
    "counts", [torch.ones(4), torch.ones(1, 3), torch.tensor([[1, -1, 2, 3]]), torch.full((1, 4), torch.nan)]
)
def test_counts_that_are_none_are_refused(counts: Tensor) -> None:
    with pytest.raises(ValueError, match=r"target_counts are numbers of pixels, \[1, 4\] of them for this task; got"):
        AutoLoss("classes", 4, 255).settle(counts, ["a", "b", "c", "d"])


def test_rare_classes_weigh_more_and_overlap_counts() -> None:
    outputs, targets = batch("classes", 4)
    loss = AutoLoss("classes", 4, 255)
    told = loss.settle(COUNTS, ["sky", "road", "car", "pole"])
    assert told.endswith("since few pixels are of: pole 1.00%")
    weights, known = loss_rule(COUNTS, "classes").weights, targets != 255
    each = nn.functional.cross_entropy(outputs, targets, ignore_index=255, reduction="none")
    expected = (each * weights[targets.clamp(max=3)])[known].mean()
    torch.testing.assert_close(
        loss(outputs, targets), expected + LovaszLoss("multiclass", ignore_index=255)(outputs, targets)
    )


@pytest.mark.parametrize(("target", "channels"), [("binary", 1), ("multilabel", 3)])
def test_a_rare_yes_weighs_more(target: Any, channels: int) -> None:
    outputs, targets = batch(target, channels)
    outputs.requires_grad_()
    loss = AutoLoss(target, channels, 255)
    loss.settle(torch.tensor([[99, 1]] * channels), [*map(str, range(channels))])
    loss(outputs, targets).backward()
    plain = PixelLoss("cross_entropy+lovasz", target, 255)
    assert float(loss(outputs, targets).detach()) > float(plain(outputs, targets).detach()) > 0
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()


def test_nothing_that_counts_is_no_loss() -> None:
    loss = AutoLoss("classes", 4, 255)
    loss.settle(COUNTS, list("abcd"))
    outputs = torch.randn(1, 4, 2, 2, requires_grad=True)
    loss(outputs, torch.full((1, 2, 2), 255)).backward()
    assert outputs.grad is not None
    assert not outputs.grad.any()


# In a training.


def make_module(loss: str = "auto") -> SemanticSegmentation:
    return SemanticSegmentation(nn.Conv2d(4, 4, 1), TASK, loss=loss)


def test_a_training_settles_it_and_keeps_it_in_the_checkpoint(tmp_path: Path) -> None:
    module = make_module()
    trainer = pl.Trainer(**LEAN, accelerator="cpu", max_epochs=1)
    trainer.fit(module, Counted(target_counts=COUNTS))
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    (there,) = trainer.validate(module, Counted(), verbose=False)
    again = make_module()
    (loaded,) = trainer.validate(again, Counted(), ckpt_path=tmp_path / "x.ckpt", weights_only=True, verbose=False)
    assert loaded["val_loss"] == pytest.approx(there["val_loss"])
    torch.testing.assert_close(again.loss.weights, loss_rule(COUNTS, "classes").weights)


def test_a_datamodule_without_counts_is_told_so_before_training() -> None:
    with pytest.raises(ValueError, match=r"loss='auto' needs a datamodule with target_counts") as caught:
        pl.Trainer(**LEAN, accelerator="cpu", max_epochs=1).fit(make_module(), Counted())
    assert "\n" not in str(caught.value)


def test_datamodules_of_ours_count_the_classes_of_their_masks() -> None:
    pytest.importorskip("nilearn")
    data = BrainTemplateData()
    data.setup("fit")
    masks = torch.stack([data.loaded.train.source.read(index)[1] for index in range(len(data.loaded.train))])
    assert torch.equal(data.target_counts, masks.flatten().long().bincount(minlength=4).unsqueeze(0))
