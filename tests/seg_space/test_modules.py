"""The LightningModules of pixels: scores and losses worked out by hand, and whole trainings on a few images.

Most tests use a network that hands its input on, so that the outputs are what a test writes down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from pytorch_lightning.strategies import DDPStrategy
from segmentation_models_pytorch.losses import DiceLoss, FocalLoss, JaccardLoss, LovaszLoss, TverskyLoss
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassJaccardIndex

from automl_plugins import Task
from automl_plugins.training import fit as training
from automl_plugins.training.data.batches import EvenShares, FixedBatches
from automl_plugins.training.fit import LEAN
from automl_plugins.training.lightning import pl
from seg_space import DenseRegression, SemanticSegmentation
from seg_space.losses import LOSSES, PixelLoss

CLASSES = Task("pixel", "classes", in_channels=4, out_channels=4)
BINARY = Task("pixel", "binary", in_channels=1, out_channels=1)
LABELS = Task("pixel", "multilabel", in_channels=2, out_channels=2)
VALUES = Task("pixel", "regression", in_channels=1, out_channels=1)
IGNORED = 255

Batch = tuple[Tensor, Tensor]

# Tiny sets lack classes.
pytestmark = pytest.mark.filterwarnings("ignore:(val|test)_miou is the mean over")


class Echo(nn.Module):
    """Its input is its output, times a weight that begins at one."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        return self.weight * images


class Tiny(pl.LightningDataModule):
    """Batches as they are, for every stage."""

    def __init__(self, batches: Any, task: Task, **attributes: Any) -> None:
        super().__init__()
        self.batches = FixedBatches(batches) if isinstance(batches, list) else batches
        self.task = task
        vars(self).update(attributes)

    def train_dataloader(self) -> Any:
        return self.batches

    def val_dataloader(self) -> Any:
        return self.batches

    def test_dataloader(self) -> Any:
        return self.batches


def predicting(found: Sequence[Sequence[int]], truth: Sequence[Sequence[int]], channels: int = 4) -> Batch:
    """One image whose pixels are found to be of the given classes."""
    logits = nn.functional.one_hot(torch.tensor(found), channels).permute(2, 0, 1).unsqueeze(0) * 5.0
    return logits, torch.tensor(truth).unsqueeze(0)


def validated(module: pl.LightningModule, batches: Any) -> dict[str, float]:
    (metrics,) = pl.Trainer(**LEAN).validate(module, Tiny(batches, module.task), verbose=False)
    return dict(metrics)


def loss_of(module: pl.LightningModule, batch: Batch) -> Tensor:
    return module._loss(*module._select(batch, module._outputs(batch), "val"))


# Scores.

# Class 0: 3 right, 1 missed. Class 1: 1 right, 1 missed, 2 falsely found. Class 2: absent, and not found.
# Class 3: absent, but found once, which counts against class 1. One pixel is ignored, whatever is found there.
FOUND = [[0, 0, 0, 1], [1, 3, 1, 2]]
TRUTH = [[0, 0, 0, 0], [1, 1, IGNORED, IGNORED]]
BY_HAND = {0: 3 / 4, 1: 1 / 3}


def test_the_score_is_the_mean_over_classes_that_occur_and_the_others_are_named() -> None:
    module = SemanticSegmentation(Echo(), CLASSES)
    with pytest.warns(UserWarning, match="val_miou is the mean over 2 of 4 classes; .* for 2, 3"):
        found = validated(module, [predicting(FOUND, TRUTH)])
    assert found["val_miou"] == pytest.approx(sum(BY_HAND.values()) / 2)
    assert found["val_pixel_accuracy"] == pytest.approx(4 / 6)


