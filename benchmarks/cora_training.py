"""CPU time of one training on Cora through our study's path, against a plain PyTorch loop.

Both take the same optimizer steps and the same validations, from the same initial weights, in one process,
interleaved. The study's path is `automl_plugins.training.fit.train` with `NodeClassification`, as in a trial. A
Trainer with Lightning's defaults (logger, checkpoints, progress bar, sanity check) stands beside them.
`--profile` says where the rest goes. Cora is read from the data folder (`AUTOML_PLUGINS_DATA`, `../shared/data`).
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import io
import os
import pstats
import statistics
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional

from automl_plugins import registry
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.task import Task
from automl_plugins.training import fit as training
from automl_plugins.training.lightning import pl
from gnn_space import AGNNSpace
from gnn_space.data import NpzGraphData
from gnn_space.modules import NodeClassification

STEPS = 200
# One of average cost: attention, two widths, both combine functions.
AGNN = {
    "layer0.hidden_channels": 16,
    "layer0.attention": "gat",
    "layer0.heads": 4,
    "layer0.aggregation": "sum",
    "layer0.combine": "identity",
    "layer0.activation": "elu",
    "layer1.hidden_channels": 16,
    "layer1.attention": "cos",
    "layer1.heads": 2,
    "layer1.aggregation": "mean",
    "layer1.combine": "mlp",
    "layer1.activation": "relu",
}


def networks(task: Task) -> dict[str, Callable[[], nn.Module]]:
    """The networks that are trained, by name."""
    space = AGNNSpace()
    architecture = Architecture(space.name, space.version, AGNN)
    return {
        "GCN": lambda: registry.load("references", "gcn")(task),
        "GAT": lambda: registry.load("references", "gat")(task),
        "AGNN": lambda: space.network(architecture, task),
    }


def plain(network: nn.Module, data: NpzGraphData, epochs: int) -> float:
    """The loop that one would write for this network and nothing else; the best validation accuracy."""
    graph, steps = data.loaded.graph, data.steps_per_epoch
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3, weight_decay=5e-4)
    train, val = graph.train_mask, graph.val_mask
    best = 0.0
    for _ in range(epochs):
        network.train()
        for _ in range(steps):
            optimizer.zero_grad()
            outputs = network(graph.x, graph.edge_index)
            functional.cross_entropy(outputs[train], graph.y[train]).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            outputs, targets = network(graph.x, graph.edge_index)[val], graph.y[val]
            functional.cross_entropy(outputs, targets).item()
            best = max(best, (outputs.argmax(dim=1) == targets).float().mean().item())
    return best


def ours(network: nn.Module, data: NpzGraphData, epochs: int) -> float:
    """As a trial of a study does it."""
    module = NodeClassification(network, data.task)
    options = {"max_epochs": epochs, "accelerator": "cpu"}
    return training.train(module, data, module.monitor, module.direction, options).score


def default(network: nn.Module, data: NpzGraphData, epochs: int) -> float:
    """A Trainer as it comes; the last validation accuracy."""
    module = NodeClassification(network, data.task)
    with tempfile.TemporaryDirectory() as folder, _silent():
        trainer = pl.Trainer(max_epochs=epochs, accelerator="cpu", default_root_dir=folder)
        trainer.fit(module, datamodule=data)
        return float(trainer.callback_metrics[module.monitor])


@contextlib.contextmanager
def _silent():  # noqa: ANN202
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


WAYS = {"plain loop": plain, "study's path": ours, "default Trainer": default}


def measure(path: Path, steps_per_epoch: int, repeats: int, ways: list[str]) -> dict[str, dict[str, list[float]]]:
    """CPU seconds: network -> way -> one number a repeat; the first round, which warms up, is left out."""
    data = NpzGraphData(path, steps_per_epoch=steps_per_epoch, sparse_features=True)
    epochs = STEPS // steps_per_epoch
    times: dict[str, dict[str, list[float]]] = {}
    for name, build in networks(data.task).items():
        times[name] = {way: [] for way in ways}
        for repeat in range(repeats + 1):
            for way in ways:
                with training.seeded(repeat):
                    network = build()
                    began = time.process_time()
                    WAYS[way](network, data, epochs)
                    seconds = time.process_time() - began
                if repeat > 0:
                    times[name][way].append(seconds)
    return times


def show(console: Console, steps_per_epoch: int, times: dict[str, dict[str, list[float]]]) -> None:
    """Seconds and ratios to the plain loop, of medians and of minima."""
    validations = STEPS // steps_per_epoch
    table = Table(title=f"{STEPS} steps, {validations} validations ({steps_per_epoch} steps an epoch), CPU seconds")
    table.add_column("network")
    for column in ("way", "median", "min", "median ratio", "min ratio"):
        table.add_column(column, justify="right" if column != "way" else "left")
    for name, ways in times.items():
        base = ways["plain loop"]
        for way, seconds in ways.items():
            median, least = statistics.median(seconds), min(seconds)
            ratios = (f"{median / statistics.median(base):.2f}", f"{least / min(base):.2f}")
            table.add_row(name, way, f"{median:.3f}", f"{least:.3f}", *ratios)
    console.print(table)


LAYERS = {
    "Lightning": ("pytorch_lightning", "lightning_fabric", "lightning_utilities", "lightning/"),
    "metrics (torchmetrics)": ("torchmetrics",),
    "PyG": ("torch_geometric",),
    "our modules and callbacks": ("gnn_space", "automl_plugins"),
    "torch's Python": ("/torch/",),
}


def profile(console: Console, path: Path, steps_per_epoch: int) -> None:
    """The time of our path, by the library whose Python code it is spent in."""
    data = NpzGraphData(path, steps_per_epoch=steps_per_epoch, sparse_features=True)
    build = networks(data.task)["GCN"]
    ours(build(), data, STEPS // steps_per_epoch)
    recorder = cProfile.Profile(time.process_time)
    recorder.runcall(ours, build(), data, STEPS // steps_per_epoch)
    own: Counter[str] = Counter()
    for (file, _, _), (_, _, seconds, _, _) in pstats.Stats(recorder).stats.items():  # type: ignore[attr-defined]
        layers = (layer for layer, marks in LAYERS.items() if any(mark in file for mark in marks))
        own[next(layers, "torch's kernels and built-ins" if file == "~" else "other Python")] += seconds
    table = Table(
        title=f"GCN, {steps_per_epoch} steps an epoch: CPU seconds spent in the code of (profiled, so slower)"
    )
    table.add_column("layer")
    table.add_column("seconds", justify="right")
    for layer, seconds in own.most_common():
        table.add_row(layer, f"{seconds:.3f}")
    console.print(table)
    text = io.StringIO()
    pstats.Stats(recorder, stream=text).sort_stats("cumulative").print_stats(45)
    console.print(text.getvalue(), highlight=False, markup=False, soft_wrap=True)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps-per-epoch", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--without-default", action="store_true", help="leave the default Trainer out")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    home = os.environ.get("AUTOML_PLUGINS_DATA")
    folder = Path(home) if home else Path(__file__).parents[2] / "shared" / "data"
    torch.set_num_threads(1)
    console = Console(width=110)
    for steps in options.steps_per_epoch:
        if options.profile:
            profile(console, folder / "graph" / "cora.npz", steps)
        else:
            ways = [way for way in WAYS if not (options.without_default and way == "default Trainer")]
            show(console, steps, measure(folder / "graph" / "cora.npz", steps, options.repeats, ways))


if __name__ == "__main__":
    main()
