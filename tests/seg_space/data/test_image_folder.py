"""A folder of images for each class: layouts, splits, refusals, and batches."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from trees import write_image

from automl_plugins import Task
from automl_plugins.training.data.splits import stratified_split
from seg_space.data import ImageFolderData
from seg_space.data.sources import FileSource, ImageDataset

SIZE = (12, 16)


def classes(root: Path, counts: dict[str, int], seed: int = 0, **arguments: Any) -> Path:
    """Folders with so many images of noise."""
    for number, (name, count) in enumerate(counts.items()):
        for index in range(count):
            write_image(root / name / f"{index}.png", seed + 1000 * number + index, **arguments)
    return root


def split_folder(root: Path, **counts: int) -> Path:
    """Folders of splits with so many images in each of two classes."""
    for number, (name, count) in enumerate(counts.items()):
        classes(root / name, {"cat": count, "dog": count}, seed=10_000 * number)
    return root


def files(split: ImageDataset) -> list[str]:
    assert isinstance(split.source, FileSource)
    return [str(each.image) for each in split.source.files]


def names(split: ImageDataset) -> list[str]:
    """The class of each image, as its folder says."""
    return [Path(file).parent.name for file in files(split)]


def targets(split: ImageDataset) -> list[int]:
    return [int(split[index][1]) for index in range(len(split))]


# Splits.


@given(
    st.lists(st.integers(0, 3), min_size=20, max_size=60),
    st.sampled_from([(0.7, 0.15, 0.15), (0.5, 0.25, 0.25), (0.8, 0.2)]),
    st.integers(0, 5),
)
def test_every_group_has_its_share_in_every_set(groups: list[int], fractions: tuple[float, ...], seed: int) -> None:
    parts = stratified_split(groups, fractions, seed)
    assert sorted(torch.cat(parts).tolist()) == list(range(len(groups)))
    counts = Counter(groups)
    for part, share in zip(parts, fractions, strict=True):
        found = Counter(groups[index] for index in part.tolist())
        for group, count in counts.items():
            # One before and one behind the group may be off.
            assert abs(found[group] - share * count) < 2
    assert all(torch.equal(*pair) for pair in zip(parts, stratified_split(groups, fractions, seed), strict=True))


def test_too_few_items_for_a_split_are_refused() -> None:
    with pytest.raises(ValueError, match=r"2 items are too few for a split of 0.7, 0.15, 0.15"):
        stratified_split([0, 1], (0.7, 0.15, 0.15), seed=0)


def test_images_are_split_at_random_in_every_class_alike(tmp_path: Path) -> None:
    root = classes(tmp_path, {"cat": 20, "dog": 10, "eel": 10})
    data = ImageFolderData(root)
    assert data.task == Task("image", "classes", in_channels=3, out_channels=3)
    assert data.classes == ("cat", "dog", "eel")
    loaded = data.loaded
    assert Counter(names(loaded.train)) == {"cat": 14, "dog": 7, "eel": 7}
    for split in (loaded.val, loaded.test):
        assert len(split) == 6
        assert set(names(split)) == {"cat", "dog", "eel"}
    for split in (loaded.train, loaded.val, loaded.test):
        assert targets(split) == [data.classes.index(name) for name in names(split)]
    assert files(ImageFolderData(root).loaded.train) == files(loaded.train)
    assert files(ImageFolderData(root, seed=1).loaded.train) != files(loaded.train)


@pytest.mark.parametrize("validation", ["val", "valid", "validation"])
def test_a_split_of_the_folder_is_kept(tmp_path: Path, validation: str) -> None:
    root = split_folder(tmp_path, train=3, **{validation: 2}, test=1)
    loaded = ImageFolderData(root).loaded
    for split, name in ((loaded.train, "train"), (loaded.val, validation), (loaded.test, "test")):
        assert all(Path(file).parents[1].name == name for file in files(split))
        assert targets(split) == sorted(targets(split))
    assert [len(each) for each in (loaded.train, loaded.val, loaded.test)] == [6, 4, 2]


@pytest.mark.parametrize("held_out", ["val", "test"])
def test_where_one_part_is_missing_training_images_validate(tmp_path: Path, held_out: str) -> None:
    root = split_folder(tmp_path, train=10, **{held_out: 2})
    loaded = ImageFolderData(root, fractions=(0.6, 0.2, 0.2)).loaded
    assert all(f"/{held_out}/" in file for file in files(loaded.test))
    assert len(loaded.train) == 15
    assert Counter(names(loaded.val)) in ({"cat": 2, "dog": 3}, {"cat": 3, "dog": 2})


def test_a_class_that_is_called_train_is_a_class(tmp_path: Path) -> None:
    assert ImageFolderData(classes(tmp_path, {"bus": 5, "train": 5})).classes == ("bus", "train")


def test_classes_may_be_chosen_and_ordered(tmp_path: Path) -> None:
    root = classes(tmp_path, {"cat": 10, "dog": 10, "eel": 10})
    data = ImageFolderData(root, classes=("eel", "cat"))
    assert data.task.out_channels == 2
    assert set(names(data.loaded.train)) == {"eel", "cat"}
    train = data.loaded.train
    assert targets(train) == [("eel", "cat").index(name) for name in names(train)]


def test_the_second_class_is_yes(tmp_path: Path) -> None:
    data = ImageFolderData(classes(tmp_path, {"ill": 10, "well": 10}), classes=("well", "ill"), target="binary")
    assert data.task == Task("image", "binary", in_channels=3, out_channels=1)
    train = data.loaded.train
    assert targets(train) == [int(name == "ill") for name in names(train)]


# Files.


def test_folders_inside_a_class_and_hidden_files_are_as_users_have_them(tmp_path: Path) -> None:
    root = classes(tmp_path, {"cat": 4, "dog/small": 4, "dog/large": 4})
    for name in (".DS_Store", "cat/Thumbs.db", "cat/.hidden.png"):
        (root / name).write_bytes(b"x")
    data = ImageFolderData(root)
    assert data.classes == ("cat", "dog")
    assert sum(map(len, (data.loaded.train, data.loaded.val, data.loaded.test))) == 12


def test_16_bits_and_orientations_are_read_as_those_of_masks(tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, SIZE[0] * SIZE[1]).reshape(SIZE).astype(np.uint16)
    for name, values in (("dark", deep // 3), ("light", deep)):
        (tmp_path / name).mkdir()
        for index in range(5):
            Image.fromarray(values + np.uint16(index)).save(tmp_path / name / f"{index}.png")
    source = ImageFolderData(tmp_path, channels=1).loaded.train.source
    assert isinstance(source, FileSource)
    for index, each in enumerate(source.files):
        image, target = source.read(index)
        assert int(target) == ("dark", "light").index(each.image.parent.name)
        assert np.array_equal(image[0].numpy(), np.array(Image.open(each.image)).astype(np.float32))
    turned = tmp_path / "turned"
    classes(turned, {"cat": 4, "dog": 4})
    picture = Image.open(turned / "cat" / "0.png").transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(turned / "cat" / "0.png", exif=exif)
    loaded = ImageFolderData(turned, fractions=(0.5, 0.25, 0.25)).loaded
    for split in (loaded.train, loaded.val, loaded.test):
        assert all(split[index][0].shape == (3, *SIZE) for index in range(len(split)))


def test_images_of_several_sizes_are_brought_to_one(tmp_path: Path) -> None:
    root = classes(tmp_path, {"cat": 6, "dog": 6})
    write_image(root / "dog" / "wide.png", size=(12, 40))
    with pytest.raises(ValueError, match=r"wide\.png is of 12 x 40 pixels .* of 12 x 16; give size, such as size: 12"):
        ImageFolderData(root).setup()
    data = ImageFolderData(root, size=(8, 10), batch_size=4, flip=False)
    images, numbers = next(iter(data.train_dataloader()))
    assert images.shape == (4, 3, 8, 10)
    assert images.dtype == torch.float32
    assert numbers.shape == (4,)
    assert numbers.dtype == torch.int64


def test_training_images_are_augmented_and_their_targets_are_not(tmp_path: Path) -> None:
    root = classes(tmp_path, {"cat": 8, "dog": 8})
    plain = ImageFolderData(root, scales=(1.0, 1.0), flip=False, batch_size=11)
    augmented = ImageFolderData(root, scales=(0.5, 2.0), crop=(6, 9), batch_size=11)
    (before, numbers), (after, again) = (next(iter(each.train_dataloader())) for each in (plain, augmented))
    assert torch.equal(numbers, again)
    assert before.shape == (11, 3, *SIZE)
    assert after.shape == (11, 3, 6, 9)
    assert torch.equal(after, next(iter(augmented.train_dataloader()))[0]), "of the seed and the epoch alone"


# Refusals.


def write(root: Path, counts: dict[str, int]) -> Path:
    return classes(root, counts)


@pytest.mark.parametrize(
    ("counts", "arguments", "complaint"),
    [
        ({"cat": 3}, {}, "has cat; it has to have a folder for each class, two at least"),
        ({"cat": 9, "dog": 9}, {"classes": ("cat", "dogs")}, "has no folder of the class 'dogs'; it has cat, dog"),
        (
            {"cat": 9, "dog": 9, "eel": 9},
            {"target": "binary"},
            "a binary target is of two classes; .* cat, dog, eel",
        ),
        ({"images": 3, "masks": 3}, {}, "images/ and masks/, which are no classes; take data: images-and-masks"),
        ({"train/cat": 3, "val/cat": 3, "valid/cat": 2}, {}, "has train, val, valid; one of these is for validation"),
        (
            {"train/cat": 3, "train/dog": 3, "test/fox": 2},
            {},
            "fox is of no class; those of training are cat, dog",
        ),
    ],
)
def test_other_folders_are_refused_by_name(
    tmp_path: Path, counts: dict[str, int], arguments: dict[str, Any], complaint: str
) -> None:
    classes(tmp_path, counts)
    with pytest.raises((ValueError, FileNotFoundError), match=complaint):
        _ = ImageFolderData(tmp_path, **arguments).task, ImageFolderData(tmp_path, **arguments).loaded


def test_what_is_wrong_in_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere is no folder"):
        _ = ImageFolderData(tmp_path / "nowhere").task
    root = classes(tmp_path / "set", {"cat": 8, "dog": 8})
    (root / "cat" / "notes.txt").write_text("none")
    with pytest.raises(ValueError, match=r"notes\.txt is none of the images that are accepted"):
        ImageFolderData(root).setup()
    (root / "cat" / "notes.txt").unlink()
    (root / "cat" / "broken.png").write_bytes(b"<html>")
    with pytest.raises(ValueError, match=r"broken\.png cannot be read as an image: .* a page of the web"):
        ImageFolderData(root).setup()


def test_classes_without_training_images_are_named_and_one_class_is_refused(tmp_path: Path) -> None:
    root = split_folder(tmp_path / "set", train=3, val=2, test=2)
    (root / "train" / "fox").mkdir()
    with pytest.warns(UserWarning, match="no training image is of class fox: nothing of it is learned"):
        ImageFolderData(root).setup()
    shutil.rmtree(root / "train" / "dog")
    (root / "train" / "dog").mkdir()
    with pytest.raises(ValueError, match="all training images are of class 'cat', so there is nothing to learn"):
        ImageFolderData(root).setup()


def test_equal_images_in_two_splits_are_warned_of(tmp_path: Path) -> None:
    root = split_folder(tmp_path, train=3, val=2, test=2)
    shutil.copy(root / "train" / "cat" / "0.png", root / "test" / "cat" / "again.png")
    with pytest.warns(UserWarning, match="are the same image in two splits"):
        ImageFolderData(root).setup()


def test_arguments_out_of_range_are_refused() -> None:
    refused: Iterable[tuple[dict[str, Any], str]] = [
        ({"target": "multilabel"}, "target is one of classes, binary; got 'multilabel'"),
        ({"channels": 2}, "channels is one of 1, 3, 4; got 2"),
        ({"fractions": (0.5, 0.5, 0.5)}, "fractions is three positive shares"),
        ({"classes": ("cat", "cat")}, "classes have names of their own"),
    ]
    for arguments, complaint in refused:
        with pytest.raises(ValueError, match=complaint):
            ImageFolderData("here", **arguments)
