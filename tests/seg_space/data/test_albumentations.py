"""Augmentation by Albumentations: images and masks together, drawn by the seed, and named as plain data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from trees import folder

from seg_space.data import ImagesAndMasks
from seg_space.data.albumentations import Albumentations, check_transforms

pytest.importorskip("albumentations")
# Of the library itself, on Python's side.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:albumentations.*")

GEOMETRY = ["HorizontalFlip", "RandomRotate90", {"Affine": {"translate_percent": 0.2, "p": 1.0}}]


def marked(count: int = 3) -> tuple[Tensor, Tensor]:
    """An image whose first channel is 40 times the class, and its mask."""
    mask = torch.zeros(32, 40, dtype=torch.uint8)
    mask[8:20, 10:30], mask[20:28, 4:16] = 1, 2
    return (40 * mask).unsqueeze(0).repeat(count, 1, 1), mask


def seen(transforms: Any, image: Tensor, mask: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Albumentations(transforms, torch.full((len(image),), 7.0))(image, mask)


@pytest.mark.parametrize("seed", range(4))
def test_an_image_and_its_mask_are_transformed_together(seed: int) -> None:
    image, mask = marked()
    view, view_mask = seen([*GEOMETRY[:2], {"Affine": {"translate_px": 5, "p": 1.0}}], image, mask, seed)
    assert view.shape[1:] == view_mask.shape
    inside = view_mask != 255
    assert torch.equal(view[0][inside].long(), 40 * view_mask[inside].long())
    assert not torch.equal(view_mask, mask)


def test_what_is_left_empty_has_the_mean_colour_and_does_not_count() -> None:
    image, mask = marked()
    view, view_mask = seen([{"Affine": {"translate_px": {"x": [9, 9], "y": [0, 0]}, "p": 1.0}}], image, mask)
    outside = view_mask == 255
    assert outside.sum() == 9 * 32
    assert set(view[:, outside].unique().tolist()) == {7}
    _, own = seen([{"Affine": {"translate_px": {"x": [9, 9], "y": [0, 0]}, "p": 1.0, "fill_mask": 0}}], image, mask)
    assert not (own == 255).any()


def test_colours_change_in_the_image_alone() -> None:
    image, mask = marked()
    view, view_mask = seen([{"OneOf": {"transforms": [{"RandomGamma": {"p": 1.0}}], "p": 1.0}}, "NoOp"], image, mask)
    assert not torch.equal(view, image)
    assert view.dtype == image.dtype
    assert torch.equal(view_mask, mask)


@pytest.mark.parametrize("kind", ["labels", "values", "number", "one channel"])
def test_all_kinds_of_targets_keep_their_form(kind: str) -> None:
    image, mask = marked(1 if kind == "one channel" else 3)
    targets = {"labels": torch.stack([mask == 1, mask == 2]).to(torch.uint8), "values": mask.unsqueeze(0) * 0.5}
    target = targets.get(kind, torch.tensor(3) if kind == "number" else mask)
    view, found = seen(["VerticalFlip"], image, target, seed=1)
    assert (view.shape, found.shape, found.dtype) == (image.shape, target.shape, target.dtype)


def test_what_is_drawn_follows_from_the_seed(tmp_path: Path) -> None:
    folder(tmp_path, count=10)

    def epoch(seed: int) -> Tensor:
        data = ImagesAndMasks(tmp_path, classes=3, batch_size=2, seed=seed, augmentation=GEOMETRY, scales=(0.5, 1.0))
        data.setup("fit")
        return torch.cat([images.flatten() for images, _ in data.train_dataloader()])

    state = torch.get_rng_state()
    assert torch.equal(epoch(0), epoch(0))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(epoch(0), epoch(1))


@pytest.mark.parametrize(
    ("transforms", "complaint"),
    [
        (["HorizontalFlop"], "Albumentations has no such transform; did you mean 'HorizontalFlip'"),
        (["os.system"], "Albumentations has no such transform"),
        (["Lambda"], "Albumentations has no such transform"),
        (["core"], "Albumentations has no such transform"),
        ([{"Rotate": {"limmit": 3}}], "augmentation Rotate.limmit: there is none; did you mean 'limit'"),
        ([{"Rotate": {"p": 7}}], "augmentation Rotate: "),
        ([{"OneOf": {"transforms": ["Blurr"]}}], "augmentation 'Blurr'"),
    ],
)
def test_what_is_no_transform_is_refused_in_one_line(transforms: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        Albumentations(transforms, torch.zeros(3))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "transforms", [[3], [{"Rotate": {}, "Blur": {}}], [{"Rotate": 3}], [{"OneOf": {"transforms": "Blur"}}]]
)
def test_what_names_no_transform_is_refused_before_the_library_is_looked_at(transforms: Any) -> None:
    with pytest.raises(ValueError, match="augmentation"):
        check_transforms(transforms)


def test_a_transform_that_changes_what_images_are_is_refused() -> None:
    image, mask = marked()
    with pytest.raises(ValueError, match="leave out what changes them"):
        seen(["Normalize"], image, mask)


@pytest.mark.parametrize(
    ("transform", "reason"),
    [
        ({"RandomCrop": {"height": 64, "width": 64, "p": 1.0}}, "CropSizeError: Crop size .* exceeds"),
        ({"RandomSizedBBoxSafeCrop": {"height": 8, "width": 8, "p": 1.0}}, "KeyError: 'bboxes'"),
        ({"TextImage": {"font_path": "x.ttf", "p": 1.0}}, "ValueError: TextImage requires"),
        ({"Resize": {"height": 10**6, "width": 10**6, "p": 1.0}}, "error: OpenCV.* [Mm]emory"),
    ],
)
def test_a_transform_that_fails_is_named_in_one_line(transform: Any, reason: str) -> None:
    image, mask = marked()
    with pytest.raises(ValueError, match=rf"augmentation \[.*\]: on an image of \[3, 32, 40\]: {reason}") as caught:
        seen([transform], image, mask)
    assert "\n" not in str(caught.value)
