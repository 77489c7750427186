"""The brain template from nilearn's wheel."""

from __future__ import annotations

import sys

import pytest
import torch

from automl_plugins import Task
from seg_space.data import BrainTemplateData
from seg_space.data.brain import BLOCK, GAP, deal_out
from seg_space.data.sources import TensorSource


@pytest.fixture(scope="module")
def data() -> BrainTemplateData:
    pytest.importorskip("nilearn")
    made = BrainTemplateData()
    made.setup()
    return made


def test_the_task_is_known_before_nilearn_is_imported() -> None:
    assert BrainTemplateData().task == Task("pixel", "classes", in_channels=1, out_channels=4)


def test_slices_are_dealt_out_in_blocks_with_gaps() -> None:
    parts = deal_out(146)
    assert {name: len(part) for name, part in parts.items()} == {"train": 76, "val": 18, "test": 16}
    place = {index: name for name, part in parts.items() for index in part}
    for index, name in place.items():
        for near in range(index + 1, index + GAP + 1):
            assert place.get(near, name) == name, "within a gap's width there is one split alone"
    for part in parts.values():
        assert max(part) - min(part) > 4 * BLOCK, "each split sees several heights"


def test_a_slice_has_all_tissues_and_they_look_as_they_should(data: BrainTemplateData) -> None:
    source = data.loaded.train.source
    assert isinstance(source, TensorSource)
    assert source.images.shape == (76, 1, 160, 192)
    images, masks = source.images[:, 0], source.targets
    brightness = [images[masks == number].mean().item() for number in range(4)]
    assert brightness[0] == 0.0
    assert brightness == sorted(brightness), "fluid is dark, white matter bright, in a T1-weighted image"
    middle = masks[len(masks) // 2]
    assert middle.unique().tolist() == [0, 1, 2, 3]
    # Nothing of the brain is cut off.
    assert (masks[:, [0, -1]] == 0).all()
    assert (masks[:, :, [0, -1]] == 0).all()


def test_the_template_is_nearly_its_own_mirror_image(data: BrainTemplateData) -> None:
    # The first axis of a slice goes from left to right, so a wrong one would not be symmetric.
    mask = data.loaded.val.source.read(0)[1]
    flipped = mask.flip(0)
    # The midline lies between two rows of the part that is cut out.
    agreement = max((mask == flipped.roll(shift, 0)).float().mean().item() for shift in range(-4, 5))
    assert agreement > 0.95
    assert (mask == mask.flip(1)).float().mean() < agreement


def test_without_nilearn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nilearn", None)
    with pytest.raises(ImportError, match=r'pip install "automl-plugins\[brain\]"'):
        BrainTemplateData().setup()


def test_training_slices_are_normalised(data: BrainTemplateData) -> None:
    images = torch.stack([data.loaded.train[index][0] for index in range(76)])
    assert images.mean().item() == pytest.approx(0.0, abs=1e-4)
    assert images.std().item() == pytest.approx(1.0, abs=1e-3)