def test_the_score_is_of_the_whole_epoch_and_not_a_mean_over_batches() -> None:
    first, second = predicting([[0, 0]], [[0, 0]]), predicting([[0, 1]], [[1, 1]])
    found = validated(SemanticSegmentation(Echo(), CLASSES), [first, second])
    assert found["val_miou"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found["val_miou"] != pytest.approx((1.0 + (0.0 + 1 / 2) / 2) / 2), "what a mean over batches would be"


def test_a_test_gives_the_score_of_each_class_that_occurs_under_its_name() -> None:
    module = SemanticSegmentation(Echo(), CLASSES)
    batch, names = predicting(FOUND, TRUTH), ["sky", "road", "car", "tree"]
    (found,) = pl.Trainer(**LEAN).test(module, Tiny([batch], CLASSES, classes=names), verbose=False)
    by_class = {name: value for name, value in found.items() if "/" in name}
    assert by_class == pytest.approx({"test_iou/sky": BY_HAND[0], "test_iou/road": BY_HAND[1]})
    assert found["test_miou"] == pytest.approx(sum(BY_HAND.values()) / 2)
    (numbered,) = pl.Trainer(**LEAN).test(module, Tiny([batch], CLASSES), verbose=False)
    assert {name for name in numbered if "/" in name} == {"test_iou/0", "test_iou/1"}


def test_a_test_gives_the_score_of_each_label() -> None:
    logits = torch.tensor([[[[1.0, 1.0, -1.0]], [[1.0, -1.0, -1.0]]]])
    truth = torch.tensor([[[[1, 0, 1]], [[0, IGNORED, 0]]]])
    module = SemanticSegmentation(Echo(), LABELS)
    (found,) = pl.Trainer(**LEAN).test(module, Tiny([(logits, truth)], LABELS, classes=("wet", "old")), verbose=False)
    assert {name: value for name, value in found.items() if "/" in name} == pytest.approx({"test_iou/wet": 1 / 3})


def test_the_score_equals_torchmetrics_on_random_predictions() -> None:
    generator = torch.Generator().manual_seed(0)
    batches = [
        (torch.randn(2, 4, 5, 6, generator=generator), torch.randint(0, 4, (2, 5, 6), generator=generator))
        for _ in range(3)
    ]
    for _, masks in batches:
        masks[torch.rand(masks.shape, generator=generator) < 0.2] = IGNORED
    reference = MulticlassJaccardIndex(4, ignore_index=IGNORED)
    for logits, masks in batches:
        reference.update(logits, masks)
    found = validated(SemanticSegmentation(Echo(), CLASSES), batches)
    assert found["val_miou"] == pytest.approx(reference.compute().item(), rel=1e-6)


def test_a_binary_score_is_of_the_foreground() -> None:
    logits = torch.tensor([[[[2.0, -1.0, 0.5, -3.0, 9.0]]]])
    truth = torch.tensor([[[1, 1, 0, 0, IGNORED]]])
    for masks in (truth, truth.unsqueeze(1)):
        found = validated(SemanticSegmentation(Echo(), BINARY), [(logits, masks)])
        assert found["val_miou"] == pytest.approx(1 / 3)
        assert found["val_pixel_accuracy"] == pytest.approx(2 / 4)


def test_the_score_of_several_labels_is_the_mean_of_theirs() -> None:
    logits = torch.tensor([[[[1.0, 1.0, -1.0]], [[1.0, -1.0, -1.0]]]])
    truth = torch.tensor([[[[1, 0, 1]], [[1, IGNORED, 0]]]])
    found = validated(SemanticSegmentation(Echo(), LABELS), [(logits, truth)])
    assert found["val_miou"] == pytest.approx((1 / 3 + 1 / 1) / 2)
    assert found["val_pixel_accuracy"] == pytest.approx(3 / 5)


def test_what_a_search_selects_by() -> None:
    assert (SemanticSegmentation(Echo(), CLASSES).monitor, DenseRegression(Echo(), VALUES).monitor) == (
        "val_miou",
        "val_relative_l2",
    )
    assert SemanticSegmentation(Echo(), CLASSES).direction == "maximize"
    assert DenseRegression(Echo(), VALUES, loss="squared").monitor == "val_rmse"
    assert DenseRegression(Echo(), VALUES).direction == "minimize"


# Networks that have diverged, and scores that there are not.


class Broken(Echo):
    """Its first output is no number, in some images alone."""

    def __init__(self, value: float, images: slice) -> None:
        super().__init__()
        self.value, self.images = value, images

    def forward(self, images: Tensor) -> Tensor:
        outputs = super().forward(images).clone()
        outputs[self.images, 0, 0, 0] = self.value
        return outputs


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("images", [slice(None), slice(1)], ids=["all", "one"])
@pytest.mark.parametrize("task", [CLASSES, BINARY, LABELS, VALUES], ids=lambda task: task.target)
def test_a_network_that_gives_no_numbers_has_no_score(task: Task, images: slice, value: float) -> None:
    if task.target == "regression":
        modules = [DenseRegression(Broken(value, images), task, loss=loss) for loss in ("relative_l2", "squared")]
        batch = torch.ones(3, 1, 2, 2), torch.ones(3, 1, 2, 2)
    else:
        modules = [SemanticSegmentation(Broken(value, images), task)]
        batch = random_batch(task)
    for module in modules:
        found = validated(module, [batch])
        assert all(math.isnan(score) for score in found.values()), found


@pytest.mark.parametrize("loss", ["relative_l2", "squared"])
def test_the_loss_of_outputs_that_are_nan_is_nan(loss: str) -> None:
    module = DenseRegression(Broken(math.nan, slice(1)), VALUES, loss=loss)  # type: ignore[arg-type]
    assert math.isnan(loss_of(module, (torch.ones(2, 1, 2, 2), torch.ones(2, 1, 2, 2))).item())


@pytest.mark.parametrize("task", [CLASSES, BINARY, LABELS], ids=lambda task: task.target)
def test_a_set_in_which_nothing_counts_has_no_score(task: Task) -> None:
    logits, masks = random_batch(task)
    with pytest.warns(UserWarning, match=r"undefined \(nan\): no target of this stage counts"):
        found = validated(SemanticSegmentation(Echo(), task), [(logits, torch.full_like(masks, IGNORED))])
    assert all(math.isnan(score) for score in found.values()), found


def test_a_foreground_that_does_not_occur_has_no_score() -> None:
    batch = torch.tensor([[[[2.0, -1.0]]]]), torch.tensor([[[0, 0]]])
    with pytest.warns(UserWarning, match="val_miou is undefined"):
        found = validated(SemanticSegmentation(Echo(), BINARY), [batch])
    assert math.isnan(found["val_miou"])
    assert found["val_pixel_accuracy"] == 0.5


def test_values_of_any_magnitude_have_a_relative_error() -> None:
    for magnitude in (1e-30, 1.0, 1e30):
        targets = magnitude * torch.tensor([[[[3.0, 4.0]]], [[[0.0, 0.0]]]])
        found = loss_of(DenseRegression(Echo(), VALUES), (1.5 * targets, targets))
        assert found.item() == pytest.approx(0.5)


# Masks of users' own.


@pytest.mark.parametrize(
    ("task", "masks", "message"),
    [
        (CLASSES, torch.tensor([[[0, 4]]]), "a mask holds the number 4; the task's are 0 to 3, and ignore_index=255"),
        (CLASSES, torch.tensor([[[0, -1]]]), "a mask holds the number -1"),
        (
            CLASSES,
            torch.tensor([[[0, 3 / 255]]]),
            "a mask holds 0.0117647, .* transform divides masks by 255",
        ),
        (CLASSES, torch.zeros(1, 4, 1, 2), r"masks are of shape \[1, 1, 2\]; .*; give the number of its class"),
        (BINARY, torch.tensor([[[0, 2]]]), "a mask holds the number 2; the task's are 0 to 1"),
        (LABELS, torch.zeros(1, 1, 2), r"masks are of shape \[1, 2, 1, 2\]; these are of shape \[1, 1, 2\]"),
    ],
)
def test_masks_that_hold_no_classes_are_refused(task: Task, masks: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss_of(SemanticSegmentation(Echo(), task), (torch.zeros(1, task.out_channels, 1, 2), masks))


def test_masks_may_be_whole_real_numbers_of_one_channel() -> None:
    logits, masks = predicting(FOUND, TRUTH)
    module = SemanticSegmentation(Echo(), CLASSES)
    expected = loss_of(module, (logits, masks)).item()
    assert loss_of(module, (logits, masks.float().unsqueeze(1))).item() == expected


def test_a_foreground_that_is_ignored_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="a mask holds 0 and 255 alone, .* give masks of 0 and 1"):
        loss_of(SemanticSegmentation(Echo(), BINARY), (torch.zeros(1, 1, 1, 2), torch.tensor([[[0, 255]]])))


# Losses.


def test_the_loss_is_the_mean_cross_entropy_of_pixels_that_count() -> None:
    logits = torch.tensor([[2.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [7.0, 0.0, 0.0, 0.0]])
    batch = logits.T.reshape(1, 4, 1, 3), torch.tensor([[[0, 2, IGNORED]]])
    by_hand = (math.log(math.exp(2) + 3) - 2 + math.log(math.e + 3)) / 2
    assert loss_of(SemanticSegmentation(Echo(), CLASSES), batch).item() == pytest.approx(by_hand, rel=1e-6)
    assert validated(SemanticSegmentation(Echo(), CLASSES), [batch])["val_loss"] == pytest.approx(by_hand, rel=1e-6)


@pytest.mark.parametrize("task", [BINARY, LABELS], ids=lambda task: task.target)
def test_yes_or_no_has_the_binary_cross_entropy_of_what_counts(task: Task) -> None:
    channels = task.out_channels
    logits = torch.linspace(-2, 3, 4 * channels).reshape(1, channels, 2, 2)
    masks = torch.arange(4 * channels).reshape(1, channels, 2, 2) % 2
    masks[0, 0, 1, 1] = IGNORED
    known = masks != IGNORED
    signed = torch.where(masks == 1, logits, -logits)[known]
    by_hand = torch.log1p(torch.exp(-signed)).mean().item()
    assert loss_of(SemanticSegmentation(Echo(), task), (logits, masks)).item() == pytest.approx(by_hand, rel=1e-6)


def random_batch(task: Task) -> Batch:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, task.out_channels, 6, 5, generator=generator)
    several = task.target == "multilabel"
    shape = (2, task.out_channels, 6, 5) if several else (2, 6, 5)
    highest = task.out_channels if task.target == "classes" else 2
    masks = torch.randint(0, highest, shape, generator=generator)
    masks[..., 0] = IGNORED
    return logits, masks


SMP = {
    "dice": (DiceLoss, {}),
    "focal": (FocalLoss, {}),
    "jaccard": (JaccardLoss, {}),
    "lovasz": (LovaszLoss, {}),
    "tversky": (TverskyLoss, {"alpha": 0.3, "beta": 0.7}),
}


@pytest.mark.parametrize("task", [CLASSES, BINARY, LABELS], ids=lambda task: task.target)
@pytest.mark.parametrize("name", SMP)
def test_a_loss_of_smp_is_that_of_the_pixels_that_count(name: str, task: Task) -> None:
    logits, masks = random_batch(task)
    mode = "multiclass" if task.target == "classes" else task.target
    # The reference never sees the ignored column.
    kind, arguments = SMP[name]
    expected = kind(mode, **arguments)(logits[..., 1:].contiguous(), masks[..., 1:].contiguous())
    found = loss_of(SemanticSegmentation(Echo(), task, loss=name), (logits, masks))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("task", [CLASSES, BINARY, LABELS], ids=lambda task: task.target)
def test_losses_are_added_by_name(task: Task) -> None:
    logits, masks = random_batch(task)
    masks = masks if task.target == "classes" else masks.view_as(logits)
    parts = [PixelLoss(name, task.target, IGNORED)(logits, masks) for name in ("cross_entropy", "dice")]
    whole = PixelLoss("cross_entropy + dice", task.target, IGNORED)(logits, masks)
    assert whole.item() == pytest.approx(sum(part.item() for part in parts))


@pytest.mark.parametrize("task", [CLASSES, BINARY, LABELS], ids=lambda task: task.target)
@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_in_which_nothing_counts_has_no_loss_and_no_gradient(name: str, task: Task) -> None:
    logits, masks = random_batch(task)
    module = SemanticSegmentation(Echo(), task, loss=name)
    loss = loss_of(module, (logits, torch.full_like(masks, IGNORED)))
    loss.backward()
    assert loss.item() == 0.0
    assert module.network.weight.grad.item() == 0.0


def test_another_value_can_be_the_ignored_one() -> None:
    logits, masks = random_batch(CLASSES)
    moved = torch.where(masks == IGNORED, -1, masks)
    for name in ("cross_entropy", "dice"):
        one, other = (
            loss_of(SemanticSegmentation(Echo(), CLASSES, loss=name, ignore_index=value), (logits, targets))
            for value, targets in ((IGNORED, masks), (-1, moved))
        )
        assert one.item() == pytest.approx(other.item(), rel=1e-6)


# Real values.


def test_relative_l2_is_the_mean_over_samples_of_error_over_size() -> None:
    outputs = torch.tensor([[[[3.0, 0.0]]], [[[0.0, 12.0]]]])
    targets = torch.tensor([[[[0.0, 4.0]]], [[[5.0, 12.0]]]])
    found = validated(DenseRegression(Echo(), VALUES), [(outputs, targets)])
    assert found["val_relative_l2"] == pytest.approx((5 / 4 + 5 / 13) / 2)
    assert found["val_loss"] == pytest.approx((5 / 4 + 5 / 13) / 2)
    assert found["val_rmse"] == pytest.approx(math.sqrt((9 + 16 + 25 + 0) / 4))


def test_unequal_batches_count_by_their_samples() -> None:
    batches = [(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)), (torch.ones(3, 1, 1, 1), torch.ones(3, 1, 1, 1))]
    assert validated(DenseRegression(Echo(), VALUES), batches)["val_relative_l2"] == pytest.approx(1 / 4)


