"""Tasks of whole images from all three ways in: a study, a search in a Lightning project, the command line."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from automl_plugins import Architecture, ArchitectureSearch, Study, Task
from automl_plugins.cli import main
from automl_plugins.training.fit import LEAN
from automl_plugins.training.lightning import pl
from seg_space import AutoDeepLabSpace, ImageClassification, SmpSpace
from seg_space.auto_deeplab.multi_path_network import MultiPathNetwork
from seg_space.auto_deeplab.network import AutoDeepLabNetwork
from seg_space.auto_deeplab.sizes import Sizes
from seg_space.auto_deeplab.supernet import AutoDeepLabSupernet
from seg_space.data import ImageFolderData

SPACE = AutoDeepLabSpace(layers=2, blocks=1, filters=2, stem=(4,), stem_stride=1)
TRAINER = {"max_epochs": 1, "accelerator": "cpu"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright and dark images, in a folder for each class."""
    root, noise = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name, brightness in (("day", 180), ("night", 60)):
        (root / name).mkdir()
        for number in range(12):
            pixels = noise.normal(brightness, 20, (10, 8, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


@pytest.mark.parametrize("space", [SPACE, SmpSpace(("Linknet",), ("mobilenet_v2",), (3,))], ids=["auto-deeplab", "smp"])
def test_a_study_of_images_ends_with_a_table(space: AutoDeepLabSpace | SmpSpace, photos: Path, tmp_path: Path) -> None:
    data = ImageFolderData(photos, batch_size=8)
    study = Study(space, data, tmp_path, trials=1, seeds=1, finalists=1, trainer=TRAINER, references=[], costs=["macs"])
    summary = study.run()
    assert study.project.monitor == "val_accuracy"
    for row in summary.rows:
        assert 0 <= row.validation_mean <= 1
        assert math.isfinite(row.test["test_accuracy"][0])
    architecture = Architecture.from_json((tmp_path / "architecture.json").read_text())
    network = space.network(architecture, data.task)
    network.load_state_dict(torch.load(tmp_path / "network.pt", weights_only=True))
    assert network.eval()(torch.randn(2, 3, 10, 8)).shape == (2, 2)


def test_the_hand_made_networks_of_a_study_are_those_of_the_level(photos: Path, tmp_path: Path) -> None:
    study = Study(SPACE, ImageFolderData(photos), tmp_path, trials=1, seeds=1, trainer=TRAINER)
    assert {contender.reference for contender in study.references} == {"resnet18", "mobilenet-v2"}


@pytest.mark.parametrize("multi_path", [False, True])
def test_a_search_in_a_project_finds_a_network_of_images(photos: Path, multi_path: bool) -> None:
    data = ImageFolderData(photos, batch_size=4)
    space = AutoDeepLabSpace(layers=2, blocks=1, filters=2, stem=(4,), stem_stride=1, multi_path=multi_path)
    module = ImageClassification(space.searchable(data.task), data.task)
    trainer = pl.Trainer(**{**LEAN, "max_epochs": 1}, callbacks=[ArchitectureSearch("darts", learning_rate=0.1)])
    trainer.fit(module, data)
    module.network = module.network.derive()
    (metrics,) = trainer.validate(module, data, verbose=False)
    assert 0 <= metrics["val_accuracy"] <= 1


def test_the_command_line_studies_searches_and_evaluates(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["--space", "auto-deeplab", "--space.layers", "2", "--space.blocks", "1", "--space.filters", "2"]
    data = ["--data", "image-folder", "--data.path", str(photos), "--data.batch_size", "4"]
    epochs = ["--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"]
    assert main(["search", *small, *data, *epochs, "--folder", "found"]) == 0, capsys.readouterr().err
    assert main(["evaluate", "found", "--seeds", "1"]) == 0, capsys.readouterr().err
    assert "val_accuracy" in capsys.readouterr().out
    arguments = ["--trials", "1", "--seeds", "1", "--finalists", "1", "--references", "[]", "--random_search", "false"]
    assert main(["study", *small, *data, *epochs, *arguments, "--folder", "study"]) == 0, capsys.readouterr().err
    assert "test_accuracy" in capsys.readouterr().out
    found = Path("study/architecture.json")
    assert main(["export", "--architecture", str(found), "--size", "10x8", "found.pt2"]) == 0, capsys.readouterr().err
    outputs = torch.export.load("found.pt2").module()(torch.randn(3, 3, 10, 8))
    assert outputs.shape == (3, 2)


# Networks without a space.


@pytest.mark.parametrize("level", ["image", "pixel"])
def test_networks_and_supernets_are_made_of_sizes(level: str) -> None:
    task = Task(level, "classes", in_channels=3, out_channels=5)
    sizes = Sizes(layers=3, blocks=2, filters=2, stem=(4,), stem_stride=1)
    architecture = Architecture.from_json(AutoDeepLabSpace(3, 2, 2, (4,), 1).sample(np.random.default_rng(0)).to_json())
    images = torch.randn(2, 3, 9, 7)
    shape = (2, 5) if level == "image" else (2, 5, 9, 7)
    for kind in (AutoDeepLabNetwork, MultiPathNetwork):
        assert kind(architecture, task, sizes)(images).shape == shape
    supernet = AutoDeepLabSupernet(task, sizes)
    space = AutoDeepLabSpace(3, 2, 2, (4,), 1)
    assert space.sizes == sizes
    assert supernet(images, gates=space.gates(architecture)).shape == shape
