"""The layouts that users have on disk: what belongs to which split, and what the numbers in masks become."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from trees import HEIGHT, OFFSETS, WIDTH, ade20k, camvid, cityscapes, folder, voc, write_image, write_mask

from automl_plugins import Task
from seg_space.data import ADE20KData, CamVidData, CityscapesData, ImagesAndMasks, VOCData
from seg_space.data.image_files import MaskFilesData
from seg_space.data.sources import FileSource, ImageDataset


def names(data: ImageDataset) -> list[str]:
    assert isinstance(data.source, FileSource)
    return [files.image.stem for files in data.source.files]


def counts(data: MaskFilesData) -> tuple[int, int, int]:
    loaded = data.loaded
    return len(loaded.train), len(loaded.val), len(loaded.test)


def raw(path: Path) -> torch.Tensor:
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image).astype(np.int64))


def classes_of(masks: torch.Tensor) -> list[int]:
    return masks.unique().tolist()


# A folder of one's own.


@pytest.mark.parametrize("image_suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("mask_suffix", [".png", ".tiff"])
def test_images_and_masks_are_read_as_they_are(image_suffix: str, mask_suffix: str, tmp_path: Path) -> None:
    root = folder(tmp_path, image_suffix=image_suffix, mask_suffix=mask_suffix)
    data = ImagesAndMasks(root, classes=("a", "b", "c"))
    assert data.task == Task("pixel", "classes", in_channels=3, out_channels=3)
    assert counts(data) == (7, 1, 2)
    image, mask = data.loaded.test.source.read(1)
    name = names(data.loaded.test)[1]
    assert torch.equal(image.long(), raw(root / "images" / f"{name}{image_suffix}").permute(2, 0, 1))
    assert torch.equal(mask.long(), raw(root / "masks" / f"{name}{mask_suffix}"))


def test_the_task_is_known_before_there_is_a_folder() -> None:
    assert ImagesAndMasks("nowhere", classes=5, channels=1).task == Task("pixel", "classes", 1, 5)
    assert ImagesAndMasks("nowhere", target="binary").task == Task("pixel", "binary", 3, 1)
    assert ImagesAndMasks("nowhere", classes=("a", "b"), target="multilabel").task == Task("pixel", "multilabel", 3, 2)
    assert VOCData("nowhere").task == Task("pixel", "classes", 3, 21)
    assert CityscapesData("nowhere").task == Task("pixel", "classes", 3, 19)
    assert ADE20KData("nowhere").task == Task("pixel", "classes", 3, 150)


def test_a_random_split_depends_on_the_seed_alone_and_covers_everything(tmp_path: Path) -> None:
    root = folder(tmp_path, count=20)
    first, again, other = (ImagesAndMasks(root, classes=3, seed=seed).loaded for seed in (0, 0, 1))
    splits = [names(part) for part in (first.train, first.val, first.test)]
    assert splits == [names(part) for part in (again.train, again.val, again.test)]
    assert splits != [names(part) for part in (other.train, other.val, other.test)]
    assert sorted(name for split in splits for name in split) == sorted(f"im{index}" for index in range(20))


def test_a_split_of_its_own_is_kept(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("val", 1), ("test", 2)):
        folder(tmp_path / split, count=count, seed=OFFSETS[split])
    assert counts(ImagesAndMasks(tmp_path, classes=3)) == (3, 1, 2)


def test_a_number_can_stand_for_pixels_that_do_not_count(tmp_path: Path) -> None:
    data = ImagesAndMasks(folder(tmp_path, numbers=(0, 1, 2, 9)), classes=3, ignore_index=9)
    assert classes_of(data.loaded.test[0][1]) == [0, 1, 2, 255]


@pytest.mark.parametrize("foreground", [1, 255])
def test_a_foreground_is_1_however_it_is_written(foreground: int, tmp_path: Path) -> None:
    data = ImagesAndMasks(folder(tmp_path, numbers=(0, foreground)), target="binary")
    assert classes_of(data.loaded.test[0][1]) == [0, 1]


def test_black_and_white_masks_are_a_foreground(tmp_path: Path) -> None:
    root = folder(tmp_path, numbers=(0, 1))
    expected = raw(root / "masks" / "im0.png").bool()
    for path in (root / "masks").iterdir():
        Image.fromarray(raw(path).bool().numpy()).save(path)
    data = ImagesAndMasks(root, target="binary")
    where = next(part for part in (data.loaded.train, data.loaded.val, data.loaded.test) if "im0" in names(part))
    assert torch.equal(where[names(where).index("im0")][1].bool(), expected)


def test_each_label_has_a_folder_of_masks(tmp_path: Path) -> None:
    root = folder(tmp_path, numbers=(0, 1))
    (root / "masks").rename(root / "cars")
    (root / "masks").mkdir()
    (root / "cars").rename(root / "masks" / "cars")
    for index in range(10):
        write_mask(root / "masks" / "wet" / f"im{index}.png", (0, 255), seed=100 + index)
    data = ImagesAndMasks(root, classes=("wet", "cars"), target="multilabel")
    image, mask = data.loaded.val[0]
    assert (image.shape, mask.shape) == ((3, HEIGHT, WIDTH), (2, HEIGHT, WIDTH))
    name = names(data.loaded.val)[0]
    assert torch.equal(mask[0], raw(root / "masks" / "wet" / f"{name}.png") // 255)
    assert torch.equal(mask[1], raw(root / "masks" / "cars" / f"{name}.png"))


def test_grey_images_and_palettes_become_colours(tmp_path: Path) -> None:
    root = folder(tmp_path)
    write_image(root / "images" / "im0.png", mode="L")
    with Image.open(root / "images" / "im1.png") as image:
        image.convert("P").save(root / "images" / "im1.png")
    loaded = ImagesAndMasks(root, classes=3).loaded
    images = {}
    for part in (loaded.train, loaded.val, loaded.test):
        images |= {name: part.source.read(index)[0] for index, name in enumerate(names(part))}
    assert images["im0"].shape == images["im1"].shape == (3, HEIGHT, WIDTH)
    assert torch.equal(images["im0"][0], images["im0"][2])


def test_grey_values_of_16_bits_are_kept(tmp_path: Path) -> None:
    root = folder(tmp_path, mode="L")
    values = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 300
    for number, path in enumerate(sorted((root / "images").iterdir())):
        Image.fromarray(values + number).save(path)
    data = ImagesAndMasks(root, classes=3, channels=1)
    numbers = [int(name.removeprefix("im")) for name in names(data.loaded.train)]
    image = data.loaded.train.source.read(0)[0]
    assert torch.equal(image[0], torch.from_numpy((values + numbers[0]).astype(np.float32)))
    mean, _ = data.image_statistics
    assert mean.item() == pytest.approx(values.mean() + np.mean(numbers), rel=1e-6)


def test_images_are_brought_to_a_size_and_masks_keep_their_classes(tmp_path: Path) -> None:
    data = ImagesAndMasks(folder(tmp_path, numbers=(0, 2)), classes=3, size=(6, 8))
    for image, mask in (data.loaded.test[index] for index in range(2)):
        assert (image.shape, mask.shape) == ((3, 6, 8), (6, 8))
        assert classes_of(mask) == [0, 2]


# CamVid.


def test_camvid_as_segnet_gives_it(tmp_path: Path) -> None:
    data = CamVidData(camvid(tmp_path))
    assert data.task == Task("pixel", "classes", 3, 11)
    assert data.classes[0] == "sky"
    assert counts(data) == (5, 3, 4)
    assert classes_of(data.loaded.val[0][1]) == [0, 1, 2, 255]


def test_a_description_names_classes_channels_and_what_is_ignored(tmp_path: Path) -> None:
    root = camvid(tmp_path, numbers=(0, 1, 255))
    images = [path for split in ("train", "val", "test") for path in (tmp_path / split).iterdir()]
    for number, path in enumerate(images):
        write_image(path, number, mode="L")
    (root / "meta.json").write_text(json.dumps({"classes": ["a", "b"], "ignore_index": 255, "channels": 1}))
    data = CamVidData(root)
    assert data.task == Task("pixel", "classes", 1, 2)
    assert data.classes == ("a", "b")
    assert classes_of(data.loaded.test[0][1]) == [0, 1, 255]


def test_a_list_says_what_belongs_to_a_split(tmp_path: Path) -> None:
    root = camvid(tmp_path)
    (root / "train.txt").write_text("train4\ntrain1.png\n")
    (root / "val.txt").unlink()
    data = CamVidData(root)
    assert names(data.loaded.train) == ["train4", "train1"]
    assert counts(data) == (2, 3, 4), "without a list, everything"


def test_camvid_in_a_small_version(shared_data: Path) -> None:
    data = CamVidData(shared_data / "segmentation" / "camvid-small")
    assert counts(data) == (367, 101, 233)
    # Shares of the training pixels, measured apart: road 31.7 %, void 3.9 %.
    pixels = torch.stack([data.loaded.train.source.read(index)[1] for index in range(367)])
    shares = torch.bincount(pixels.flatten().long(), minlength=256) / pixels.numel()
    assert shares[data.classes.index("road")].item() == pytest.approx(0.317, abs=1e-3)
    assert shares[255].item() == pytest.approx(0.039, abs=1e-3)
    assert (data.loaded.train.statistics.mean / 255).tolist() == pytest.approx([0.412, 0.425, 0.433], abs=2e-3)


def test_electron_microscopy_has_one_channel(shared_data: Path) -> None:
    data = CamVidData(shared_data / "segmentation" / "vnc-em")
    assert data.task == Task("pixel", "classes", 1, 5)
    assert counts(data) == (12, 3, 5)
    assert data.loaded.train[0][0].shape == (1, 512, 512)


# Benchmarks.


def test_voc_as_it_is_unpacked(tmp_path: Path) -> None:
    data = VOCData(voc(tmp_path), val_share=0.5)
    assert counts(data) == (3, 3, 3)
    assert all("val" in name for name in names(data.loaded.test)), "the official validation images are the test images"
    assert all("train" in name for name in names(data.loaded.val))
    assert classes_of(data.loaded.test[0][1]) == [0, 15, 20, 255]


def test_cityscapes_as_it_is_unpacked(tmp_path: Path) -> None:
    data = CityscapesData(cityscapes(tmp_path), val_share=0.3)
    assert counts(data) == (5, 2, 2)
    # 7 is road, 11 building, 33 bicycle; 0 and 29 (caravan) are not evaluated.
    found = classes_of(data.loaded.test[0][1])
    assert [data.classes[number] for number in found if number != 255] == ["road", "building", "bicycle"]
    assert 255 in found


def test_ade20k_as_it_is_unpacked(tmp_path: Path) -> None:
    data = ADE20KData(ade20k(tmp_path), val_share=0.34)
    assert counts(data) == (4, 2, 2)
    assert classes_of(data.loaded.test[0][1]) == [0, 149, 255]


def test_no_training_image_validates(tmp_path: Path) -> None:
    loaded = VOCData(voc(tmp_path), val_share=0.5).loaded
    assert not set(names(loaded.train)) & set(names(loaded.val))
