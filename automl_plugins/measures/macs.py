"""The figures `macs` and `activations` of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from automl_plugins.measures.modes import evaluated
from automl_plugins.spaces.work import Work


def macs(network: nn.Module, inputs: Sequence[Any]) -> int:
    """Multiply-accumulates of matrix products and convolutions in one forward pass.

    Sums over edges, and operations element by element, are not counted; on graphs they are a good part: see
    `activations`, or compare GNNs by latency. The network is left as it was.

    Args:
        network: to count.
        inputs: the arguments of its `forward`.
    """
    return _work(network, inputs).macs


def activations(network: nn.Module, inputs: Sequence[Any]) -> int:
    """Elements of the tensors that operations of one forward pass make, see `automl_plugins.spaces.work.Work`.

    The network is left as it was.

    Args:
        network: to count.
        inputs: the arguments of its `forward`.
    """
    return _work(network, inputs).activations


def _work(network: nn.Module, inputs: Sequence[Any]) -> Work:
    with evaluated(network), torch.no_grad(), Work() as work:
        network(*inputs)
    return work
