"""A found backbone that was trained on labels of whole images is taken up by a training on pixels."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image

from automl_plugins import Task
from automl_plugins.system.to_be_loaded import to_be_loaded
from automl_plugins.training.fit import LEAN
from seg_space import AutoDeepLabSpace, ImageClassification, SemanticSegmentation
from seg_space.data import ImageFolderData, ImagesAndMasks

SIZES: dict[str, Any] = {"layers": 3, "blocks": 1, "filters": 2, "stem": (3, 4)}
SPACE = AutoDeepLabSpace(**SIZES)
FOUND = SPACE.sample(np.random.default_rng(0))
PIXELS = Task("pixel", "classes", in_channels=3, out_channels=2)
IMAGES = Task("image", "classes", in_channels=3, out_channels=5)


def backbone(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in state.items() if name.startswith(("stem.", "layers.", "nodes."))}


def with_weights(path: Path, **arguments: Any) -> AutoDeepLabSpace:
    return AutoDeepLabSpace(**{**SIZES, **arguments}, backbone_weights=str(path))


def photos(root: Path) -> tuple[ImageFolderData, ImagesAndMasks]:
    """Dark and bright squares: images with labels of their own, and images with masks."""
    noise = np.random.default_rng(0)
    for number in range(12):
        bright = number % 2
        pixels = noise.normal(60 + 120 * bright, 20, (24, 24, 3)).clip(0, 255).astype(np.uint8)
        for path, image in (
            (root / "labels" / ("dark", "bright")[bright] / f"{number}.png", pixels),
            (root / "pixels" / "images" / f"{number}.png", pixels),
            (root / "pixels" / "masks" / f"{number}.png", (np.arange(576).reshape(24, 24) % 24 > 11).astype(np.uint8)),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    return ImageFolderData(root / "labels", size=24, batch_size=4), ImagesAndMasks(root / "pixels", batch_size=4)


@pytest.mark.filterwarnings("ignore:(val|test)_miou is the mean over")
def test_a_backbone_trained_on_labels_is_taken_up_by_a_training_on_pixels(tmp_path: Path) -> None:
    labels, pixels = photos(tmp_path)
    module = ImageClassification(SPACE.network(FOUND, labels.task), labels.task, learning_rate=0.01)
    trainer = pl.Trainer(**LEAN, accelerator="cpu", max_epochs=2)
    trainer.fit(module, labels)
    trainer.save_checkpoint(tmp_path / "labels.ckpt")

    network = with_weights(tmp_path / "labels.ckpt").network(FOUND, pixels.task)
    trained = backbone(module.network.state_dict())
    taken = backbone(network.state_dict())
    assert taken.keys() == trained.keys()
    assert all(torch.equal(tensor, trained[name]) for name, tensor in taken.items())
    assert not torch.equal(taken["stem.0.0.weight"], SPACE.network(FOUND, PIXELS).state_dict()["stem.0.0.weight"])

    segmentation = SemanticSegmentation(network, pixels.task)
    trainer = pl.Trainer(**LEAN, accelerator="cpu", max_epochs=1)
    trainer.fit(segmentation, pixels)
    assert np.isfinite(trainer.callback_metrics["val_miou"].item())


@pytest.mark.parametrize("several", [False, True])
def test_a_plain_state_dict_serves_too(several: bool, tmp_path: Path) -> None:
    space = AutoDeepLabSpace(**SIZES, multi_path=several)
    architecture = space.sample(np.random.default_rng(3))
    network = space.network(architecture, IMAGES)
    torch.save(network.state_dict(), tmp_path / "network.pt")
    taken = with_weights(tmp_path / "network.pt", multi_path=several).network(architecture, PIXELS)
    own = backbone(network.state_dict())
    assert all(torch.equal(tensor, own[name]) for name, tensor in backbone(taken.state_dict()).items())


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    torch.save(SPACE.network(FOUND, IMAGES).state_dict(), tmp_path / "network.pt")
    with pytest.raises(
        ValueError, match=r"layers\.0\.resize_before\.convolution\.weight is \[\d, 4, 1, 1\] for"
    ) as caught:
        with_weights(tmp_path / "network.pt", filters=3).network(FOUND, PIXELS)
    assert "\n" not in str(caught.value)
    other = SPACE.sample(np.random.default_rng(1))
    with pytest.raises(ValueError, match=r"another architecture.*(is missing|is not the network's|is \[)"):
        with_weights(tmp_path / "network.pt").network(other, PIXELS)


class Trap:
    """Code that a file would run where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("trapped"),)


def test_a_file_of_another_kind_is_refused_and_not_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("trap.pt").write_bytes(pickle.dumps(Trap()))
    torch.save({"weight": torch.zeros(1)}, "other.pt")
    for name, complaint in (("trap.pt", "not unpickled"), ("other.pt", "no backbone of Auto-DeepLab's")):
        with pytest.raises(ValueError, match=complaint):
            with_weights(Path(name)).network(FOUND, PIXELS)
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        with_weights(Path("none.pt")).network(FOUND, PIXELS)
    assert not Path("trapped").exists()


def test_weights_that_are_to_be_loaded_anyway_are_not_asked_for(tmp_path: Path) -> None:
    with to_be_loaded():
        with_weights(tmp_path / "none.pt").network(FOUND, PIXELS)


def test_a_supernet_has_no_backbone_of_one_architecture(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leave them out of the search"):
        with_weights(tmp_path / "network.pt").searchable(PIXELS)
