"""Random targets in place of a batch of images' own: of whole images, or of blocks of pixels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from automl_plugins.spaces.random_labels import fingerprints, labels_of, mixed
from automl_plugins.spaces.task import Task


def targets_of(batch: Any, task: Task) -> Tensor:
    """The targets of a batch: the one tensor beside the images that may be.

    Raises:
        ValueError: there are none, or several.
    """
    return _parts(batch, task)[1]


def relabelled(batch: Any, task: Task, seed: int, scale: tuple[float, float], block: int) -> Any:
    """See `automl_plugins.spaces.probe.Probe.relabelled`; pixels have one target for each block of an image.

    Independent ones could not be learned, so that weights would tell nothing but noise. Images are told apart by their
    pixels.
    """
    images, targets = _parts(batch, task)
    samples = fingerprints(images)
    if task.level == "image":
        made = labels_of(samples, targets, task, seed, scale)
    else:
        height, width = targets.shape[-2:]
        rows, columns = (torch.arange(-(-side // block), device=samples.device) for side in (height, width))
        places = mixed(samples.view(-1, 1, 1), rows.view(-1, 1), columns)
        channels = targets.shape[1:-2].numel()
        like = targets.new_zeros(places.numel(), channels)
        drawn = labels_of(places.flatten(), like, task, seed, scale).unflatten(0, places.shape).movedim(-1, 1)
        whole = drawn.repeat_interleave(block, -2).repeat_interleave(block, -1)[..., :height, :width]
        made = whole.reshape(targets.shape)
    return tree_map(lambda leaf: made if leaf is targets else leaf, batch)


def _parts(batch: Any, task: Task) -> tuple[Tensor, Tensor]:
    """Images and targets."""
    tensors = [leaf for leaf in tree_leaves(batch) if isinstance(leaf, Tensor)]
    images = next((each for each in tensors if each.dim() == 4 and each.shape[1] == task.in_channels), None)
    if images is None:
        wanted = f"[batch, {task.in_channels}, height, width]"
        raise ValueError(f"the batch has no images {wanted}; it has {_shapes(tensors)}")
    others = [each for each in tensors if each is not images and each.dim() > 0 and len(each) == len(images)]
    if task.level == "pixel":
        found = [each for each in others if each.dim() in (3, 4) and each.shape[-2:] == images.shape[-2:]]
    else:
        found = [each for each in others if each.dim() in (1, 2)]
    if len(found) != 1:
        wanted = "[batch, (channels,) height, width]" if task.level == "pixel" else "[batch, (channels)]"
        raise ValueError(f"random labels take the place of the one tensor {wanted}; the batch has {_shapes(tensors)}")
    return images, found[0]


def _shapes(tensors: list[Tensor]) -> str:
    return ", ".join(str(list(each.shape)) for each in tensors) or "no tensors"
