"""Every strategy on three spaces: whether a search runs, goes on where it was killed, and gives a network.

    python benchmarks/matrix.py                                     # all strategies, tiny sizes; a JSON line each
    python benchmarks/matrix.py --strategies darts gaea --spaces egnas --results matrix.jsonl
    python benchmarks/matrix.py --quality cluster --space gnn-plus --strategies darts drnas --seeds 3
    python benchmarks/matrix.py --quality brain --space auto-deeplab --options '{"layers": 6, "blocks": 4, ...}'

A cell is two epochs, and two more of which the second goes on from a checkpoint of the first; `resumes` is true where
both end with the same bits. A refusal is a result, too: its reason is in the line.

`--quality` searches on a data set of `store.py`, decodes the same search by most-likely and by best-sampled, trains
what was found in full, and gives the share of the store's networks of the same space that are worse, by the mean of
their seeds. Its lines are in `benchmarks/results/matrix_quality.jsonl`, so the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import store
import torch
from measuring import commit, cpu
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from automl_plugins import Architecture, Task, registry
from automl_plugins.decoders.base import Found
from automl_plugins.decoders.best_sampled import BestSampled
from automl_plugins.decoders.most_likely import MostLikely
from automl_plugins.search import ArchitectureSearch
from automl_plugins.strategies import RandomSearch, Strategy
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.training.fit import quiet_lightning, seeded
from automl_plugins.training.lightning import pl
from gnn_space import EGNASSpace, GNNPlusSpace
from gnn_space.data import ClusterData
from seg_space import AutoDeepLabSpace

QUALITY = store.RESULTS / "matrix_quality.jsonl"
RATES = {"gaea": 0.1}
LEARNING_RATE = 0.01
"""Of the logits; Adam moves them this far in a step at most."""
EPOCHS = 2


class Images(pl.LightningDataModule):
    """Four noisy images of two classes."""

    task: ClassVar[Task] = Task("pixel", "classes", in_channels=3, out_channels=2)

    def train_dataloader(self) -> DataLoader[Any]:
        """Give the batches."""
        image = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(image, (image[:, 0] > 0.5).long()), 2)

    val_dataloader = train_dataloader


def graphs() -> ClusterData:
    """Give graphs of a few nodes."""
    return ClusterData(8, 2, 2, batch_size=2)


SPACES: dict[str, tuple[Callable[[], SupernetSpace], Callable[[], Any]]] = {
    "egnas": (lambda: EGNASSpace(cells=1, nodes=1, node_channels=4, edge_channels=3), graphs),
    "gnn-plus": (
        lambda: GNNPlusSpace(depths=(1, 2), channels=(4, 8), messages=("gcn", "gin", "sage"), heads=1),
        graphs,
    ),
    "auto-deeplab": (lambda: AutoDeepLabSpace(layers=2, blocks=1, filters=2, stem=(2, 4)), Images),
}


class Save(pl.Callback):
    """Keeps a checkpoint of the end of the first epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save it."""
        if trainer.current_epoch == 0:
            trainer.save_checkpoint(self.path)


class Both:
    """Two decoders that read the same search."""

    def __init__(self, learns_logits: bool) -> None:
        self.decoders: dict[str, Any] = {"best-sampled": BestSampled()}
        if learns_logits:
            self.decoders = {"most-likely": MostLikely(), **self.decoders}
        self.found: dict[str, Architecture] = {}

    def __call__(self, searchable: Searchable, evaluate: Callable[[], float]) -> Sequence[Found]:
        """Decode by each of them."""
        found = {name: decoder(searchable, evaluate)[0] for name, decoder in self.decoders.items()}
        self.found = {name: each.architecture for name, each in found.items()}
        return list({each.architecture: each for each in found.values()}.values())


def made(name: str) -> Strategy:
    """The strategy of a name; random search with fewer samples."""
    strategy: Strategy = registry.load("strategies", name)()
    if isinstance(strategy, RandomSearch):
        strategy.decoder = BestSampled(samples=4)
    return strategy


def searched(name: str, space: str, folder: Path, *callbacks: pl.Callback, checkpoint: Path | None = None) -> Any:
    """One search of two epochs; the searchable in the end."""
    make_space, make_data = SPACES[space]
    strategy, data = made(name), make_data()
    with seeded(0), quiet_lightning():
        searchable = make_space().searchable(data.task, partial_channels=strategy.partial_channels)
        module = registry.load("modules", f"{data.task.level}-{data.task.target}")(searchable, data.task)
        search = ArchitectureSearch(strategy, learning_rate=RATES.get(name, LEARNING_RATE))
        trainer = pl.Trainer(
            max_epochs=EPOCHS, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
            callbacks=[search, *callbacks],
        )  # fmt: skip
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=checkpoint is not None)
    return searchable


def cell(name: str, space: str) -> dict[str, Any]:
    """Whether a strategy runs, resumes and derives on a space."""
    line: dict[str, Any] = {"strategy": name, "space": space}
    with tempfile.TemporaryDirectory() as folder:
        began, path = time.process_time(), Path(folder, "first.ckpt")
        try:
            unbroken = searched(name, space, Path(folder), Save(path))
        except ValueError as error:
            return {**line, "refused": str(error)}
        line["cpu_seconds"] = round(time.process_time() - began, 2)
        continued = searched(name, space, Path(folder), checkpoint=path)
    states = [each.state_dict() for each in (unbroken, continued)]
    pairs = [(states[0][key], states[1][key]) for key in states[0] if isinstance(states[0][key], Tensor)]
    network, count = unbroken.derive(), unbroken.space.num_parameters(unbroken.architecture(), unbroken.task)
    return {
        **line,
        "runs": bool(unbroken.logits.isfinite().all()),
        "resumes": all(torch.equal(*pair) for pair in pairs),
        "derives": sum(weight.numel() for weight in network.parameters() if weight.requires_grad) == count,
    }


# Quality.


def percentile(score: float, others: Sequence[float], direction: str) -> float:
    """The share of other scores that are worse, ties counting one half; what is no number is worst."""
    sign, worst = (1.0, -np.inf) if direction == "maximize" else (-1.0, -np.inf)
    own, rest = (np.nan_to_num(sign * np.array(each, dtype=float), nan=worst) for each in (score, others))
    return float(np.mean((rest < own) + 0.5 * (rest == own)))


def quality(name: str, seed: int, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Search, and train what both decoders read in full; a line each."""
    setting, full = store.SETTINGS[options.quality], store.FULL[options.quality]
    data, space = setting.data(), registry.load("spaces", options.space)(**options.options)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    strategy, began = registry.load("strategies", name)(), time.process_time()
    both = Both(strategy.learns_logits)
    with seeded(seed), quiet_lightning():
        narrow = space.within(data.task)
        searchable = narrow.searchable(data.task, seed=seed, partial_channels=strategy.partial_channels)
        module = setting.module(searchable, data.task)
        search = ArchitectureSearch(strategy, learning_rate=options.learning_rate, seed=seed, decoder=both)
        trainer = pl.Trainer(
            max_epochs=options.epochs, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, callbacks=[search],
        )  # fmt: skip
        trainer.fit(module, datamodule=data)
    seconds = round(time.process_time() - began, 1)
    wanted = argparse.Namespace(options=options.options, recipe="new")
    lines = store.lines(store.RESULTS / f"store_{space.name}.jsonl", space, wanted, options.quality)
    truth = list(store.scores(lines, full).values())
    for decoder, architecture in both.found.items():
        result = store.trained(space, architecture, data, setting, 0, options.full_epochs or full, "new")
        share = percentile(result["curve"][-1], truth, module.direction) if truth else None
        yield {
            **key(name, seed, options), "decoder": decoder, "choices": dict(architecture), "percentile": share,
            "networks": len(truth), "search_cpu_seconds": seconds, "entropy": float(searchable.entropy()),
            **result, "commit": commit(), "cpu": cpu(),
        }  # fmt: skip


