"""The package: cheap to import, everything public is there, and a YAML file or a command line can name it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonargparse import ArgumentParser
from trees import camvid

import seg_space.data
from automl_plugins import registry
from automl_plugins.cli import main

CONFIGS: dict[str, dict[str, Any]] = {
    "ADE20KData": {"path": "here", "val_share": 0.2, "size": [256, 320]},
    "BrainTemplateData": {"batch_size": 4, "crop": 96},
    "CamVidData": {"path": "here", "crop": [180, 240], "scales": [0.75, 1.5], "workers": 2},
    "CityscapesData": {"path": "here", "size": [512, 1024]},
    "DarcyFlowData": {"num_train": 10, "coordinates": False, "root": "there"},
    "ImageFolderData": {"path": "here", "target": "binary", "size": [32, 48], "flip": False, "seed": 3},
    "ImageTableData": {"path": "here.csv", "target_columns": ["age"], "size": [32, 48]},
    "ImagesAndMasks": {"path": "here", "classes": ["wet", "dry"], "target": "multilabel", "ignore_index": 7},
    "VOCData": {"path": "here", "masks": "SegmentationClassAug", "train_list": "trainaug"},
}


@pytest.mark.parametrize("name", seg_space.data.__all__)
def test_a_datamodule_is_made_from_a_yaml_config(name: str) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(getattr(seg_space.data, name), "data")
    datamodule = parser.instantiate(parser.parse_object({"data": CONFIGS[name]})).data
    for argument, value in CONFIGS[name].items():
        if argument == "crop" and isinstance(value, int):
            value = [value, value]
        given = getattr(datamodule, argument)
        assert (list(given) if isinstance(value, list) else str(given)) == (
            value if isinstance(value, list) else str(value)
        )


def test_a_name_that_is_not_there_is_refused() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'KittiData'"):
        _ = seg_space.data.KittiData


def test_importing_the_package_imports_no_torchvision() -> None:
    code = "import sys, seg_space.data; sys.exit(bool({'torch', 'torchvision', 'PIL', 'nilearn'} & set(sys.modules)))"
    root = Path(seg_space.data.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


@pytest.mark.parametrize(
    ("group", "name", "expected"),
    [
        ("data", "camvid", "CamVidData"),
        ("data", "image-folder", "ImageFolderData"),
        ("data", "image-table", "ImageTableData"),
        ("data", "images-and-masks", "ImagesAndMasks"),
        ("data", "voc", "VOCData"),
        ("data", "cityscapes", "CityscapesData"),
        ("data", "ade20k", "ADE20KData"),
        ("data", "brain", "BrainTemplateData"),
        ("data", "darcy-flow", "DarcyFlowData"),
        ("modules", "pixel-classes", "SemanticSegmentation"),
        ("modules", "pixel-binary", "SemanticSegmentation"),
        ("modules", "pixel-multilabel", "SemanticSegmentation"),
        ("modules", "pixel-regression", "DenseRegression"),
        ("modules", "image-classes", "ImageClassification"),
        ("modules", "image-binary", "ImageClassification"),
        ("modules", "image-multilabel", "ImageClassification"),
        ("modules", "image-regression", "ImageRegression"),
    ],
)
def test_it_is_found_by_name(group: str, name: str, expected: str) -> None:
    assert registry.load(group, name).__name__ == expected


def test_a_command_line_names_data_and_module(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = camvid(tmp_path / "data")
    flags = ["--data", "camvid", "--data.path", str(root), "--data.crop", "[8, 8]", "--module", "SemanticSegmentation"]
    more = ["--module.loss", "cross_entropy+dice", "--folder", str(tmp_path / "run"), "--print_config"]
    assert main(["study", "--space", "agnn", *flags, *more]) == 0, capsys.readouterr().err
    assert "loss: cross_entropy+dice" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data.crop", "0"], "data.crop is a height and a width of at least 1"),
        (["--data.batchsize", "4"], "batch_size"),
        (["--module", "SemanticSegmentation", "--module.loss", "dise"], "module.loss is a sum of"),
    ],
)
def test_a_mistake_on_the_command_line_is_named(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = camvid(tmp_path / "data")
    given = ["--data", "camvid", "--data.path", str(root), *flags, "--folder", str(tmp_path / "run")]
    assert main(["study", "--space", "agnn", *given]) == 2
    assert message in capsys.readouterr().err
