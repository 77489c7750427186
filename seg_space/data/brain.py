"""The brain template that comes with nilearn."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from automl_plugins.spaces.task import Task
from seg_space.data.base import ImageDataModule
from seg_space.data.sources import TensorSource

ROWS, COLUMNS = slice(18, 178), slice(21, 213)
"""The part of a slice that holds the brain, 160 x 192."""
LEAST_PIXELS = 500
"""Slices with less brain are left out."""
BLOCK = 12
"""Neighbouring slices that are dealt out together."""
PATTERN = ("train", "train", "val", "train", "test")
"""The splits of blocks, from the lowest upwards, again and again."""
GAP = 4
"""Slices left out between two splits."""


class BrainTemplateData(ImageDataModule):
    """Tissues of the human brain, slice by slice, in the ICBM152 template (Fonov et al. 2009): a small real example.

    Its T1-weighted average of 152 heads, without the skull, comes with nilearn in steps of 1 mm (`pip install
    "automl-plugins[brain]"`); nothing is downloaded. Of the 146 axial slices with brain in them, each is an image of
    one channel, 160 x 192 (left to right, back to front). A pixel is background, or what has the largest share of
    it: grey matter, white matter (the template's own maps), or else other tissue, mostly fluid.

    Neighbouring slices are nearly the same, so they are dealt out in blocks of 12, over the whole height of the brain,
    and 4 slices are left out where one split ends and another begins: 76 slices to train on, 18 for validation and 16
    for test. All are of one averaged brain: scores here say nothing about patients.

    The arguments are those of `ImageDataModule`.

    Raises:
        ValueError: an argument is out of range.
        ImportError: (in `setup`) nilearn is not installed.
    """

    classes = ("background", "other tissue", "grey matter", "white matter")

    @property
    def task(self) -> Task:
        """The task that a network must fit; nothing is read for it."""
        return Task("pixel", "classes", in_channels=1, out_channels=len(self.classes))

    def _sources(self) -> tuple[TensorSource, TensorSource, TensorSource]:
        template, grey, white = _volumes()
        brain = template > 0
        other = 1 - grey - white
        tissues = np.where(brain, 1 + np.stack([other, grey, white]).argmax(axis=0), 0)
        heights = np.flatnonzero(brain.sum(axis=(0, 1)) >= LEAST_PIXELS)
        images = torch.from_numpy(template[ROWS, COLUMNS]).permute(2, 0, 1).unsqueeze(1).contiguous()
        masks = torch.from_numpy(tissues[ROWS, COLUMNS].astype(np.uint8)).permute(2, 0, 1).contiguous()
        parts = deal_out(len(heights))
        train, val, test = (
            TensorSource(images[heights[parts[name]]], masks[heights[parts[name]]]) for name in ("train", "val", "test")
        )
        return train, val, test


def deal_out(count: int) -> dict[str, list[int]]:
    """Deal neighbouring slices out to the splits, in blocks, with a gap where the split changes.

    Args:
        count: how many slices there are.
    """
    split = [PATTERN[index // BLOCK % len(PATTERN)] for index in range(count)]
    parts: dict[str, list[int]] = {name: [] for name in PATTERN}
    for index, name in enumerate(split):
        # The end of a block makes the gap.
        if name == split[min(index + GAP, count - 1)]:
            parts[name].append(index)
    return parts


def _volumes() -> Any:
    """The template and its maps of grey and white matter, `[197, 233, 189]`, between 0 and 1."""
    try:
        from nilearn import datasets
    except ImportError as error:
        raise ImportError('the brain template comes with nilearn: pip install "automl-plugins[brain]"') from error
    return (
        np.asarray(load(resolution=1).get_fdata(dtype=np.float32))
        for load in (
            datasets.load_mni152_template,
            datasets.load_mni152_gm_template,
            datasets.load_mni152_wm_template,
        )
    )
