"""A look at the masks of users' own batches: what holds other numbers than classes would be miscounted in silence."""

from __future__ import annotations

import torch
from torch import Tensor

from automl_plugins.spaces.task import Task
from automl_plugins.training.once import warn_once


def as_classes(masks: Tensor, outputs: Tensor, task: Task, ignore_index: int) -> Tensor:
    """Masks as integers of the shape that losses and scores take, `[batch, height, width]` or that of the outputs.

    Args:
        masks: classes `[batch, height, width]`, also with one channel; or 0 and 1 in the outputs' shape.
        outputs: `[batch, channels, height, width]`.
        task: which targets they are.
        ignore_index: the number of pixels that do not count.

    Raises:
        ValueError: another shape, fractions, or a number that is no class.
    """
    shape = (outputs.size(0), *outputs.shape[-2:]) if task.target == "classes" else tuple(outputs.shape)
    if masks.numel() != torch.Size(shape).numel():
        one_hot = "; give the number of its class for each pixel" if masks.shape == outputs.shape else ""
        raise ValueError(f"masks are of shape {list(shape)}; these are of shape {list(masks.shape)}{one_hot}")
    _check_numbers(masks, task, ignore_index)
    return masks.long().view(shape)


def _check_numbers(masks: Tensor, task: Task, ignore_index: int) -> None:
    # Elsewhere each look would wait for the device; out of range, its own assertion then fails.
    if masks.device.type != "cpu" or masks.numel() == 0:
        return
    if masks.is_floating_point() and not torch.equal(masks, masks.round()):
        fraction = masks[masks != masks.round()][0].item()
        raise ValueError(
            f"a mask holds {fraction:g}, which is no number of a class; see whether a transform divides masks by 255"
        )
    count = task.out_channels if task.target == "classes" else 2
    counted = masks[masks != ignore_index]
    if counted.numel() == 0:
        return
    least, most = int(counted.min()), int(counted.max())
    if least < 0 or most >= count:
        raise ValueError(
            f"a mask holds the number {least if least < 0 else most}; the task's are 0 to {count - 1}, and "
            f"ignore_index={ignore_index} marks pixels that do not count"
        )
    if count == 2 and ignore_index == 255 and most == 0 and counted.numel() < masks.numel():
        warn_once(
            "a mask holds 0 and 255 alone, and 255 marks pixels that do not count; where it is the foreground, give "
            "masks of 0 and 1"
        )
