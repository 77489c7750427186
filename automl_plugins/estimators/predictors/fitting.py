"""The fit of a graph network to scored architectures, which the neural predictors share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from automl_plugins.system.arguments import at_least

DEPTH = 3
"""Graph convolutions; CTNAS has 4, ReNAS none."""
_BATCH = 64
"""Architectures of a step, about."""
_LEARNING_RATE = 3e-3

Network = TypeVar("Network", bound=nn.Module)


def check_sizes(width: int, epochs: int) -> None:
    """Check a network's width and the length of its fit.

    Raises:
        ValueError: one is below 1.
    """
    at_least("width", width, 1)
    at_least("epochs", epochs, 1)


def fit_network(
    make: Callable[[], Network],
    count: int,
    loss: Callable[[Network, Tensor, torch.Generator], Tensor | None],
    epochs: int,
    weight_decay: float,
    seed: int,
) -> Network:
    """A network fitted by AdamW, whose learning rate falls to zero along a half cosine; in evaluation mode.

    Args:
        make: makes the network; its initial weights are settled by `seed`, and torch's generator is left alone.
        count: the number of architectures.
        loss: of a batch, given the network, the positions of the architectures, and a generator to draw with; None
            where the batch has nothing to learn.
        epochs: over the architectures.
        weight_decay: of AdamW.
        seed: of all draws.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make()
    optimizer = torch.optim.AdamW(network.parameters(), _LEARNING_RATE, weight_decay=weight_decay)
    batches = max(1, round(count / _BATCH))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches)
    for _ in range(epochs):
        for batch in torch.randperm(count, generator=generator).chunk(batches):
            value = loss(network, batch, generator)
            if value is not None:
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                schedule.step()
    return network.eval()
