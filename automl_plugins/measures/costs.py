"""What a network costs: parameters, multiply-accumulates, peak memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def num_parameters(network: nn.Module) -> int:
    """Trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def macs(network: nn.Module, inputs: Sequence[Any]) -> int:
    """Multiply-accumulates of matrix products and convolutions in one forward pass.

    What is added up over edges, and element by element, is not counted; on graphs that is a good part, so
    compare GNNs by latency. The network is left as it was.

    Args:
        network: what is counted.
        inputs: the arguments of its `forward`.
    """
    counter = FlopCounterMode(display=False)
    # The counter hangs hooks on outputs that require a gradient, which a view of a parameter has not without one.
    with evaluated(network), _frozen(network), torch.no_grad(), counter:
        network(*inputs)
    return counter.get_total_flops() // 2


def peak_memory_mib(network: nn.Module, inputs: Sequence[Any]) -> float | None:
    """The most memory that one forward and backward pass holds on the accelerator, in MiB; None on a CPU.

    Args:
        network: on an accelerator; its gradients are empty afterwards.
        inputs: the arguments of its `forward`, on the same device.
    """
    device = next(network.parameters()).device
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    outputs = network(*inputs)
    outputs.sum().backward()
    network.zero_grad(set_to_none=True)
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) / 2**20


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


@contextmanager
def evaluated(network: nn.Module) -> Iterator[nn.Module]:
    """A network in evaluation mode for the length of a block; each of its modules is left in the mode it was in."""
    before = {module: module.training for module in network.modules()}
    try:
        yield network.eval()
    finally:
        for module, training in before.items():
            module.training = training
