"""The strategies that find an option which is right by construction, plant by plant.

python benchmarks/planted.py [--strategies darts snas] [--plants sums edges] [--seeds 10] [--results FILE]

A plant is a task that one option alone can fit: *edges* (a node's target is the mean of features of its edges; a layer
that reads none cannot know it), *sums* (the target is a node's degree; means of equal features are equal), *fine* (the
target is each pixel of noise; halved resolutions have lost it), *wide* (the target is the pixel four to the left; one
operation alone reaches so far). All other choices have one open option. A search is 120 steps, with a learning rate of
the logits of 0.05 (GAEA: 0.5).
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from automl_plugins import Architecture, Task, registry
from automl_plugins.search import ArchitectureSearch
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.supernets.space import SupernetSpace
from gnn_space import GNNPlusSpace
from seg_space import AutoDeepLabSpace

STEPS = 40
EPOCHS = 3
RATES = {"gaea": 0.5}
NODES, EDGES, SIDE, IMAGES = 40, 160, 12, 4
FAR = 4

Batch = tuple[tuple[Any, ...], Tensor]


class Plant(NamedTuple):
    """A task with a right option.

    Args:
        space: that it is searched in.
        task: what networks must fit.
        batch: made of a generator.
        kept: the options that are left open, by gate; the others keep their first one.
        is_right: of the architecture that was found.
        chance: the share of architectures that are right.
    """

    space: SupernetSpace
    task: Task
    batch: Callable[[torch.Generator], Batch]
    kept: Mapping[str, Sequence[Any]]
    is_right: Callable[[Architecture], bool]
    chance: float


def graph(generator: torch.Generator, channels: int) -> tuple[Tensor, Tensor]:
    """Edges of nodes with very different degrees, and features of them."""
    shares = torch.rand(NODES, generator=generator).square()
    targets = torch.multinomial(shares, EDGES, replacement=True, generator=generator)
    sources = torch.randint(NODES, (EDGES,), generator=generator)
    return torch.stack([sources, targets]), torch.randn(EDGES, channels, generator=generator)


def mean_at(edges: Tensor, values: Tensor) -> Tensor:
    """The mean of edges' values at their targets, `[nodes, 1]`; 0 where a node has none."""
    total = torch.zeros(NODES).index_add(0, edges[1], values)
    degree = torch.zeros(NODES).index_add(0, edges[1], torch.ones(EDGES))
    return (total / degree.clamp(min=1)).unsqueeze(1)


def edges_decide(generator: torch.Generator) -> Batch:
    """Noise at the nodes; the target is the mean of the first feature of the edges that lead to a node."""
    edges, features = graph(generator, 2)
    x = torch.randn(NODES, 2, generator=generator)
    return (x, edges, features, None, 1), mean_at(edges, features[:, 0])


def sums_decide(generator: torch.Generator) -> Batch:
    """Equal features; the target is how many edges lead to a node."""
    edges, _ = graph(generator, 1)
    degree = torch.zeros(NODES).index_add(0, edges[1], torch.ones(EDGES)).unsqueeze(1)
    return (torch.ones(NODES, 2), edges, None, None, 1), degree / 4 - 1


def detail(generator: torch.Generator) -> Batch:
    """Images of noise, which are their own targets."""
    image = torch.randn(IMAGES, 1, SIDE, SIDE, generator=generator)
    return (image,), image.clone()


def distance(generator: torch.Generator) -> Batch:
    """Images of noise; the target is the pixel that lies `FAR` to the left."""
    image = torch.randn(IMAGES, 1, SIDE, SIDE, generator=generator)
    return (image,), functional.pad(image, (FAR, 0))[..., :SIDE]


def gnn(messages: tuple[str, ...]) -> GNNPlusSpace:
    """GNN+ with one layer."""
    return GNNPlusSpace(
        depths=(1,), channels=(8,), messages=messages, norms=("none",), dropouts=(0.0,), propagations=(0,), heads=1
    )


def auto_deeplab(layers: int) -> AutoDeepLabSpace:
    """Auto-DeepLab with one block, from full resolution on."""
    return AutoDeepLabSpace(layers=layers, blocks=1, filters=4, stem=(4, 4), stem_stride=1, head="aspp")


