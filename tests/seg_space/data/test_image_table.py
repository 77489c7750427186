"""Images with a table of their targets: values, labels, classes, splits, and refusals that name the cell."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from trees import write_image

from automl_plugins import Task
from automl_plugins.training.fit import LEAN
from automl_plugins.training.lightning import pl
from seg_space import AutoDeepLabSpace, ImageClassification, ImageRegression
from seg_space.data import ImageTableData
from seg_space.data.sources import FileSource, ImageDataset

# Tiny sets are warned of.
pytestmark = pytest.mark.filterwarnings("ignore:.*too few validation samples")


def table(root: Path, header: str, rows: list[str], images: int | None = None, **arguments: Any) -> Path:
    """A table, and images of noise that are called 0.png, 1.png, ..."""
    for index in range(len(rows) if images is None else images):
        write_image(root / "photos" / f"{index}.png", index, **arguments)
    path = root / "photos" / "table.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def values(root: Path, count: int = 20) -> Path:
    return table(root, "image,age,height", [f"{index}.png,{20 + index},{index / 10}" for index in range(count)])


def rows(split: ImageDataset) -> list[int]:
    """The numbers of a split's images."""
    assert isinstance(split.source, FileSource)
    return [int(each.image.stem) for each in split.source.files]


def targets(split: ImageDataset) -> torch.Tensor:
    return torch.stack([split[index][1] for index in range(len(split))])


def test_each_image_has_the_values_of_its_row(tmp_path: Path) -> None:
    data = ImageTableData(values(tmp_path), ["age", "height"], batch_size=4)
    assert data.task == Task("image", "regression", in_channels=3, out_channels=2)
    loaded = data.loaded
    assert [len(split) for split in (loaded.train, loaded.val, loaded.test)] == [14, 3, 3]
    for split in (loaded.train, loaded.val, loaded.test):
        expected = torch.tensor([[20.0 + row, row / 10] for row in rows(split)])
        torch.testing.assert_close(targets(split), expected)
    images, batch = next(iter(data.train_dataloader()))
    assert images.shape[0] == 4
    assert batch.shape == (4, 2)
    mean, deviation = data.target_statistics
    torch.testing.assert_close(mean, targets(loaded.train).mean(dim=0))
    torch.testing.assert_close(deviation, targets(loaded.train).std(dim=0, correction=0))


def test_a_value_that_is_missing_is_nan_and_counts_nowhere(tmp_path: Path) -> None:
    lines = [f"{index}.png,{index if index % 3 else 'NA'}" for index in range(20)]
    data = ImageTableData(table(tmp_path, "image,age", lines), ["age"])
    found = targets(data.loaded.train)[:, 0]
    assert [value.isnan().item() for value in found] == [row % 3 == 0 for row in rows(data.loaded.train)]
    mean, _ = data.target_statistics
    torch.testing.assert_close(mean, found.nanmean().view(1))


def test_classes_are_names_and_split_alike(tmp_path: Path) -> None:
    lines = [f"{index}.png;{'owl' if index % 2 else 'elk'}" for index in range(40)]
    data = ImageTableData(table(tmp_path, "file;kind", lines), ["kind"], "classes", image_column="file")
    assert data.classes == ("elk", "owl")
    assert data.task == Task("image", "classes", in_channels=3, out_channels=2)
    for split, count in ((data.loaded.train, 14), (data.loaded.val, 3), (data.loaded.test, 3)):
        assert targets(split).tolist() == [row % 2 for row in rows(split)]
        assert set(Counter(targets(split).tolist()).values()) == {count}


def test_labels_are_columns_and_a_split_may_be_one(tmp_path: Path) -> None:
    parts = ["train"] * 6 + ["val"] * 3 + ["test"] * 3
    old = ["" if index == 2 else str(index // 2 % 2) for index in range(12)]
    lines = [f"{index}.png,{index % 2},{old[index]},{part}" for index, part in enumerate(parts)]
    path = table(tmp_path, "image,wet,old,part", lines)
    data = ImageTableData(path, ["wet", "old"], "multilabel", split_column="part")
    assert (rows(data.loaded.train), rows(data.loaded.val)) == (list(range(6)), [6, 7, 8])
    found = targets(data.loaded.train)
    assert math.isnan(found[2, 1])
    assert found[3].tolist() == [1.0, 1.0]
    path.write_text(path.read_text().replace("val", "dev"))
    with pytest.raises(ValueError, match="row 8, column part: a split is one of train, val, test; got 'dev'"):
        ImageTableData(path, ["wet", "old"], "multilabel", split_column="part").setup()


def test_images_may_lie_elsewhere(tmp_path: Path) -> None:
    path = values(tmp_path).rename(tmp_path / "elsewhere.csv")
    data = ImageTableData(path, ["age"], folder=tmp_path / "photos")
    assert len(data.loaded.train) == 14


@pytest.mark.parametrize(
    ("lines", "arguments", "complaint"),
    [
        (["0.png,1", "99.png,2"], {}, r"row 3, column image names '99.png', but there is no"),
        (["0.png,1", "0.png,2"], {}, r"row 3, column image names '0.png' again; an image has one row"),
        (["0.png,1", ",2"], {}, r"row 3, column image is empty; it names the file of an image"),
        (["0.png,1", "1.png,old"], {}, r"row 3, column age: a target is a number; got 'old'"),
        (["0.png,1", "1.png,2"], {"target": "binary"}, r"row 3, column age: a binary target is 0, 1 or empty; got 2"),
        (
            ["0.png,a", "1.png,"],
            {"target": "classes"},
            r"row 3, column age: '' is no class; name one, or leave the row out",
        ),
        ([f"{index}.png,7" for index in range(20)], {}, r"all training samples have the same age \(7\)"),
    ],
)
def test_a_cell_that_makes_no_sense_is_named(
    tmp_path: Path, lines: list[str], arguments: dict[str, Any], complaint: str
) -> None:
    path = table(tmp_path, "image,age", lines, images=20)
    with pytest.raises((ValueError, FileNotFoundError), match=complaint):
        ImageTableData(path, ["age"], **arguments).setup()


def test_arguments_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="target_columns has one name for target: binary; got a, b"):
        ImageTableData("here.csv", ["a", "b"], "binary")
    with pytest.raises(ValueError, match="target_columns is a list of names; got 'age'"):
        ImageTableData("here.csv", "age")
    with pytest.raises(ValueError, match=r"has no column ages; it has image, age, height \(did you mean 'age'"):
        ImageTableData(values(tmp_path), ["ages"]).setup()


@pytest.mark.parametrize("target", ["regression", "binary"])
def test_a_network_is_trained_on_a_table(tmp_path: Path, target: str) -> None:
    lines = [f"{index}.png,{index if target == 'regression' else index % 2}" for index in range(30)]
    data = ImageTableData(table(tmp_path, "image,age", lines, size=(8, 8)), ["age"], target, batch_size=8)
    space = AutoDeepLabSpace(layers=2, blocks=1, filters=2, stem=(4,), stem_stride=1)
    network = space.network(space.sample(torch.Generator().manual_seed(0)), data.task)
    module = (ImageRegression if target == "regression" else ImageClassification)(network, data.task)
    trainer = pl.Trainer(**{**LEAN, "max_epochs": 1})
    trainer.fit(module, data)
    (metrics,) = trainer.test(module, data, verbose=False)
    assert all(math.isfinite(value) for value in metrics.values())
    if target == "regression":
        torch.testing.assert_close(module.mean, data.target_statistics[0])
