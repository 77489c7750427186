"""Broken folders of images: each is refused with its file, what is wrong there, and what would be accepted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from trees import HEIGHT, WIDTH, ade20k, camvid, cityscapes, folder, voc, write_image, write_mask

from seg_space.data import ADE20KData, CamVidData, CityscapesData, ImagesAndMasks, VOCData
from seg_space.data.images import read_image


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def several_pages(path: Path) -> None:
    pages = [Image.new("L", (WIDTH, HEIGHT), number) for number in (0, 1)]
    path.with_suffix(".png").unlink()
    pages[0].save(path.with_suffix(".tif"), save_all=True, append_images=pages[1:])


# Each takes a good folder and breaks it; the message is what a user then reads, below the folder.
KINDS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no mask": (
        lambda root: (root / "masks" / "im3.png").rename(root / "masks" / "img3.png"),
        "images/im3.png has no mask: there is no im3 in {root}/masks; the nearest name there is ",
    ),
    "no image": (
        lambda root: (root / "images" / "im3.png").unlink(),
        "masks/im3.png has no image: there is none of that name in {root}/images",
    ),
    "another size": (
        lambda root: write_mask(root / "masks" / "im2.png", (0, 1), size=(HEIGHT, WIDTH - 1)),
        "masks/im2.png is 15 x 12 pixels (width x height), but its image {root}/images/im2.png is 16 x 12",
    ),
    "a number out of range": (
        lambda root: write_mask(root / "masks" / "im4.png", (0, 1, 7)),
        "all its numbers: 0, 1, 7); accepted are 0 to 2",
    ),
    "the ignored number without its being named": (
        lambda root: write_mask(root / "masks" / "im4.png", (0, 255)),
        "masks/im4.png holds the number 255",
    ),
    "a mask in colours": (
        lambda root: write_image(root / "masks" / "im1.png"),
        "masks/im1.png has the mode RGB (three colours); a mask holds one number a pixel, so accepted are 1, L, P",
    ),
    "a mask in JPEG": (
        lambda root: Image.open(root / "masks" / "im1.png").save(root / "masks" / "im1.jpg"),
        "masks/im1.jpg is none of the masks that are accepted (.png, .tif, .tiff)",
    ),
    "an image with transparency": (
        lambda root: write_image(root / "images" / "im1.png", mode="RGBA"),
        "images/im1.png has the mode RGBA (three colours and transparency); for channels=3, accepted are RGB, L, P",
    ),
    "printing colours": (
        lambda root: write_image((root / "images" / "im1.png").rename(root / "images" / "im1.jpg"), mode="CMYK"),
        "images/im1.jpg has the mode CMYK (four printing colours); for channels=3, accepted are RGB, L, P",
    ),
    "a broken image": (
        lambda root: truncate(root / "images" / "im5.png"),
        "images/im5.png cannot be read as an image: ",
    ),
    "a broken mask": (
        lambda root: truncate(root / "masks" / "im5.png"),
        "masks/im5.png cannot be read as an image: ",
    ),
    "no image at all": (
        lambda root: (root / "images" / "im5.png").write_text("not an image"),
        "images/im5.png cannot be read as an image: cannot identify image file",
    ),
    "another format": (
        lambda root: (root / "images" / "notes.txt").write_text("hello"),
        "images/notes.txt is none of the images that are accepted (.png, .jpg, .jpeg, .tif, .tiff)",
    ),
    "two of one name": (
        lambda root: write_image(root / "images" / "im5.jpg"),
        "images/im5.jpg and im5.png have one name; only one of them can be meant",
    ),
    "an empty folder": (
        lambda root: [path.unlink() for path in (root / "images").iterdir()],
        "images is empty; images (.png, .jpg, .jpeg, .tif, .tiff) belong there",
    ),
    "several pages": (
        lambda root: several_pages(root / "masks" / "im5.png"),
        "masks/im5.tif holds 2 images; accepted is one a file",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_folder_is_refused_with_the_file_that_is_wrong(kind: str, tmp_path: Path) -> None:
    root = folder(tmp_path / "data")
    ImagesAndMasks(root, classes=3).setup()
    break_it, message = KINDS[kind]
    break_it(root)
    with pytest.raises(ValueError, match=re.escape(message.format(root=root))) as raised:
        ImagesAndMasks(root, classes=3).setup()
    assert str(root) in str(raised.value)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of some damage that it can live with
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_whatever_is_broken_in_a_file_is_said_with_its_name(suffix: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    path = write_image(tmp_path / f"image{suffix}")
    good = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    said = []
    for _ in range(300):
        broken = good.copy()
        broken[random.integers(len(good) if random.random() < 0.5 else 100, size=3)] = random.integers(256, size=3)
        path.write_bytes(broken.tobytes())
        try:
            read_image(path, 3)
        except ValueError as error:
            said.append(str(error))
    assert len(said) > 50
    assert all(str(path) in message for message in said)


def test_a_folder_that_is_not_there_is_refused_with_what_is_beside_it(tmp_path: Path) -> None:
    root = folder(tmp_path / "data")
    (root / "masks").rename(root / "labels")
    with pytest.raises(FileNotFoundError, match=r"masks is no folder, but masks belong there; .*holds images, labels"):
        ImagesAndMasks(root).setup()
    with pytest.raises(FileNotFoundError, match="nowhere is no folder"):
        ImagesAndMasks(tmp_path / "nowhere").setup()


def test_a_split_that_is_half_there_is_refused(tmp_path: Path) -> None:
    folder(tmp_path / "train")
    folder(tmp_path / "val")
    with pytest.raises(FileNotFoundError, match=r"test is no folder, .*holds train, val"):
        ImagesAndMasks(tmp_path, classes=3).setup()


def test_too_few_images_for_a_split_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 items are too few for a split"):
        ImagesAndMasks(folder(tmp_path, count=2), classes=3).setup()


def test_masks_whose_names_end_otherwise_are_refused_with_the_nearest(tmp_path: Path) -> None:
    root = folder(tmp_path)
    for path in list((root / "masks").iterdir()):
        path.rename(path.with_name(f"{path.stem}_mask.png"))
    with pytest.raises(ValueError, match=r"\(nor have 9 others\).*the nearest name there is im0_mask"):
        ImagesAndMasks(root, classes=3).setup()
    ImagesAndMasks(root, classes=3, mask_suffix="_mask").setup()


def test_a_grey_folder_is_refused_where_colours_are_expected_the_other_way_round(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"mode RGB \(three colours\); for channels=1, accepted are 1, L, I;16"):
        ImagesAndMasks(folder(tmp_path), classes=3, channels=1).setup()


def test_a_foreground_is_1_or_255_but_not_both_in_one_file(tmp_path: Path) -> None:
    root = folder(tmp_path, numbers=(0, 255))
    ImagesAndMasks(root, target="binary").setup()
    write_mask(root / "masks" / "im1.png", (0, 1, 255))
    with pytest.raises(ValueError, match=r"im1.png holds the number 255 .* accepted are 0, 1, or 0, 255"):
        ImagesAndMasks(root, target="binary").setup()


def test_a_number_beyond_a_byte_is_refused_by_its_value(tmp_path: Path) -> None:
    root = folder(tmp_path)
    array = np.zeros((HEIGHT, WIDTH), dtype=np.uint16)
    array[3, 5] = 4_000
    Image.fromarray(array).save(root / "masks" / "im1.png")
    with pytest.raises(ValueError, match=r"the number 4000 \(first at row 3, column 5; all its numbers: 0, 4000\)"):
        ImagesAndMasks(root, classes=3).setup()


def test_files_that_systems_leave_behind_are_passed_over(tmp_path: Path) -> None:
    root = folder(tmp_path)
    (root / "images" / ".DS_Store").write_text("")
    ImagesAndMasks(root, classes=3).setup()


# What a message advises.


@pytest.mark.parametrize(
    ("numbers", "given", "cure"),
    [
        ((0, 255), {"classes": 2}, "; for a foreground of 255, target: binary"),
        ((0, 1, 2, 255), {"classes": 3}, "; if 255 marks pixels that do not count, ignore_index: 255"),
        ((0, 1, 4), {"classes": 3}, "; if these are classes, classes: 5 at least"),
        ((0, 1, 2), {"target": "binary"}, "; for numbers of classes, target: classes"),
    ],
)
def test_numbers_that_stand_for_nothing_are_refused_with_the_cure(
    numbers: tuple[int, ...], given: dict[str, Any], cure: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=re.escape(cure)):
        ImagesAndMasks(folder(tmp_path, numbers=numbers), **given).setup()


def test_a_suffix_that_all_masks_have_is_named(tmp_path: Path) -> None:
    root = folder(tmp_path)
    for path in list((root / "masks").iterdir()):
        path.rename(path.with_name(f"{path.stem}_mask.png"))
    with pytest.raises(ValueError, match="all masks have the suffix '_mask', so say mask_suffix: _mask"):
        ImagesAndMasks(root, classes=3).setup()


def test_a_folder_in_the_layout_of_another_data_set_names_that_one(tmp_path: Path) -> None:
    for make, name in ((camvid, "camvid"), (voc, "voc"), (cityscapes, "cityscapes"), (ade20k, "ade20k")):
        root = make(tmp_path / name)
        with pytest.raises(
            (ValueError, FileNotFoundError), match=f"looks like the layout of {name}, so .* data: {name}"
        ):
            ImagesAndMasks(root).setup()
    with pytest.raises(FileNotFoundError, match="looks like the layout of images-and-masks"):
        CamVidData(folder(tmp_path / "own")).setup()


# Whole sets.


def test_an_image_that_is_in_two_splits_is_named(tmp_path: Path) -> None:
    root = voc(tmp_path / "voc")
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("2007_train0\n2007_val1\n")
    with pytest.raises(ValueError, match=r"2007_train0.jpg is in the splits '.*' and 'test'; leave it in one of them"):
        VOCData(root).setup()
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("2007_val0\n2007_val1\n")
    for pattern in ("JPEGImages/2007_{}.jpg", "SegmentationClass/2007_{}.png"):
        (root / pattern.format("val1")).unlink()
        (root / pattern.format("val1")).hardlink_to(root / pattern.format("train0"))
    with pytest.raises(ValueError, match=r"2007_\w+.jpg is in the splits '.*' and 'test'; leave it in one of them"):
        VOCData(root).setup()
    root = folder(tmp_path / "own")
    for name in ("im3", "im4", "im5"):
        (root / "images" / f"{name}.png").write_bytes((root / "images" / "im0.png").read_bytes())
    data = ImagesAndMasks(root, classes=3, fractions=(0.4, 0.3, 0.3))
    with pytest.warns(UserWarning, match=r"im\d.png and .*im\d.png are the same image in two splits"):
        data.setup()


@pytest.mark.parametrize(
    ("numbers", "given", "message"),
    [
        ((0,), {"classes": 3}, "are of the class 0, so there is nothing to learn"),
        ((2,), {"classes": ("a", "b", "c")}, r"are of the class c \(2\), so there is nothing to learn"),
        ((0,), {"target": "binary"}, r"are background \(0\), so there is nothing to learn"),
        ((255,), {"target": "binary"}, r"are foreground \(1\), so there is nothing to learn"),
        ((9,), {"classes": 3, "ignore_index": 9}, "no pixel of any training mask counts: all are ignored"),
    ],
)
def test_masks_from_which_nothing_can_be_learned_are_refused(
    numbers: tuple[int, ...], given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        ImagesAndMasks(folder(tmp_path, numbers=numbers), **given).setup()


def test_images_of_one_colour_are_warned_of(tmp_path: Path) -> None:
    root = folder(tmp_path)
    for number, path in enumerate(sorted((root / "images").iterdir())):
        Image.new("RGB", (WIDTH, HEIGHT), (0, 0, 0)).save(path, dpi=(number + 1, 1))
    with pytest.warns(UserWarning, match=r"all training images are of one colour, \[0.0, 0.0, 0.0\]"):
        ImagesAndMasks(root, classes=3).setup()


# The layouts of benchmarks.


def test_a_list_that_names_what_is_not_there_is_refused(tmp_path: Path) -> None:
    root = camvid(tmp_path)
    (root / "val.txt").write_text("val0\nval9\n")
    with pytest.raises(ValueError, match=r"val.txt names 'val9', which is not in .*val$"):
        CamVidData(root).setup()
    (root / "val.txt").write_text("val0\nval1\nval0\n")
    with pytest.raises(ValueError, match=r"val.txt names 'val0' twice"):
        CamVidData(root).setup()
    (root / "val.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"val.txt names nothing; it is a list, one name a line"):
        CamVidData(root).setup()


def test_a_list_is_read_as_editors_and_systems_write_it(tmp_path: Path) -> None:
    root = camvid(tmp_path)
    (root / "train" / "train1.png").rename(root / "train" / "one more.png")
    (root / "trainannot" / "train1.png").rename(root / "trainannot" / "one more.png")
    names = ["..\\x\\train0.png", "", "/somewhere/train2.png /annot/train2.png", "one more.png", " train4 "]
    (root / "train.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(names).encode())
    data = CamVidData(root)
    assert [files.image.stem for files in data.loaded.train.source.files] == ["train0", "train2", "one more", "train4"]
    (root / "train.txt").write_bytes("train0\n".encode("utf-16"))
    with pytest.raises(ValueError, match=r"train.txt is no text in UTF-8 \(.*\); save it in this encoding"):
        CamVidData(root).setup()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "AttributeError"),
        (json.dumps({"ignore_index": 255}), "KeyError: 'classes'"),
        (json.dumps({"classes": ["a", "a"]}), "classes have names of their own; got a, a"),
        (json.dumps({"classes": ["a", "b"], "channels": 2}), "channels is one of 1, 3, 4; got 2"),
    ],
)
def test_a_broken_description_is_refused(content: str, reason: str, tmp_path: Path) -> None:
    root = camvid(tmp_path)
    (root / "meta.json").write_text(content)
    with pytest.raises(ValueError, match=re.escape("meta.json is a JSON object with `classes`")) as raised:
        _ = CamVidData(root).task
    assert reason in str(raised.value)


def test_a_file_that_a_benchmark_lacks_is_named(tmp_path: Path) -> None:
    root = voc(tmp_path / "voc")
    (root / "JPEGImages" / "2007_val1.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"val.txt names '2007_val1', but there is no .*2007_val1.jpg"):
        VOCData(root).setup()
    with pytest.raises(FileNotFoundError, match=r"trainaug.txt is missing; it lists the images of a split"):
        VOCData(root, train_list="trainaug").setup()
    root = cityscapes(tmp_path / "cityscapes")
    next((root / "gtFine" / "train" / "aachen").glob("*labelIds.png")).unlink()
    with pytest.raises(FileNotFoundError, match=r"leftImg8bit.png has no mask: there is no .*gtFine_labelIds.png"):
        CityscapesData(root).setup()
    root = ade20k(tmp_path / "ade20k")
    next((root / "annotations" / "validation").iterdir()).unlink()
    with pytest.raises(ValueError, match=r"ADE_valid_00000000.jpg has no mask|ADE_valid_00000001.jpg has no mask"):
        ADE20KData(root).setup()


# Arguments.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size is at least 1; got 0"),
        ({"workers": -1}, "workers is at least 0; got -1"),
        ({"seed": -1}, "seed is at least 0; got -1"),
        ({"crop": 0}, "crop is a height and a width of at least 1, or one number for both; got 0"),
        ({"size": (4, 5, 6)}, "size is a height and a width"),
        ({"scales": (2.0, 0.5)}, "scales is the least and the largest factor"),
        ({"target": "regression"}, "target is one of classes, binary, multilabel; got 'regression'"),
        ({"channels": 2}, "channels is one of 1, 3, 4; got 2"),
        ({"classes": "abc"}, "classes are a list of names, or how many there are; got 'abc'"),
        ({"classes": 3.0}, "classes are a list of names, or how many there are; got 3.0"),
        ({"crop": 2.5}, "crop is a height and a width of at least 1, or one number for both; got 2.5"),
        ({"scales": (1.0, float("inf"))}, "scales is the least and the largest factor"),
        ({"classes": 256}, "classes are 1 to 255, since 255 marks ignored pixels; got 256"),
        ({"classes": 3, "target": "multilabel"}, "classes are the names of the labels' folders"),
        ({"classes": 3, "ignore_index": 2}, "ignore_index is none of the numbers 0 to 2; got 2"),
        ({"fractions": (0.5, 0.5, 0.5)}, "fractions is three positive shares"),
    ],
)
def test_an_argument_out_of_range_is_refused_before_anything_is_read(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        ImagesAndMasks("nowhere", **arguments)


def test_a_share_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="val_share is between 0 and 1; got 1"):
        VOCData("nowhere", val_share=1.0)