NEAR = ("separable_3x3", "atrous_3x3", "average_pool", "max_pool", "identity")
PLANTS: dict[str, Plant] = {
    "edges": Plant(
        gnn(("none", "sage")),
        Task("node", "regression", 2, 1, edge_channels=2),
        edges_decide,
        {"layer0.message": ("none", "sage"), "input": ("linear",)},
        lambda found: found["layer0.message"] == "sage",
        1 / 2,
    ),
    "sums": Plant(
        gnn(("sage", "gatv2", "gin")),
        Task("node", "regression", 2, 1),
        sums_decide,
        {"layer0.message": ("sage", "gatv2", "gin"), "input": ("linear",)},
        lambda found: found["layer0.message"] == "gin",
        1 / 3,
    ),
    "fine": Plant(
        auto_deeplab(2),
        Task("pixel", "regression", 1, 1),
        detail,
        {
            "cell.block0.from0.operation": ("separable_3x3",),
            "cell.block0.from1.operation": ("identity",),
            "layer1.after1": (1, 2),
            "layer2.after1": (1, 2),
            "layer2.after2": (1, 2, 4),
        },
        lambda found: found["layer1.after1"] == found.get("layer2.after1") == 1,
        1 / 5,
    ),
    "wide": Plant(
        auto_deeplab(1),
        Task("pixel", "regression", 1, 1),
        distance,
        {
            "cell.block0.from0.operation": (*NEAR, "atrous_5x5"),
            "cell.block0.from1.operation": ("identity",),
            "layer1.after1": (1,),
        },
        lambda found: "atrous_5x5" in found.values(),
        1 / 6,
    ),
}


class LitPlant(pl.LightningModule):
    """A regression of whatever a network is called with."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return functional.mse_loss(self.net(*batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def planted(plant: Plant, seed: int) -> Searchable:
    """The searchable of a plant, with nothing to decide but it."""
    torch.manual_seed(seed)
    searchable = plant.space.searchable(plant.task, seed=seed)
    for choice in searchable.choices:
        searchable.keep(choice.name, *plant.kept.get(choice.name, choice.options[:1]))
    return searchable


def loader(plant: Plant, seed: int) -> DataLoader[Batch]:
    """The batches of an epoch, the same in each."""
    generator = torch.Generator().manual_seed(seed)
    batches: Any = [plant.batch(generator) for _ in range(STEPS)]
    return DataLoader(batches, batch_size=None)


def find(name: str, strategy: str, seed: int, folder: Path) -> bool:
    """True where a strategy finds what is planted.

    Args:
        name: of the plant.
        strategy: a registered name.
        seed: of the network, the data and the search.
        folder: where Lightning may write.
    """
    plant = PLANTS[name]
    searchable = planted(plant, seed)
    made = registry.load("strategies", strategy)()
    data = loader(plant, 2 * seed + 1) if made.uses_search_data else None
    rate = RATES.get(strategy, 0.05)
    search = ArchitectureSearch(made, search_data=data, learning_rate=rate, weight_decay=0.0, seed=seed)
    trainer = pl.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[search],
    )
    trainer.fit(LitPlant(searchable), loader(plant, 2 * seed))
    return plant.is_right(searchable.architecture())


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strategies", nargs="+", default=None)
    parser.add_argument("--plants", nargs="+", default=list(PLANTS), choices=list(PLANTS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--results", type=Path, default=None)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    chosen = arguments.strategies or registry.names("strategies")
    found: dict[str, dict[str, int | str]] = {}
    for strategy in chosen:
        found[strategy] = {}
        for plant in arguments.plants:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    right = sum(find(plant, strategy, seed, Path(folder)) for seed in range(arguments.seeds))
                except ValueError as error:  # the strategy refuses the space
                    found[strategy][plant] = "-"
                    print(f"{strategy} on {plant}: {error}")
                else:
                    found[strategy][plant] = right
            if arguments.results is not None:
                arguments.results.write_text(json.dumps({"seeds": arguments.seeds, "found": found}, indent=1))
    table = Table(title=f"found, of {arguments.seeds} seeds")
    for column in ("strategy", *arguments.plants):
        table.add_column(column)
    table.add_row("chance", *(f"{PLANTS[plant].chance * arguments.seeds:.1f}" for plant in arguments.plants))
    for strategy, row in found.items():
        table.add_row(strategy, *(str(row[plant]) for plant in arguments.plants))
    Console().print(table)


if __name__ == "__main__":
    main()
