"""A searchable in a plain PyTorch loop, without Lightning and without us."""

from __future__ import annotations

import copy

import pytest
import torch
from perceptron_space.space import PerceptronSpace
from search_project import TASK, samples, state
from torch.nn import functional

from automl_plugins.search import split_loader
from automl_plugins.search.batches import SearchBatches


@pytest.mark.parametrize("relaxation", ["softmax", "concrete", "straight-through"])
def test_two_optimizers_and_a_loop(relaxation: str) -> None:
    torch.manual_seed(0)
    network = PerceptronSpace(4).searchable(TASK, relaxation)
    before = state(network)
    weights = torch.optim.SGD(network.weight_parameters(), lr=0.2)
    architecture = torch.optim.Adam(network.architecture_parameters(), lr=0.05, betas=(0.5, 0.999))
    training, search = split_loader(torch.utils.data.DataLoader(samples(64, 0), 8, shuffle=True), seed=1)
    search_batches = SearchBatches(search, seed=1)

    def loss_of_what_is_found() -> float:
        # In training each pass of a stochastic relaxation is of another mixture.
        with network.hold(network.architecture()), torch.no_grad():
            image, target = samples(64, 0)[:]
            return functional.mse_loss(network(image), target).item()

    first = loss_of_what_is_found()
    for _ in range(15):
        for image, target in training:
            other, expected = next(search_batches)
            architecture.zero_grad()
            functional.mse_loss(network(other), expected).backward()
            architecture.step()
            weights.zero_grad()
            functional.mse_loss(network(image), target).backward()
            weights.step()
    assert loss_of_what_is_found() < 0.9 * first
    assert not torch.equal(before["logits"], network.logits)
    kept = copy.deepcopy(network)
    found = network.derive()
    assert not any("logits" in name for name in found.state_dict())
    assert found(samples(2, 0)[:][0]).shape == (2, 1, 2, 2)
    assert kept.architecture() == network.architecture()
