"""What a network costs: parameters, multiply-accumulates, peak memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    import optuna


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


def set_limits(trial: optuna.Trial, figures: Mapping[str, float], limits: Mapping[str, float]) -> None:
    """Make hard limits Optuna constraints of a trial: each keeps `figure <= limit`.

    How far a limit is missed is told relative to it, so that seconds of latency and millions of parameters weigh alike.
    Optuna's TPE and NSGA-II honour constraints, and so do our samplers. A figure that is nan keeps no limit.

    Args:
        trial: the running trial.
        figures: name -> value.
        limits: name -> the most that it may be; above 0.

    Raises:
        ValueError: there is no figure of that name, or a limit is not a number above 0.
    """
    for name, limit in limits.items():
        if name not in figures:
            raise ValueError(f"there is a limit for {name!r}, and no such figure; figures: {', '.join(figures)}")
        if not 0 < limit < math.inf:
            raise ValueError(f"the limit of {name!r} is a number above 0; got {limit}")
        missed = figures[name] / limit - 1
        trial.set_constraint(name, math.inf if math.isnan(missed) else missed)


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