def test_regression_learns_standardised_targets_and_predicts_in_their_units() -> None:
    statistics = torch.tensor([10.0]), torch.tensor([2.0])
    batch = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[14.0, 10.0]]]])
    data = Tiny([batch], VALUES, target_statistics=statistics)
    module = DenseRegression(Echo(), VALUES, learning_rate=1e-30, loss="squared")  # a training that moves nothing
    trainer = pl.Trainer(**LEAN, max_epochs=1)
    trainer.fit(module, data)
    assert trainer.callback_metrics["val_loss"].item() == pytest.approx((2 - 1) ** 2 / 2)
    assert trainer.callback_metrics["val_rmse"].item() == pytest.approx(math.sqrt(2**2 / 2))
    assert module(batch[0]).flatten().tolist() == [12.0, 10.0]
    again = DenseRegression(Echo(), VALUES)
    again.load_state_dict(module.state_dict())
    assert torch.equal(again(batch[0]), module(batch[0]))


@pytest.mark.parametrize("loss", ["relative_l2", "squared"])
def test_values_that_are_not_known_do_not_count(loss: str) -> None:
    outputs, targets = (
        torch.tensor([[[[3.0, 99.0]]], [[[1.0, 1.0]]]]),
        torch.tensor([[[[4.0, math.nan]]], [[[2.0, 1.0]]]]),
    )
    module = DenseRegression(Echo(), VALUES, loss=loss)  # type: ignore[arg-type]
    value = loss_of(module, (outputs, targets))
    value.backward()
    by_hand = (1 / 4 + 1 / math.sqrt(5)) / 2 if loss == "relative_l2" else (1 + 1 + 0) / 3
    assert value.item() == pytest.approx(by_hand)
    assert math.isfinite(module.network.weight.grad.item())
    assert validated(module, [(outputs, targets)])[module.monitor] == pytest.approx(
        by_hand if loss == "relative_l2" else math.sqrt(by_hand)
    )


