"""The predictions of a run's best network for validation data, beside the truth, as a part of its page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from automl_plugins.report.page.page import Drawing, Drawings, Section, Table
from automl_plugins.report.page.truth import (
    JudgedImage,
    classes_of_pixels_drawing,
    classes_table,
    values_drawing,
    values_of_pixels_drawing,
)
from automl_plugins.spaces.task import Task
from automl_plugins.training.fingerprint import flat_loaders
from automl_plugins.training.lightning import pl
from automl_plugins.training.preprocessing import Preprocessing
from automl_plugins.training.task_module import TaskModule

TITLE = "Predictions beside the truth"
_ITEMS, _IMAGES, _SIDE = 2000, 4, 256


def judged_section(module: pl.LightningModule, data: pl.LightningDataModule, kept: Preprocessing) -> Section:
    """The predictions for the first items of the validation.

    Args:
        module: trained, in evaluation mode.
        data: which have been read.
        kept: of the run.

    Raises:
        ValueError: the module does not say what its targets are.
    """
    if not isinstance(module, TaskModule):
        raise ValueError(f"{type(module).__name__} does not say which its targets are; modules of ours do")
    if kept.task.level == "pixel":
        return Section(TITLE, [Drawings(_of_pixels(module, data, kept))])
    return Section(TITLE, _of_items(kept.task, _named(kept), *_first(module, data)))


def _of_items(
    task: Task, names: Sequence[str], outputs: Tensor, targets: Tensor, known: Tensor
) -> list[Table | Drawings]:
    if task.target == "classes":
        truth, predicted = targets[known].numpy(), outputs[known].argmax(dim=1).numpy()
        return [classes_table(names, truth, predicted, "Items of the validation by class")]
    parts = (each.view_as(outputs).T.numpy() for each in (targets.double(), outputs.double(), known))
    columns = [(name, truth[there], given[there]) for name, truth, given, there in zip(names, *parts, strict=True)]
    columns = [each for each in columns if len(each[1])]
    if task.target == "regression":
        return [Drawings([values_drawing(*each) for each in columns])]
    return [
        classes_table(["no", "yes"], truth.astype(int), (given > 0).astype(int), f"{name}, items of the validation")
        for name, truth, given in columns
    ]


def _of_pixels(module: TaskModule, data: pl.LightningDataModule, kept: Preprocessing) -> list[Drawing]:
    found: list[Drawing] = []
    for batch in _batches(data):
        for image, *judged in zip(_restored(batch[0], kept), *_judged(module, batch), strict=True):
            if len(found) == _IMAGES:
                return found
            found.append(_of_image(image, judged, kept, len(found)))
    return found


def _of_image(image: Tensor, judged: Sequence[Tensor], kept: Preprocessing, number: int) -> Drawing:
    """One image; of several labels or values, the first."""
    output, target, known = judged
    target, known = (each if each.dim() == 2 else each[0] for each in (target, known))
    is_classes, is_values = kept.task.target == "classes", kept.task.target == "regression"
    predicted = output.argmax(dim=0) if is_classes else output[0] if is_values else (output[0] > 0).long()
    step = max(1, max(image.shape[-2:]) // _SIDE)
    shown = image[: 3 if len(image) >= 3 else 1, ::step, ::step].permute(1, 2, 0).squeeze(-1).numpy()
    one = JudgedImage(shown, *(each[::step, ::step].numpy() for each in (target, predicted, known)))
    if is_values:
        return values_of_pixels_drawing(one, number)
    names = _named(kept)
    return classes_of_pixels_drawing(one, names if is_classes else [f"not {names[0]}", names[0]], number)


def _named(kept: Preprocessing) -> Sequence[str]:
    return kept.names if len(kept.names) == kept.task.out_channels else kept.names[-1:]


def _restored(images: Tensor, kept: Preprocessing) -> Tensor:
    """Images from 0 to 1, as they were before they were normalised."""
    mean, deviation = (
        torch.tensor(kept.statistics.get(name, (default,))).view(-1, 1, 1)
        for name, default in (("image_mean", 0.0), ("image_deviation", 1.0))
    )
    found = images.float() * deviation + mean
    low, high = float(found.min()), float(found.max())
    # What is no picture, or was normalised in another way, is shown from its least to its greatest value.
    return found if low > -0.1 and high < 1.1 else (found - low) / max(high - low, 1e-12)


def _first(module: TaskModule, data: pl.LightningDataModule) -> tuple[Tensor, ...]:
    """The outputs and targets of about the first items, and which of them are known."""
    found: list[tuple[Tensor, ...]] = []
    for batch in _batches(data):
        found.append(_judged(module, batch))
        if sum(len(targets) for _, targets, _ in found) >= _ITEMS:
            break
    return tuple(torch.cat(each)[:_ITEMS] for each in zip(*found, strict=True))


def _batches(data: pl.LightningDataModule) -> Iterator[Any]:
    for loader in flat_loaders(data.val_dataloader()):
        for batch in loader:
            yield data.on_after_batch_transfer(data.on_before_batch_transfer(batch, 0), 0)


@torch.no_grad()
def _judged(module: TaskModule, batch: Any) -> tuple[Tensor, ...]:
    outputs, targets, known = module.judged(batch)
    return outputs.float(), targets, known
