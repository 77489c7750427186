"""A network in evaluation mode while it is measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluated(network: nn.Module) -> Iterator[nn.Module]:
    """A network in evaluation mode for the length of a block; each of its modules is left in the mode it was in."""
    before = {module: module.training for module in network.modules()}
    try:
        yield network.eval()
    finally:
        for module, training in before.items():
            module.training = training
