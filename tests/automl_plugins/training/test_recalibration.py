"""Running statistics measured anew: right for the network, whatever its batches are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from automl_plugins import Task
from automl_plugins.training.recalibration import recalibrate
from gnn_space import AGNNSpace, GraphRegression
from gnn_space.data import FreesolvData
from seg_space import AutoDeepLabSpace


class Normed(nn.Module):
    """Dropout before one normalisation, a frozen mode after it."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.9)
        self.norm = nn.BatchNorm1d(2, momentum=0.3)
        self.linear = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(self.dropout(x)))


class Pair(NamedTuple):
    image: Tensor
    label: Tensor


BATCHES = [torch.randn(5, 2, generator=torch.Generator().manual_seed(seed)) * (seed + 1) for seed in range(3)]
LABEL = torch.zeros(5)


def check_statistics(network: Normed) -> None:
    """Each batch counts alike, and nothing is dropped."""
    expected_mean = torch.stack([each.mean(dim=0) for each in BATCHES]).mean(dim=0)
    expected_variance = torch.stack([each.var(dim=0) for each in BATCHES]).mean(dim=0)
    torch.testing.assert_close(network.norm.running_mean, expected_mean)
    torch.testing.assert_close(network.norm.running_var, expected_variance)


@pytest.mark.parametrize(
    "loader",
    [
        BATCHES,
        [(each, LABEL) for each in BATCHES],
        [[each] for each in BATCHES],
        [Pair(each, LABEL) for each in BATCHES],
    ],
    ids=["tensors", "tuples", "lists", "named tuples"],
)
def test_statistics_are_means_over_the_batches(loader: Iterable[Any]) -> None:
    network = Normed()
    recalibrate(network, loader)
    check_statistics(network)


def test_what_runs_the_network_may_be_given() -> None:
    network = Normed()
    loader = [{"pixels": (each, LABEL)} for each in BATCHES]
    recalibrate(network, loader, lambda network, batch: network(batch["pixels"][0]))
    check_statistics(network)


def test_modes_momenta_and_weights_stay() -> None:
    network = Normed().train()
    network.linear.eval()
    weights = [each.clone() for each in network.parameters()]
    recalibrate(network, BATCHES)
    assert [network.training, network.dropout.training, network.norm.training] == [True] * 3
    assert not network.linear.training
    assert network.norm.momentum == 0.3
    assert all(torch.equal(*pair) for pair in zip(weights, network.parameters(), strict=True))
    assert all(each.grad_fn is None and each.grad is None for each in network.parameters())


def test_without_a_batch_the_statistics_stay() -> None:
    network = Normed()
    before = {name: each.clone() for name, each in network.named_buffers()}
    with pytest.raises(ValueError, match="gives no batch"):
        recalibrate(network, [])
    assert all(torch.equal(each, before[name]) for name, each in network.named_buffers())


def test_after_an_exception_all_is_as_before() -> None:
    network = Normed().train()
    before = {name: each.clone() for name, each in network.named_buffers()}
    with pytest.raises(RuntimeError, match="shapes"):
        recalibrate(network, [BATCHES[0], torch.randn(5, 2)], lambda network, batch: network(batch) @ torch.ones(3, 1))
    assert all(torch.equal(each, before[name]) for name, each in network.named_buffers())
    assert network.norm.momentum == 0.3
    assert network.dropout.training


def test_what_is_fixed_is_used_as_it_is() -> None:
    network = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2))
    with torch.no_grad():
        network[0].running_mean.fill_(5.0)
    recalibrate(network, BATCHES, fixed=[network[0]])
    assert network[0].running_mean.tolist() == [5.0, 5.0]
    means = torch.stack([each.mean(dim=0) for each in BATCHES]).mean(dim=0)
    torch.testing.assert_close(network[1].running_mean, (means - 5.0) / (1.0 + network[0].eps) ** 0.5)


def test_graphs() -> None:
    data = FreesolvData(batch_size=64)
    data.setup()
    space = AGNNSpace(layers=2, batch_norm=True)
    torch.manual_seed(0)
    module = GraphRegression(space.searchable(data.task).derive(keep_weights=True), data.task)
    norm = next(part for part in module.modules() if isinstance(part, nn.BatchNorm1d))
    seen: list[Tensor] = []
    norm.register_forward_pre_hook(lambda norm, arguments: seen.append(arguments[0]))
    recalibrate(module, data.train_dataloader())
    torch.testing.assert_close(norm.running_mean, torch.stack([each.mean(dim=0) for each in seen]).mean(dim=0))


def test_an_inherited_network_evaluates_as_it_trains() -> None:
    # With the statistics of a mixture it does not: those of a path's own maps are far from them.
    space = AutoDeepLabSpace(layers=3, blocks=2, filters=4, stem=(4, 4))
    task = Task("pixel", "classes", in_channels=3, out_channels=3)
    torch.manual_seed(0)
    searchable = space.searchable(task)
    images = torch.randn(64, 3, 32, 32)
    for batch in images.split(16):
        searchable(batch)
    network = searchable.derive(keep_weights=True)
    with torch.no_grad():
        inherited = network.eval()(images)
        recalibrate(network, DataLoader(TensorDataset(images, torch.zeros(64)), batch_size=64))
        recalibrated = network(images)
        expected = network.train()(images)
    errors = [float((each - expected).square().mean()) for each in (inherited, recalibrated)]
    assert errors[1] < 1e-3 * errors[0]


def test_a_supernet_is_refused() -> None:
    space = AutoDeepLabSpace(layers=1, blocks=1, filters=1, stem=(2, 2))
    searchable = space.searchable(Task("pixel", "classes", in_channels=3, out_channels=3))
    with pytest.raises(ValueError, match=r"Searchable keeps running statistics.*derive\(keep_weights=True\)"):
        recalibrate(searchable, [torch.randn(2, 3, 8, 8)])
