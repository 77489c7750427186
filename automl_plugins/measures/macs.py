"""The figure `macs`: multiply-accumulates of a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from automl_plugins.measures.modes import evaluated


def macs(network: nn.Module, inputs: Sequence[Any]) -> int:
    """Multiply-accumulates of matrix products and convolutions in one forward pass.

    Sums over edges, and operations element by element, are not counted; on graphs they are a good part, so compare
    GNNs by latency. The network is left as it was.

    Args:
        network: to count.
        inputs: the arguments of its `forward`.
    """
    counter = FlopCounterMode(display=False)
    # The counter hangs hooks on outputs that require a gradient, which a view of a parameter has not without one.
    with evaluated(network), _frozen(network), torch.no_grad(), counter:
        network(*inputs)
    return counter.get_total_flops() // 2


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """A network of which no parameter requires a gradient, for the length of a block."""
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    try:
        for parameter in learned:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in learned:
            parameter.requires_grad_(True)
