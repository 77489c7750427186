"""A searched Auto-DeepLab network beside random ones of the same space, and smp's models trained from scratch.

All are trained with the same optimizer steps, learning rate, schedule, augmentation and seeds; architectures have
the same parameter budget. Validation chooses the epoch, and the test set is read once. What is done is kept in a
folder: the same command goes on where it stopped, and several processes share the work.

    python benchmarks/segmentation_quality.py camvid
    python benchmarks/segmentation_quality.py vnc-em
    python benchmarks/segmentation_quality.py brain
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
from quality import Budgeted, compare, kept_in, random_contenders, search
from rich.console import Console
from torch import nn

from automl_plugins.comparison import Contender
from automl_plugins.task import Task
from seg_space import AutoDeepLabSpace, SemanticSegmentation
from seg_space.data import BrainTemplateData, CamVidData

DATA = Path(os.environ.get("AUTOML_PLUGINS_DATA", "../shared/data")) / "segmentation"
RANDOM = 5


@dataclass(frozen=True)
class Setting:
    """A data set and how long everything takes on it.

    Args:
        data: makes the datamodule.
        epochs: of every training, and of the search.
    """

    data: Callable[[], Any]
    epochs: int


SETTINGS = {
    "camvid": Setting(
        lambda: CamVidData(DATA / "camvid-small", batch_size=8, crop=(96, 128), scales=(0.5, 1.0), flip=True), 15
    ),
    "vnc-em": Setting(lambda: CamVidData(DATA / "vnc-em", batch_size=4, crop=128, flip=True), 30),
    "brain": Setting(lambda: BrainTemplateData(batch_size=4, crop=96, flip=True), 15),
}


def search_space() -> AutoDeepLabSpace:
    """Six layers and four blocks, narrow."""
    return AutoDeepLabSpace(layers=6, blocks=4, filters=4, stem=(16, 32))


def space_of_width(filters: int) -> AutoDeepLabSpace:
    """The same architectures with the head of the paper's final networks."""
    return AutoDeepLabSpace(
        layers=6, blocks=4, filters=filters, stem=(16, 32), head="deeplab", decoder_channels=8 * filters
    )


def reference(name: str, task: Task) -> nn.Module:
    """A model of smp, such as `Unet-mobilenet_v2`, without pretrained weights."""
    decoder, encoder = name.split("-", 1)
    model: nn.Module = smp.create_model(
        decoder, encoder, encoder_weights=None, in_channels=task.in_channels, classes=task.out_channels
    )
    return model


def module(network: nn.Module, task: Task) -> SemanticSegmentation:
    """How all are trained."""
    return SemanticSegmentation(network, task, learning_rate=2e-3, schedule="poly")


def main() -> None:
    """Run one setting and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("--folder", type=Path, help="where results are kept (runs/segmentation-<setting>)")
    parser.add_argument("--strategies", nargs="*", default=["darts"], help="one search with each")
    parser.add_argument("--budget", type=int, default=500_000, help="parameters of an architecture's network")
    parser.add_argument("--epochs", type=int, help="of every training, and of the search")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    setting: Setting = SETTINGS[arguments.setting]
    epochs = arguments.epochs or setting.epochs
    folder = kept_in(arguments.folder or Path("runs", f"segmentation-{arguments.setting}"))
    data = setting.data()
    data.setup("fit")
    own = module(nn.Identity(), data.task)
    options = {"accelerator": "cpu", "gradient_clip_val": 5.0, "max_epochs": epochs}
    comparison = Budgeted(
        space_of_width,
        reference,
        arguments.budget,
        folder=folder,
        task=data.task,
        data=data,
        module=module,
        monitor=own.monitor,
        direction=own.direction,
        options=options,
        seeds=range(arguments.seeds),
    )
    searched, search_seconds = [], []
    for strategy in arguments.strategies:
        kept = folder.path / f"search-{strategy}.json"
        warm_up = epochs // 3  # in which only the weights learn, as in the paper
        architecture, seconds = search(
            kept, search_space(), module, data, strategy, 0, options, learning_rate=2e-2, warmup_epochs=warm_up
        )
        searched.append(Contender(f"searched ({strategy})", architecture))
        search_seconds.append(seconds)
    fixed = [
        Contender("Unet, mobilenet_v2", reference="Unet-mobilenet_v2"),
        Contender("FPN, efficientnet-b0", reference="FPN-efficientnet-b0"),
    ]
    compare(
        Console(width=150),
        comparison,
        searched,
        search_seconds,
        fixed,
        random_contenders(search_space(), RANDOM),
        "test_miou",
        f"{arguments.setting}: {epochs} epochs, architectures with at most {arguments.budget:,} parameters",
    )


if __name__ == "__main__":
    main()