def key(name: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """All that tells one quality row from another, but for the decoder."""
    return {
        "strategy": name, "space": options.space, "options": options.options, "data": options.quality, "seed": seed,
        "epochs": options.epochs, "full_epochs": options.full_epochs, "learning_rate": options.learning_rate,
    }  # fmt: skip


def fill(chosen: Sequence[str], options: argparse.Namespace, path: Path) -> None:
    """Run the searches that the store lacks."""
    there = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for seed in range(options.seeds):
        for name in chosen:
            own = key(name, seed, options)
            if any(all(line[part] == value for part, value in own.items()) for line in there):
                continue
            rows = list(quality(name, seed, options))
            with path.open("a") as file:  # those of one search together
                file.write("".join(json.dumps(row) + "\n" for row in rows))
                file.flush()
                os.fsync(file.fileno())
            for row in rows:
                shown = {part: row[part] for part in ("strategy", "seed", "decoder", "percentile", "score")}
                print(json.dumps(shown), flush=True)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategies", nargs="+")
    parser.add_argument("--spaces", nargs="+", default=list(SPACES), choices=list(SPACES))
    parser.add_argument("--results", type=Path, help="a file for the lines; they are printed anyway")
    parser.add_argument("--quality", choices=list(store.FULL), help="a data set of the store")
    parser.add_argument("--space", default="gnn-plus", help="of quality rows, by its registered name")
    parser.add_argument("--options", type=json.loads, default={}, help="arguments of that space, as JSON")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10, help="of a search whose quality is measured")
    parser.add_argument("--learning-rate", type=float, help="of the logits; the search's own where left out")
    parser.add_argument("--full-epochs", type=int, help="of the training of what was found; the store's where left out")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    chosen = options.strategies or registry.names("strategies")
    if options.quality is not None:
        store.RESULTS.mkdir(exist_ok=True)
        fill(chosen, options, options.results or QUALITY)
        return
    for name in chosen:
        for space in options.spaces:
            line = json.dumps(cell(name, space))
            print(line, flush=True)
            if options.results is not None:
                with options.results.open("a") as file:
                    file.write(line + "\n")


if __name__ == "__main__":
    main()