@pytest.mark.parametrize(("loss", "monitor"), [("relative_l2", "val_relative_l2"), ("squared", "val_nrmse")])
def test_a_channel_of_small_units_counts_as_much_as_one_of_large_units(
    loss: Literal["relative_l2", "squared"], monitor: str
) -> None:
    task = replace(VALUES, in_channels=2, out_channels=2)
    truth = torch.tensor([[[[300.0, 400.0]], [[0.3, 0.4]]]])
    scores = []
    for wrong in ([60.0, 0.0], [0.0, 0.06]):
        module = DenseRegression(Echo(), task, loss=loss)
        module.scale.copy_(torch.tensor([100.0, 0.1]))
        module.mean.copy_(torch.tensor([350.0, 0.35]))
        by_channel = (truth + torch.tensor(wrong).view(1, 2, 1, 1) - module.mean.view(2, 1, 1)) / module.scale.view(
            2, 1, 1
        )
        found = validated(module, [(by_channel, truth)])
        scores.append((found[module.monitor], found["val_loss"]))
        assert module.monitor == monitor
    assert scores[0] == pytest.approx(scores[1])
    relative = math.hypot(60, 60) / 500
    assert scores[0][0] == pytest.approx(relative / 2 if loss == "relative_l2" else math.sqrt(0.6**2 / 2), rel=1e-5)


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_a_sample_without_a_size_has_no_relative_error_and_no_gradient(value: float) -> None:
    module = DenseRegression(Echo(), VALUES)
    nothing = torch.ones(1, 1, 1, 2), torch.full((1, 1, 1, 2), value)
    loss = loss_of(module, nothing)
    loss.backward()
    assert loss.item() == 0.0
    assert module.network.weight.grad.item() == 0.0
    something = torch.ones(1, 1, 1, 2), torch.full((1, 1, 1, 2), 2.0)
    assert validated(module, [nothing, something])["val_relative_l2"] == pytest.approx(0.5)


