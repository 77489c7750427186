"""A search by gradients round a pretrained encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor

from automl_plugins import Task
from automl_plugins.search import ArchitectureSearch
from automl_plugins.training.fit import LEAN
from automl_plugins.training.lightning import pl
from seg_space import SemanticSegmentation, SmpDecoderSpace
from seg_space.data.base import ImageDataModule
from seg_space.data.sources import TensorSource
from seg_space.modules.encoders import pretrained_encoders
from seg_space.pretrained.normalisation import InputNormalisation

pytestmark = pytest.mark.filterwarnings("ignore:(val|test)_miou is the mean over")


class Grey(ImageDataModule):
    """Noise, darker on the left, as bytes of one channel."""

    @property
    def task(self) -> Task:
        return Task("pixel", "classes", in_channels=1, out_channels=2)

    def _sources(self) -> tuple[TensorSource, TensorSource, TensorSource]:
        masks = (torch.arange(64) >= 32).long().expand(8, 64, 64)
        noise = torch.randint(0, 100, (8, 1, 64, 64), generator=torch.Generator().manual_seed(0))
        images = (noise + 100 * masks.unsqueeze(1)).to(torch.uint8)
        source = TensorSource(images, masks)
        return source, source, source


class FirstLayer(pl.Callback):
    """Keeps the encoder's first weight at the end of each epoch."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        encoder, *_ = pretrained_encoders(pl_module.network)  # its dilated form shares the weights
        self.seen.append(encoder.state_dict()["conv1.weight"].clone())


def test_a_search_begins_with_the_weights_and_what_it_finds_keeps_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder: Any = smp.encoders.get_encoder("resnet18", weights=None)
    torch.save(encoder.state_dict(), tmp_path / "x.pth")
    data = Grey(batch_size=4)
    space = SmpDecoderSpace("resnet18", str(tmp_path / "x.pth"), strides=(16, 8), operations=("identity", "conv_3x3"))
    searchable = space.searchable(data.task)
    module = SemanticSegmentation(searchable, data.task, 1e-2, encoder_learning_rate=1e-3, frozen_epochs=1)
    watch = FirstLayer()
    trainer = pl.Trainer(**{**LEAN, "max_epochs": 2}, callbacks=[ArchitectureSearch("gdas"), watch])
    trainer.fit(module, data)
    adapted = encoder.conv1.weight.sum(dim=1, keepdim=True)
    assert torch.equal(watch.seen[0], adapted), "frozen in the first epoch"
    assert not torch.equal(watch.seen[1], adapted)
    derived = searchable.derive()
    begins = next(pretrained_encoders(derived)).state_dict()["conv1.weight"]
    assert torch.equal(begins, adapted), "what is trained next begins with the weights too"
    part, *_ = (part for part in searchable.modules() if isinstance(part, InputNormalisation))
    mean, deviation = data.image_statistics
    raw, _ = data.loaded.train.source.read(0)
    seen = part(((raw.float() - mean.view(-1, 1, 1)) / deviation.view(-1, 1, 1)).unsqueeze(0))[0]
    assert torch.allclose(seen, (raw / 255 - part.mean) / part.deviation, atol=1e-4)
