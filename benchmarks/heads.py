"""Heads of Auto-DeepLab's networks: do their cells rank networks in short trainings, or the stride of the last layer?

    python benchmarks/heads.py --data brain vnc-em
    python benchmarks/heads.py --data brain vnc-em --report     # trains nothing, prints what is there

Twenty networks, always the same ones: five random cells, each on a random path to each of the four strides that the
last layer may have. Each is trained once with each head at a trial's budget. The shares of the variance of their last
validation scores that the last stride and the cell explain are omega squared of a two-way analysis of variance without
interaction (Hays 1963): (SS - df * MSE) / (SS of all + MSE), at least 0; 3 degrees of freedom for
strides, 4 for cells, 12 for the rest, which holds the rest of the path, their interaction and the noise of a seed.
A training is a line in benchmarks/results, so the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import commit, cpu
from rich.console import Console
from rich.table import Table
from scipy.stats import f as f_distribution
from segmentation_quality import SETTINGS, Setting

from automl_plugins import Architecture
from automl_plugins.measures.params import params
from automl_plugins.training import fit as training
from seg_space import AutoDeepLabSpace
from seg_space.auto_deeplab.sizes import HEADS, Head

SIZES: dict[str, Any] = {"layers": 6, "blocks": 4, "filters": 8, "stem": (16, 32)}
EPOCHS = {"brain": 4, "vnc-em": 12}
"""Of a trial: about 80 and 60 steps."""
CELLS = 5
STRIDES = (4, 8, 16, 32)
RESULTS = Path(__file__).parent / "results"
STORE = RESULTS / "heads.jsonl"


def networks(space: AutoDeepLabSpace) -> list[tuple[int, int, Architecture]]:
    """The cell's number, the last stride and the architecture of each network."""
    generator = np.random.default_rng(0)
    cells = [
        {name: value for name, value in space.sample(generator).items() if name.startswith("cell.")}
        for _ in range(CELLS)
    ]
    found = []
    for number, cell in enumerate(cells):
        for stride in STRIDES:
            drawn = space.sample(generator)
            while space.path(drawn)[-1] != stride:
                drawn = space.sample(generator)
            path = {name: value for name, value in drawn.items() if name.startswith("layer")}
            found.append((number, stride, space.architecture({**cell, **path})))
    return found


def lines() -> list[dict[str, Any]]:
    """All trainings that the store has."""
    return [json.loads(line) for line in STORE.read_text().splitlines()] if STORE.exists() else []


def fill(name: str, head: Head, epochs: int) -> None:
    """Run the trainings of a head on a data set that the store lacks."""
    setting: Setting = SETTINGS[name]
    data = setting.data()
    data.setup("fit")
    space = AutoDeepLabSpace(**SIZES, head=head)
    done = {(line["data"], line["head"], line["epochs"], line["network"]) for line in lines()}
    # Validated once, at the end: a trial is judged by its last validation.
    options = {"max_epochs": epochs, "check_val_every_n_epoch": epochs, "gradient_clip_val": 5.0, "accelerator": "cpu"}
    for number, (cell, stride, architecture) in enumerate(networks(space)):
        if (name, head, epochs, number) in done:
            continue
        began = time.process_time()
        with training.seeded(number):
            network = space.network(architecture, data.task)
            module: Any = setting.module(network, data.task)
            result = training.train(module, data, module.monitor, module.direction, options)
        line = {"data": name, "head": head, "epochs": epochs, "network": number, "cell": cell, "last_stride": stride}
        line |= {"score": round(result.score, 6), "steps": result.steps, "seed": number, "params": params(network)}
        line |= {"version": space.version, "path": list(space.path(architecture)), "choices": dict(architecture)}
        line |= {"cpu_seconds": round(time.process_time() - began, 2), "commit": commit(), "cpu": cpu()}
        with STORE.open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())


def explained(scores: np.ndarray) -> list[tuple[float, float]]:
    """Omega squared and the p of its F test, of cells (rows) and of last strides (columns).

    Args:
        scores: `[cells, strides]`.
    """
    total = ((scores - scores.mean()) ** 2).sum()
    means = [scores.mean(axis=axis) - scores.mean() for axis in (1, 0)]
    squares = [scores.shape[axis] * (mean**2).sum() for axis, mean in zip((1, 0), means, strict=True)]
    freedom = [length - 1 for length in scores.shape]
    error = (total - sum(squares)) / (freedom[0] * freedom[1])
    return [
        (
            max(0.0, float((square - count * error) / (total + error))),
            float(f_distribution.sf(square / count / error, count, freedom[0] * freedom[1])),
        )
        for square, count in zip(squares, freedom, strict=True)
    ]


def report(names: Sequence[str], heads: Sequence[Head]) -> Table:
    """A line for each data set and head that all networks were trained with."""
    table = Table(title="20 random networks at a trial's budget: validation mIoU, and what explains its variance")
    for column in ("data", "head", "mean ± sd", "quartiles", "last stride", "cell", "parameters", "CPU s"):
        table.add_column(column)
    for name in names:
        for head in heads:
            found = [line for line in lines() if (line["data"], line["head"]) == (name, head)]
            found = [line for line in found if line["epochs"] == EPOCHS[name]]
            if len(found) < CELLS * len(STRIDES):
                continue
            by_place = {(line["cell"], line["last_stride"]): np.nan_to_num(line["score"]) for line in found}
            scores = np.array([[by_place[cell, stride] for stride in STRIDES] for cell in range(CELLS)])
            (cell, p_cell), (stride, p_stride) = explained(scores)
            quartiles = " / ".join(f"{each:.3f}" for each in np.quantile(scores, (0.25, 0.5, 0.75)))
            sizes = f"{np.mean([line['params'] for line in found]):,.0f}"
            seconds = f"{np.mean([line['cpu_seconds'] for line in found]):.1f}"
            shares = [f"{stride:.2f} (p {p_stride:.3f})", f"{cell:.2f} (p {p_cell:.3f})"]
            spread = f"{scores.mean():.3f} ± {scores.std(ddof=1):.3f}"
            table.add_row(name, head, spread, quartiles, *shares, sizes, seconds)
    return table


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=list(EPOCHS), default=list(EPOCHS))
    parser.add_argument("--heads", nargs="+", choices=HEADS, default=["aspp", "unet", "deeplab", "fpn"])
    parser.add_argument("--report", action="store_true", help="train nothing, print what is there")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    RESULTS.mkdir(exist_ok=True)
    for head in () if options.report else options.heads:
        for name in options.data:
            fill(name, head, EPOCHS[name])
    Console(width=160).print(report(options.data, options.heads))


if __name__ == "__main__":
    main()
