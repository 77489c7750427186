"""Images without targets are read as those of the training were, and masks are written as theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from trees import folder, write_image

from automl_plugins import Task
from automl_plugins.training.data.unlabelled import Unlabelled
from automl_plugins.training.prediction import Prediction
from automl_plugins.training.preprocessing import Preprocessing
from seg_space.data import ImageFolderData, ImagesAndMasks, ImageTableData
from seg_space.data.tiles import LARGEST, predicted_in_tiles


def inputs_of(data: Any, path: Path, **options: Any) -> Unlabelled:
    found: Unlabelled = type(data).unlabelled(path, Preprocessing.of(data, data.task, nn.Identity()), **options)
    return found


def first_channels(task: Task) -> Any:
    """Predicts the first channels of an image: its logits, without any network."""

    def predict(image: Tensor) -> Prediction:
        logits = image[:, : task.out_channels]
        values = logits.softmax(dim=1) if task.target == "classes" else logits.sigmoid()
        return Prediction(values, torch.zeros_like(values), task)

    return predict


def test_images_of_the_training_are_read_again_as_they_were(tmp_path: Path) -> None:
    data = ImagesAndMasks(folder(tmp_path), classes=3, size=(8, 10), scales=(1, 1), flip=False)
    known = {image.numpy().tobytes() for split in ("train", "val", "test") for image, _ in getattr(data.loaded, split)}
    inputs = inputs_of(data, tmp_path / "images")
    assert {image[0].numpy().tobytes() for _, image in inputs} == known
    assert inputs.rows[0] == ("im0.png",)


def test_whole_images_of_one_size_come_in_batches_and_others_alone(tmp_path: Path) -> None:
    for number in range(12):
        write_image(tmp_path / "photos" / "ab"[number % 2] / f"{number}.png", number)
    for size, lengths in ((8, [5, 5, 2]), (None, [1] * 12)):
        data = ImageFolderData(tmp_path / "photos", size=size, batch_size=5)
        assert [len(places) for places, _ in inputs_of(data, tmp_path / "photos")] == lengths


def test_a_table_names_images_or_a_folder_has_them(tmp_path: Path) -> None:
    rows = "".join(f"{write_image(tmp_path / f'{n}.png', n).name},{n}.5\n" for n in range(12))
    (tmp_path / "table.csv").write_text(f"file,area\n{rows}")
    data = ImageTableData(tmp_path / "table.csv", ["area"], image_column="file")
    (tmp_path / "new.csv").write_text("photo\n3.png\nnowhere.png\n4.png\n")
    inputs = inputs_of(data, tmp_path / "new.csv", image_column="photo")
    assert [list(places) for places, _ in inputs] == [[0], [2]]
    assert "nowhere.png cannot be read as an image" in inputs.skipped[1]
    assert len(inputs_of(data, tmp_path)) == 14


def test_what_is_no_image_of_the_trainings_kind_is_skipped_with_its_reason(tmp_path: Path) -> None:
    data = ImagesAndMasks(folder(tmp_path / "known"), classes=3)
    new = tmp_path / "new"
    write_image(new / "a.png")
    (new / "b.png").write_text("nothing")
    write_image(new / "c.png", mode="RGBA")
    (new / "notes.txt").write_text("none")
    (new / ".hidden").write_text("none")
    inputs = inputs_of(data, new)
    assert [list(places) for places, _ in inputs] == [[0]]
    reasons = [inputs.skipped[place] for place in (1, 2, 3)]
    for reason, told in zip(reasons, ("cannot be read as an image", "has the mode RGBA", "is none of"), strict=True):
        assert told in reason


def test_images_of_other_bits_than_the_trainings_are_skipped(tmp_path: Path) -> None:
    data = ImagesAndMasks(folder(tmp_path / "known", mode="L"), classes=3, channels=1)
    Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16)).save(tmp_path / "deep.png")
    inputs = inputs_of(data, tmp_path / "deep.png")
    assert list(inputs) == []
    assert inputs.skipped[0].endswith("has more than 8 bits a value, and the training images had 8 bits")


@pytest.mark.parametrize(
    ("numbers", "settings", "expected"),
    [
        ((0, 1, 2), {"classes": 3}, {0, 1, 2}),
        ((0, 255), {"target": "binary"}, {0, 255}),
        ((0, 1), {"target": "binary"}, {0, 1}),
    ],
)
def test_masks_hold_the_numbers_of_the_trainings_masks(
    numbers: tuple[int, ...], settings: dict[str, Any], expected: set[int], tmp_path: Path
) -> None:
    data = ImagesAndMasks(folder(tmp_path, numbers=numbers), **settings)
    inputs = inputs_of(data, tmp_path / "images")
    found: set[int] = set()
    for (place,), prediction in inputs.predictions(first_channels(data.task)):
        inputs.write(place, prediction, tmp_path / "out", probabilities=True)
        name = Path(str(inputs.rows[place][0])).stem
        mask = np.array(Image.open(tmp_path / "out" / f"{name}.png"))
        assert mask.shape == (12, 16)
        found |= set(np.unique(mask).tolist())
        with np.load(tmp_path / "out" / f"{name}.npz") as kept:
            assert kept["values"].shape == (data.task.out_channels, 12, 16)
            assert kept["names"].tolist() == list(data.classes)
    assert found == expected


def test_masks_have_the_palette_of_the_trainings_masks_and_the_size_of_their_images(tmp_path: Path) -> None:
    folder(tmp_path)
    palette = [10, 20, 30, 40, 50, 60, 70, 80, 90]
    for path in (tmp_path / "masks").iterdir():
        mask = Image.open(path)
        mask.putpalette(palette)
        mask.save(path)
    data = ImagesAndMasks(tmp_path, classes=3, size=8)
    write_image(tmp_path / "new" / "sub" / "large.png", size=(31, 45))
    inputs = inputs_of(data, tmp_path / "new")
    for (place,), prediction in inputs.predictions(first_channels(data.task)):
        inputs.write(place, prediction, tmp_path / "out", probabilities=False)
    with Image.open(tmp_path / "out" / "sub" / "large.png") as written:
        assert (written.mode, written.size) == ("P", (45, 31))
        assert written.getpalette()[:9] == palette  # type: ignore[index]
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["large.png"]


def test_several_labels_have_a_mask_each_and_equal_names_keep_their_suffix(tmp_path: Path) -> None:
    for index in range(10):
        write_image(tmp_path / "known" / "images" / f"im{index}.png", index)
        for label in ("cat", "dog"):
            folder_of = tmp_path / "known" / "masks" / label
            folder_of.mkdir(parents=True, exist_ok=True)
            mask = np.random.default_rng(index).integers(0, 2, (12, 16), dtype=np.uint8)
            Image.fromarray(mask * 255).save(folder_of / f"im{index}.png")
    data = ImagesAndMasks(tmp_path / "known", classes=("cat", "dog"), target="multilabel")
    write_image(tmp_path / "new" / "a.png")
    write_image(tmp_path / "new" / "a.jpg")
    inputs = inputs_of(data, tmp_path / "new")
    for (place,), prediction in inputs.predictions(first_channels(data.task)):
        inputs.write(place, prediction, tmp_path / "out", probabilities=False)
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png"))
    assert written == ["cat/a.jpg.png", "cat/a.png.png", "dog/a.jpg.png", "dog/a.png.png"]
    assert set(np.unique(Image.open(tmp_path / "out" / "cat" / "a.png.png")).tolist()) == {0, 255}


def test_a_prediction_in_tiles_is_that_at_once_where_pixels_do_not_depend_on_one_another() -> None:
    task = Task("pixel", "classes", in_channels=3, out_channels=3)
    image = torch.randn(1, 3, 1100, LARGEST // 1100 + 700)
    shapes = []

    def predict(part: Tensor) -> Prediction:
        shapes.append(tuple(part.shape[-2:]))
        found: Prediction = first_channels(task)(part)
        return found

    found = predicted_in_tiles(image, predict)
    assert set(shapes) == {(1024, 1024)}
    torch.testing.assert_close(found.values, image.softmax(dim=1))
    small = image[..., :50, :70]
    assert torch.equal(predicted_in_tiles(small, predict).values, small.softmax(dim=1))
    assert shapes[-1] == (50, 70)