# What is kept for images from elsewhere.


@pytest.mark.parametrize(("module_class", "task"), [(SemanticSegmentation, CLASSES), (DenseRegression, VALUES)])
def test_what_images_were_normalised_with_is_kept(module_class: type[pl.LightningModule], task: Task) -> None:
    mean, deviation = torch.full((task.in_channels,), 3.0), torch.full((task.in_channels,), 2.0)
    batch = predicting(FOUND, TRUTH) if task is CLASSES else (torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    batch = batch[0][:, : task.in_channels], batch[1]
    network = nn.Conv2d(task.in_channels, task.out_channels, 1)
    module = module_class(network, task)
    data = Tiny([batch], task, image_statistics=(mean, deviation))
    pl.Trainer(**LEAN, max_epochs=1).fit(module, data)
    again = module_class(network, task)
    again.load_state_dict(module.state_dict())
    assert torch.equal(again.image_mean, mean)
    assert torch.equal(again.image_deviation, deviation)
    # A checkpoint of before has neither.
    state = {name: value for name, value in module.state_dict().items() if not name.startswith("image_")}
    module_class(network, task).load_state_dict(state)


# What is refused.


@pytest.mark.parametrize(
    ("module_class", "task", "arguments", "message"),
    [
        (SemanticSegmentation, Task("graph", "classes", 1, 2), {}, "SemanticSegmentation trains pixel-level tasks"),
        (SemanticSegmentation, VALUES, {}, "needs a target of classes or labels; the task's is 'regression'"),
        (DenseRegression, CLASSES, {}, "DenseRegression needs a target of real values; the task's is 'classes'"),
        (DenseRegression, VALUES, {"loss": "dice"}, "loss is relative_l2 or squared; got 'dice'"),
        (SemanticSegmentation, CLASSES, {"loss": "cross_entropy+dise"}, "got 'cross_entropy.dise'; .*dice"),
        (SemanticSegmentation, CLASSES, {"ignore_index": 3}, "ignore_index is none of the classes 0 to 3; got 3"),
        (SemanticSegmentation, BINARY, {"ignore_index": 1}, "ignore_index is none of the classes 0 to 1; got 1"),
        (SemanticSegmentation, CLASSES, {"optimizer": "lamb"}, "optimizer is adam or sgd; got 'lamb'"),
        (SemanticSegmentation, CLASSES, {"schedule": "step"}, "schedule is cosine, poly, constant; got 'step'"),
        (SemanticSegmentation, CLASSES, {"learning_rate": 0.0}, "learning_rate is a number greater than 0; got 0"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(
    module_class: type[pl.LightningModule], task: Task, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        module_class(Echo(), task, **arguments)


def test_outputs_of_another_size_than_the_masks_are_refused() -> None:
    module = SemanticSegmentation(nn.AvgPool2d(2), CLASSES)
    with pytest.raises(ValueError, match=r"outputs of shape \[1, 4, 2, 2\] for targets of shape \[1, 4, 4\]"):
        loss_of(module, (torch.zeros(1, 4, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long)))


# Trainings.


class LearningRates(pl.Callback):
    """Writes down the learning rate of every step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.mark.parametrize("schedule", ["poly", "constant"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_learning_rate_falls_with_a_power_of_the_steps_that_are_left(optimizer: str, schedule: str) -> None:
    rates = LearningRates()
    module = SemanticSegmentation(Echo(), CLASSES, learning_rate=0.1, optimizer=optimizer, schedule=schedule)
    data = Tiny([predicting(FOUND, TRUTH)] * 5, CLASSES)
    pl.Trainer(**LEAN, max_epochs=2, callbacks=[rates]).fit(module, data)
    power = 0.9 if schedule == "poly" else 0.0
    assert rates.seen == pytest.approx([0.1 * (1 - step / 10) ** power for step in range(10)])


def test_a_resumed_training_has_the_learning_rates_that_were_due(tmp_path: Any) -> None:
    def fit(module: pl.LightningModule, rates: LearningRates, steps: int, **more: Any) -> pl.Trainer:
        trainer = pl.Trainer(**LEAN, max_epochs=2, callbacks=[rates, StopAfter(steps)])
        trainer.fit(module, Tiny([predicting(FOUND, TRUTH)] * 4, CLASSES), **more)
        return trainer

    whole, first, second = LearningRates(), LearningRates(), LearningRates()
    fit(SemanticSegmentation(Echo(), CLASSES), whole, 8)
    stopped = fit(SemanticSegmentation(Echo(), CLASSES), first, 4)
    stopped.save_checkpoint(tmp_path / "stopped.ckpt")
    fit(SemanticSegmentation(Echo(), CLASSES), second, 8, ckpt_path=tmp_path / "stopped.ckpt")
    assert first.seen + second.seen == whole.seen
    assert len(second.seen) == 4


class Dropping(Echo):
    """Writes down how far the training is said to be."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[float] = []

    def schedule_drop_path(self, progress: float) -> None:
        self.told.append(progress)


@pytest.mark.parametrize("schedule", ["poly", "constant"])
def test_a_network_that_drops_paths_is_told_how_far_the_training_is(schedule: str) -> None:
    module = SemanticSegmentation(Dropping(), CLASSES, schedule=schedule)  # type: ignore[arg-type]
    pl.Trainer(**LEAN, max_epochs=2).fit(module, Tiny([predicting(FOUND, TRUTH)] * 2, CLASSES))
    assert module.network.told == [0.0, 0.25, 0.5, 0.75]


class StopAfter(pl.Callback):
    """Ends the training after so many steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        trainer.should_stop = trainer.global_step >= self.steps


def scene(task: Task, seed: int) -> Batch:
    """A noisy image of a bright rectangle, and where it is."""
    generator = torch.Generator().manual_seed(seed)
    top, left = torch.randint(0, 8, (2,), generator=generator).tolist()
    inside = torch.zeros(16, 16)
    inside[top : top + 8, left : left + 8] = 1.0
    image = inside + 0.3 * torch.randn(task.in_channels, 16, 16, generator=generator)
    if task.target == "regression":
        return image, 100.0 + 20.0 * inside.unsqueeze(0)
    if task.target == "multilabel":
        return image, torch.stack([inside, 1 - inside]).long()
    mask = inside.long()
    mask[0] = IGNORED
    return image, mask


TRAINED = [
    (SemanticSegmentation, Task("pixel", "classes", 3, 2)),
    (SemanticSegmentation, Task("pixel", "binary", 1, 1)),
    (SemanticSegmentation, Task("pixel", "multilabel", 3, 2)),
    (DenseRegression, Task("pixel", "regression", 1, 1)),
]


def network(task: Task) -> nn.Module:
    torch.manual_seed(0)
    hidden = 8
    return nn.Sequential(
        nn.Conv2d(task.in_channels, hidden, 3, padding=1), nn.ReLU(), nn.Conv2d(hidden, task.out_channels, 3, padding=1)
    )


def loader(task: Task) -> DataLoader[Batch]:
    return DataLoader([scene(task, seed) for seed in range(8)], batch_size=4)  # type: ignore[arg-type]


def datamodule(task: Task) -> Tiny:
    statistics = {"target_statistics": (torch.tensor([105.0]), torch.tensor([9.0]))}
    return Tiny(loader(task), task, **(statistics if task.target == "regression" else {}))


@pytest.mark.parametrize(("module_class", "task"), TRAINED, ids=[task.target for _, task in TRAINED])
def test_every_target_learns(module_class: type[pl.LightningModule], task: Task) -> None:
    module = module_class(network(task), task, learning_rate=2e-2)
    data = datamodule(task)
    result = training.train(module, data, module.monitor, module.direction, {"max_epochs": 30}, keep_weights=True)
    if task.target == "regression":
        assert result.score < 0.03, "the mean of the targets alone would be off by 0.08"
    else:
        assert result.score > 0.9
    assert training.test(module, data, {})[module.monitor.replace("val", "test")] == pytest.approx(result.score)


def test_a_module_predicts_for_batches_and_for_images_alone() -> None:
    module = SemanticSegmentation(Echo(), CLASSES)
    images, masks = predicting(FOUND, TRUTH)
    assert torch.equal(module.predict_step((images, masks), 0), module.predict_step(images, 0))


# Two processes.


def two_processes() -> dict[str, Any]:
    strategy = DDPStrategy(start_method="fork", process_group_backend="gloo")
    return {"accelerator": "cpu", "devices": 2, "strategy": strategy}


class Shared(Tiny):
    """Nine scenes, dealt out to the processes: five to one, four to the other."""

    def val_dataloader(self) -> Any:
        scenes = [scene(self.task, seed) for seed in range(9)]
        share = EvenShares(scenes, self.trainer.world_size, self.trainer.global_rank)  # type: ignore[arg-type]
        return DataLoader(scenes, batch_size=2, sampler=share)  # type: ignore[arg-type]


@pytest.mark.parametrize(("module_class", "task"), TRAINED, ids=[task.target for _, task in TRAINED])
def test_two_processes_validate_like_one(module_class: type[pl.LightningModule], task: Task) -> None:
    module = module_class(network(task), task)
    data = Shared([], task)
    (alone,) = pl.Trainer(**LEAN).validate(module, data, verbose=False)
    (together,) = pl.Trainer(**{**LEAN, **two_processes()}).validate(module, data, verbose=False)
    if "val_miou" in alone:
        assert together["val_miou"] == alone["val_miou"], "counts are exact"
    assert together == pytest.approx(alone, rel=1e-5)
