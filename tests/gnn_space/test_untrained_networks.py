"""Untrained networks of graphs: their outputs are of the order of the targets, and the first steps leave them there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Batch

from automl_plugins import Task
from gnn_space import AGNNSpace, EGNASSpace
from gnn_space.data.molecules import SmilesTable

TABLES = {"esol": ("logSolubility", "regression"), "bbbp": ("p_np", "binary")}
SPACES = {
    # Of widths that a trial trains in seconds; by sums that are not counted in graphs they fail.
    "agnn": AGNNSpace(hidden_channels=(16, 64), heads=(2, 4)),
    "egnas": EGNASSpace(cells=1, nodes=2, operations="extended", sum_readout=True),
}


def molecules(name: str, shared_data: Path, folder: Path) -> tuple[Task, Batch, Tensor]:
    """A batch of the first molecules of a table, and what a network learns of them: standardised targets, or labels."""
    column, target = TABLES[name]
    lines = (shared_data / "graph" / "molecules" / f"{name}.csv").read_text().splitlines(keepends=True)
    # Of BBBP's first rows nearly all are positive; every thirtieth shows both classes.
    (folder / "some.csv").write_text("".join([lines[0], *lines[1::30]]))
    data = SmilesTable(folder / "some.csv", "smiles", column, target=target)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    y = batch.y.view(-1, 1).float()
    return data.task, batch, (y - y.mean()) / y.std(correction=0) if target == "regression" else y


def loss_of(outputs: Tensor, y: Tensor, task: Task) -> Tensor:
    error = functional.mse_loss if task.target == "regression" else functional.binary_cross_entropy_with_logits
    return error(outputs, y)


def first_losses(network: nn.Module, task: Task, batch: Batch, y: Tensor, steps: int) -> tuple[Tensor, list[float]]:
    """The untrained network's outputs, and the loss before each of Adam's first steps and after the last."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses, untrained = [], None
    for _ in range(steps + 1):
        outputs = network.train()(batch)
        untrained = outputs.detach() if untrained is None else untrained
        loss = loss_of(outputs, y, task)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return untrained, losses


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_networks_begin_near_the_majoritys_answer_and_stay_there(
    space: AGNNSpace | EGNASSpace, table: str, shared_data: Path, tmp_path: Path
) -> None:
    task, batch, y = molecules(table, shared_data, tmp_path)
    share = y.mean().clamp(1e-6, 1 - 1e-6)
    majority = 1.0 if task.target == "regression" else loss_of(share.logit().expand_as(y), y, task).item()
    generator = np.random.default_rng(0)
    for seed in range(4):
        torch.manual_seed(seed)
        outputs, losses = first_losses(space.network(space.sample(generator), task), task, batch, y, steps=3)
        assert outputs.abs().mean() < 1.5
        assert max(losses) < 3 * majority, losses
