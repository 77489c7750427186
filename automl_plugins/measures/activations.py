"""The memory of activations: what a forward pass keeps for the backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from automl_plugins.system.nested import tensors_in


def activation_mib(network: nn.Module, inputs: Sequence[Any]) -> float:
    """The tensors that one forward pass in training mode keeps for its backward pass, in MiB.

    Each storage counts once; weights, buffers and the inputs themselves do not count. It is what a training's memory
    grows with, beside weights, gradients and the optimizer's state.

    Args:
        network: its running statistics are moved, as by any pass in training mode; its own mode is left as it was.
        inputs: the arguments of its `forward`, on the same device.
    """
    there = {_storage(tensor) for tensor in (*network.parameters(), *network.buffers(), *tensors_in(inputs))}
    # The storages themselves: the address of one that is freed on the way may be another's.
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.layout == torch.strided and _storage(tensor) not in there:
            kept[_storage(tensor)] = tensor.untyped_storage()
        return tensor

    training = network.training
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.enable_grad():
        outputs = network.train()(*inputs)  # alive to the end: a storage that is freed may be used again
    network.train(training)
    del outputs
    return sum(storage.nbytes() for storage in kept.values()) / 2**20


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if tensor.layout == torch.strided else id(tensor)
