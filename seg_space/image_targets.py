"""A look at the targets of users' own batches of images: others than the task's would be learned in silence."""

from __future__ import annotations

from torch import Tensor

from automl_plugins.spaces.task import Task


def check_targets(targets: Tensor, outputs: Tensor, task: Task) -> None:
    """Refuse targets that are not those of an image-level task.

    Args:
        targets: of a batch.
        outputs: `[batch, out_channels]`, for the shape.
        task: the kind of targets.

    Raises:
        ValueError: another shape, a number that is no class, or one that is infinite.
    """
    count = len(outputs) if task.target == "classes" else outputs.numel()
    if targets.numel() != count:
        one_hot = "; give the number of its class for each image" if targets.shape == outputs.shape else ""
        shape = [len(outputs)] if task.target == "classes" else list(outputs.shape)
        raise ValueError(f"targets are of shape {shape}; these are of shape {list(targets.shape)}{one_hot}")
    # Elsewhere each look would wait for the device; out of range, its own assertion then fails.
    if targets.device.type != "cpu":
        return
    if task.target == "classes":
        wrong = (targets < 0) | (targets >= task.out_channels) | (targets != targets.round())
        accepted = f"a class is a whole number from 0 to {task.out_channels - 1}"
    elif task.target == "regression":
        wrong = targets.isinf()
        accepted = "a target is a finite number, or nan where it is not known"
    else:
        wrong = (targets != 0) & (targets != 1) & ~targets.isnan()
        accepted = f"a {task.target} target is 0, 1, or nan where it is not known"
    if wrong.any():
        raise ValueError(f"{accepted}; a batch holds {targets[wrong][0].item():g}")
