"""A searched Auto-DeepLab network beside random ones of the same space, and smp's models trained from scratch.

All are trained with the same optimizer steps, learning rate, schedule, augmentation and seeds; architectures have
the same parameter budget. An Optuna study over smp's models (`SmpSpace`, TPE, trials of a third of the epochs) has
the processor time that the search took. Validation chooses the epoch, and the test set is read once. The comparison is
kept in a folder: the same command goes on where it stopped, and several processes share the work.

    python benchmarks/segmentation_quality.py camvid
    python benchmarks/segmentation_quality.py vnc-em
    python benchmarks/segmentation_quality.py brain
    python benchmarks/segmentation_quality.py darcy
"""

from __future__ import annotations

import argparse
import json
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import segmentation_models_pytorch as smp
import torch
from quality import SINGLE_PATH, Budgeted, compare, kept_in, random_contenders, search
from rich.console import Console
from torch import nn

from automl_plugins import Architecture, Project
from automl_plugins.objectives.contender import Contender
from automl_plugins.spaces.task import Task
from automl_plugins.system.files import write_whole
from automl_plugins.training import fit as training
from automl_plugins.training.fit import ModuleFactory
from seg_space import AutoDeepLabSpace, DenseRegression, SemanticSegmentation, SmpNetwork, SmpSpace
from seg_space.data import BrainTemplateData, CamVidData, DarcyFlowData

DATA = Path(os.environ.get("AUTOML_PLUGINS_DATA", "../shared/data")) / "segmentation"
RANDOM = 5


@dataclass(frozen=True)
class Setting:
    """A data set and how long everything takes on it.

    Args:
        data: makes the datamodule.
        epochs: of every training, and of the search.
        size: height and width of the images that latency and multiply-accumulates are of.
        module: makes the LightningModule of a network.
        metric: the test metric of the table.
        stem_stride: of the space.
    """

    data: Callable[[], Any]
    epochs: int
    size: tuple[int, int]
    module: ModuleFactory
    metric: str = "test_miou"
    stem_stride: int = 4


def segmentation(network: nn.Module, task: Task) -> SemanticSegmentation:
    """The learning of classes of pixels."""
    return SemanticSegmentation(network, task, learning_rate=2e-3, schedule="poly")


def regression(network: nn.Module, task: Task) -> DenseRegression:
    """The learning of values of pixels."""
    return DenseRegression(network, task, learning_rate=2e-3, schedule="poly")


SETTINGS = {
    "camvid": Setting(
        lambda: CamVidData(DATA / "camvid-small", batch_size=8, crop=(96, 128), scales=(0.5, 1.0), flip=True),
        15,
        (180, 240),
        segmentation,
    ),
    "vnc-em": Setting(
        lambda: CamVidData(DATA / "vnc-em", batch_size=4, crop=128, flip=True), 30, (512, 512), segmentation
    ),
    "brain": Setting(lambda: BrainTemplateData(batch_size=4, crop=96, flip=True), 15, (128, 128), segmentation),
    "darcy": Setting(
        lambda: DarcyFlowData(400, 100, 100, resolution=64, root=None),
        15,
        (64, 64),
        regression,
        "test_relative_l2",
        stem_stride=2,
    ),
}


def space_of_width(filters: int, stem_stride: int) -> AutoDeepLabSpace:
    """Six layers and four blocks, and a head whose width follows the filters."""
    return AutoDeepLabSpace(
        layers=6, blocks=4, filters=filters, stem=(16, 32), stem_stride=stem_stride, decoder_channels=8 * filters
    )


def reference(name: str, task: Task) -> nn.Module:
    """A model of smp, such as `Unet-mobilenet_v2`, without pretrained weights."""
    decoder, encoder = name.split("-", 1)
    # For images of any size: smp's own take multiples of 32.
    return SmpNetwork(
        smp.create_model(
            decoder, encoder, encoder_weights=None, in_channels=task.in_channels, classes=task.out_channels
        )
    )


def study_of_smp(kept: Path, setting: Setting, data: Any, seconds: float, options: dict[str, Any]) -> Contender:
    """The best of smp's models that an Optuna study finds in the given processor time.

    Args:
        kept: the file that keeps the result.
        setting: how networks are trained.
        data: the datamodule.
        seconds: of the processor; no trial begins after them.
        options: arguments of the Trainer, with the epochs of a trial.
    """
    space = SmpSpace()
    if not kept.exists():
        own = setting.module(nn.Identity(), data.task)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction=own.direction, sampler=optuna.samplers.TPESampler(seed=0))
        spent, found = 0.0, {}
        while spent < seconds:
            trial = study.ask()
            found[trial.number] = architecture = space.suggest(trial)
            with training.seeded(0):
                module = setting.module(space.network(architecture, data.task), data.task)
                result = training.train(module, data, own.monitor, own.direction, options)
            spent += result.cpu_seconds
            study.tell(trial, result.score)
        best = found[study.best_trial.number]
        content = {"architecture": json.loads(best.to_json()), "trials": len(found), "cpu_seconds": spent}
        write_whole(kept, json.dumps(content, indent=2))
    content = json.loads(kept.read_text())
    found_by_study = Architecture.from_json(json.dumps(content["architecture"]))
    return Contender(f"SmpSpace, {content['trials']} trials of TPE", found_by_study)


def main() -> None:
    """Run one setting and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("--folder", type=Path, help="where results are kept (runs/segmentation-<setting>)")
    parser.add_argument("--strategies", nargs="*", default=["darts", "random"], help="one search with each")
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
    options = {"accelerator": "cpu", "gradient_clip_val": 5.0, "max_epochs": epochs}
    narrow = space_of_width(1, setting.stem_stride)
    project = Project(narrow, data, module=setting.module, trainer=options, folder=folder.path)
    comparison = Budgeted(
        project,
        range(arguments.seeds),
        lambda filters: space_of_width(filters, setting.stem_stride),
        reference,
        arguments.budget,
        others={"smp": SmpSpace()},
    )
    search_space = space_of_width(4, setting.stem_stride)
    searched, search_seconds = [], []
    for strategy in arguments.strategies:
        kept = folder.path / f"search-{strategy}.json"
        search_epochs = epochs * (2 if strategy in SINGLE_PATH else 1)
        architecture, seconds = search(
            kept,
            search_space,
            setting.module,
            data,
            strategy,
            0,
            {**options, "max_epochs": search_epochs},
            learning_rate=2e-2,
            warmup_epochs=search_epochs // 3,  # in which only the weights learn, as in the paper
        )
        searched.append(Contender(f"searched ({strategy})", architecture))
        search_seconds.append(seconds)
    shorter = {**options, "max_epochs": max(1, epochs // 3)}
    found = study_of_smp(folder.path / "study-smp.json", setting, data, search_seconds[0], shorter)
    fixed = [
        Contender("Unet, mobilenet_v2", reference="Unet-mobilenet_v2"),
        Contender("FPN, efficientnet-b0", reference="FPN-efficientnet-b0"),
        found,
    ]
    compare(
        Console(width=170),
        comparison,
        searched,
        search_seconds,
        fixed,
        random_contenders(search_space, RANDOM),
        setting.metric,
        f"{arguments.setting}: {epochs} epochs, architectures with at most {arguments.budget:,} parameters",
        (torch.zeros(1, data.task.in_channels, *setting.size),),
    )


if __name__ == "__main__":
    main()
