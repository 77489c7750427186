"""Multiply-accumulates and activations of one forward pass, counted operation by operation on any device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


class Work(TorchDispatchMode):
    """Counts what operations inside a `with` block do.

    ```python
    with torch.no_grad(), Work() as work:
        network(*inputs)
    work.macs, work.activations
    ```

    `macs` are the multiply-accumulates of matrix products, attention and convolutions; a product with a sparse matrix
    has as many for each column as entries are stored. `activations` are the elements of all tensors that operations
    make (Radosavovic et al., CVPR 2020, count those of convolutions alone): views and what is written in place count
    nothing, a sparse tensor its stored entries. Messages along edges are in them, which no product makes. Both are
    numbers of the operations that run, so a faster form of the same network may have fewer.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = 0
        self.activations = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        options = options or {}
        result = function(*arguments, **options)
        given = _tensors((arguments, options))
        there = {_storage(tensor) for tensor in given}
        self.activations += sum(_entries(made) for made in _tensors(result) if _storage(made) not in there)
        packet = function._overloadpacket
        sparse = next((tensor for tensor in given if tensor.layout != torch.strided), None)
        if packet is torch.ops.aten.sparse_sampled_addmm:
            self.macs += _entries(arguments[0]) * int(arguments[1].shape[-1])
        elif sparse is not None and "mm" in packet.__name__:
            self.macs += _entries(sparse) * int(_tensors(result)[0].shape[-1])
        elif packet in flop_registry:
            self.macs += int(flop_registry[packet](*arguments, **options, out_val=result)) // 2
        return result


def count_work(network: nn.Module, run: Callable[[nn.Module], object]) -> Mapping[str, int]:
    """The figures `macs` and `activations` of a network in evaluation mode, without gradients.

    Args:
        network: to count; it ends in evaluation mode.
        run: calls it on example inputs.
    """
    with torch.no_grad(), Work() as work:
        run(network.eval())
    return {"macs": work.macs, "activations": work.activations}


def _tensors(tree: Any) -> Sequence[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata if tensor.layout == torch.strided else id(tensor)


def _entries(tensor: Tensor) -> int:
    return tensor.numel() if tensor.layout == torch.strided else int(tensor._nnz())
