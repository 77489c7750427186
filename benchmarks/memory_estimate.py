"""Memory of a search's weight step, as `automl_plugins.measures.memory` estimates it and as it is.

    python benchmarks/memory_estimate.py

Steps of Auto-DeepLab's supernet (8 layers, 5 blocks, 8 filters, two images), with and without checkpointing, and of
EGNAS's (2 cells, 3 nodes, molecules of FreeSolv), each at two sizes, with Adam. Measured is what two steps add to the
resident memory of a forked copy of this process, which has run none but tiny ones; estimated is `of_training`, but for
the weights and buffers that are there already. Exit code 1 where they differ by more than a quarter.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from measuring import peak
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch_geometric.loader import DataLoader

from automl_plugins import Task
from automl_plugins.measures.memory import estimate_step, of_training
from automl_plugins.spaces.probe import probe_of
from gnn_space import EGNASSpace
from gnn_space.data import FreesolvData
from seg_space import AutoDeepLabSpace

PIXELS = Task("pixel", "classes", in_channels=3, out_channels=11)
MEBIBYTE = 2**20
MOST = 0.25


class Case(NamedTuple):
    """A supernet's step on a batch."""

    name: str
    searchable: nn.Module
    loss: Callable[[Any], Tensor]
    batch: Any
    task: Task


def cases() -> Iterator[Case]:
    """All that is measured."""
    for checkpointing in (False, True):
        searchable = AutoDeepLabSpace(layers=8, checkpointing=checkpointing).searchable(PIXELS)

        def of_pixels(batch: Any, searchable: nn.Module = searchable) -> Tensor:
            return nn.functional.cross_entropy(searchable(batch[0]), batch[1])

        for side in (128, 192):
            batch = torch.randn(2, 3, side, side), torch.randint(11, (2, side, side))
            name = f"Auto-DeepLab, {side} x {side}{', checkpointing' if checkpointing else ''}"
            yield Case(name, searchable, of_pixels, batch, PIXELS)
    data = FreesolvData(batch_size=1)
    data.setup()
    graphs = [batch.get_example(0) for batch in data.train_dataloader()]
    molecules = EGNASSpace(cells=2, nodes=3, node_channels=32, edge_channels=16).searchable(data.task)

    def of_graphs(batch: Any) -> Tensor:
        outputs = molecules(batch.x, batch.edge_index, batch.edge_attr, batch.batch, batch.num_graphs)
        return nn.functional.l1_loss(outputs, batch.y.view_as(outputs))

    for count in (256, 512):
        yield Case(f"EGNAS, {count} molecules", molecules, of_graphs, next(iter(DataLoader(graphs, count))), data.task)


def warm_up(everything: list[Case]) -> None:
    """Have libraries loaded by steps of tiny supernets: that is no memory of a step."""
    pixels = AutoDeepLabSpace(layers=2, blocks=2, filters=1, stem=(2, 2)).searchable(PIXELS)
    nn.functional.cross_entropy(pixels(torch.randn(2, 3, 32, 32)), torch.zeros(2, 32, 32).long()).backward()
    torch.optim.Adam(pixels.parameters()).step()
    graphs = next(case.batch for case in everything if hasattr(case.batch, "num_graphs"))
    few = type(graphs).from_data_list(graphs.to_data_list()[:4])
    molecules = EGNASSpace(cells=1, nodes=2, node_channels=4, edge_channels=2).searchable(FreesolvData().task)
    molecules(few.x, few.edge_index, few.edge_attr, few.batch, few.num_graphs).sum().backward()


def measured(case: Case) -> float:
    """MiB that training adds."""
    optimizer = torch.optim.Adam(case.searchable.parameters())

    def step() -> None:
        # In Lightning's order: the gradients of the step before are there in the forward pass.
        loss = case.loss(case.batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return peak(step)


def estimated(case: Case) -> float:
    """MiB that training would add."""
    weights = list(case.searchable.parameters())

    def step(batch: Any) -> object:
        return torch.autograd.grad(case.loss(batch), weights, allow_unused=True)

    memory = estimate_step(step, case.batch, probe_of(case.task))
    training = of_training(memory, case.searchable, [torch.optim.Adam(weights)])
    there = sum(each.numel() * each.element_size() for each in [*weights, *case.searchable.buffers()])
    return (training.total - there) / MEBIBYTE


def main() -> int:
    """Run the benchmark; 1 where an estimate is far off."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    everything = list(cases())
    warm_up(everything)
    # All before the first estimate: what this process has once allocated, its copies need not allocate again.
    taken = [measured(case) for case in everything]
    table = Table("a weight step of", "measured, MiB", "estimated, MiB", "ratio", "the estimate's CPU s")
    worst = 0.0
    for case, real in zip(everything, taken, strict=True):
        start = time.process_time()
        guess = estimated(case)
        seconds = time.process_time() - start
        worst = max(worst, abs(guess / real - 1))
        table.add_row(case.name, f"{real:.0f}", f"{guess:.0f}", f"{guess / real:.2f}", f"{seconds:.1f}")
    Console(width=120).print(table)
    return int(worst > MOST)


if __name__ == "__main__":
    raise SystemExit(main())
