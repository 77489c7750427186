"""The computational graph of a network: what a graph hypernetwork reads."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from automl_plugins.spaces.probe import Inputs
from automl_plugins.system.nested import tensors_in

BUCKETS = 256
"""Of each of the two hashes of a node's kind."""
_SHAPE_ONLY = frozenset(
    (
        *("Alias", "AsStrided", "Clone", "Expand", "Permute", "Reshape", "Select", "Slice", "Squeeze", "T", "ToCopy"),
        *("Transpose", "UnsafeView", "Unsqueeze", "View"),
    )
)
"""Operations that only rearrange what one other gives: no nodes."""
_BENDING = frozenset(
    ("Celu", "Elu", "Gelu", "Hardswish", "Hardtanh", "LeakyRelu", "Mish", "Prelu", "Relu", "Selu", "Silu", "Softplus")
)
_KIND = re.compile(r"^(?:.*::)?(.*?)(?:Backward\d*)?$")


class Weight(NamedTuple):
    """A parameter of a network, as a node of its graph.

    Args:
        name: in the network's `named_parameters`.
        node: its number.
        shape: as the network has it.
        role: `matrix` (two dimensions or more), `vector`, `scale` (of a normalisation) or `shift`.
        variance: that its numbers should have, beta / fan-in.
    """

    name: str
    node: int
    shape: tuple[int, ...]
    role: str
    variance: float


@dataclass(frozen=True)
class NetworkGraph:
    """Operations and parameters of a network, in order of data flow.

    Args:
        kinds: of each node: the operation's name, or of a parameter the class of its module and its own name.
        inputs: of each node, the nodes that it reads, which come before it.
        weights: the nodes that are parameters to be predicted.
    """

    kinds: tuple[str, ...]
    inputs: tuple[tuple[int, ...], ...]
    weights: tuple[Weight, ...]

    def __len__(self) -> int:
        return len(self.kinds)

    @cached_property
    def hashes(self) -> np.ndarray:
        """Two numbers below `BUCKETS` for each node's kind, `[num_nodes, 2]`."""
        values = np.array([zlib.crc32(kind.encode()) for kind in self.kinds], dtype=np.int64)
        return np.stack([values % BUCKETS, values // BUCKETS % BUCKETS], axis=1)

    @cached_property
    def levels(self) -> np.ndarray:
        """The longest way to each node from one that reads nothing, `[num_nodes]`."""
        levels = np.zeros(len(self), dtype=np.int64)
        for node, inputs in enumerate(self.inputs):
            if inputs:
                levels[node] = 1 + max(levels[each] for each in inputs)
        return levels

    @cached_property
    def heights(self) -> np.ndarray:
        """The longest way from each node to one that nothing reads, `[num_nodes]`."""
        heights = np.zeros(len(self), dtype=np.int64)
        for node in range(len(self) - 1, -1, -1):
            for each in self.inputs[node]:
                heights[each] = max(heights[each], heights[node] + 1)
        return heights

    def distances(self) -> np.ndarray:
        """The shortest way from each node to each that it reaches, in edges; elsewhere infinite, `[from, to]`."""
        distances = np.full((len(self), len(self)), np.inf, dtype=np.float32)
        for node, inputs in enumerate(self.inputs):
            if inputs:
                distances[:, node] = 1 + distances[:, list(inputs)].min(axis=1)
            distances[node, node] = 0
        return distances


def graph_of(network: nn.Module, inputs: Inputs) -> NetworkGraph:
    """The graph of what a network computes, as autograd records it.

    Nodes are the operations between parameters and outputs and these parameters, trainable ones alone; operations that
    only rearrange numbers are left out. It is the same on every device, if the network and its inputs are on the CPU.

    Args:
        network: is left in evaluation mode.
        inputs: of its `forward`, in order.

    Raises:
        ValueError: its outputs depend on no parameter that is trained.
    """
    with torch.enable_grad():
        outputs = [each for each in tensors_in(network.eval()(*inputs)) if each.grad_fn is not None]
    if not outputs:
        raise ValueError("the network's outputs depend on no parameter that is trained, so there is none to predict")
    named = {id(parameter): name for name, parameter in network.named_parameters()}
    modules = dict(network.named_modules())
    numbers: dict[Any, int] = {}
    kinds: list[str] = []
    reads: list[tuple[int, ...]] = []
    found: dict[int, tuple[str, Tensor]] = {}
    for step, inner in _in_order([each.grad_fn for each in outputs]):
        numbers[step] = node = len(kinds)
        reads.append(tuple(dict.fromkeys(numbers[each] for each in inner)))
        name = named.get(id(getattr(step, "variable", None)))
        kinds.append(_kind(step) if name is None else _place(name, modules))
        if name is not None:
            found[node] = (name, step.variable)
    flow = _Flow(kinds, reads, frozenset(node for node, (_, value) in found.items() if value.dim() > 1))
    weights = [flow.weight(node, name, value) for node, (name, value) in found.items() if value.numel()]
    return NetworkGraph(tuple(kinds), tuple(reads), tuple(weights))


class _Flow:
    """The way of the data through a graph, by which its parameters are told apart.

    Args:
        kinds: see `NetworkGraph`.
        reads: the inputs of each node.
        matrices: the nodes that are parameters of two dimensions or more.
    """

    def __init__(self, kinds: Sequence[str], reads: Sequence[Sequence[int]], matrices: frozenset[int]) -> None:
        self.kinds, self.reads, self.matrices = kinds, reads, matrices
        self.readers: dict[int, list[int]] = {node: [] for node in range(len(kinds))}
        for node, read in enumerate(reads):
            for each in read:
                self.readers[each].append(node)

    def weight(self, node: int, name: str, value: Tensor) -> Weight:
        """The parameter of a node."""
        shape = tuple(value.shape)
        role = self._role(node, value)
        fan_in = value.numel()
        if role == "matrix":
            _, *inputs = matrix_shape(shape)
            fan_in = int(np.prod(inputs))
        is_looked_up = any(self.kinds[each].startswith("Embedding") for each in self.readers[node])
        beta = 2.0 if role == "matrix" and self._bends(node) else 1.0
        return Weight(name, node, shape, role, 1.0 if is_looked_up else beta / fan_in)

    def _role(self, node: int, value: Tensor) -> str:
        module, _, own = self.kinds[node].partition(".")
        if value.dim() > 1:
            return "matrix"
        if "norm" in module.lower() and "bias" not in own:
            return "scale"
        return "shift" if "bias" in own or value.numel() == 1 else "vector"

    def _bends(self, node: int) -> bool:
        """True where an activation reads what a matrix gives, before another matrix does."""
        seen = set[int]()
        left = list(self.readers[node])
        while left:
            each = left.pop()
            if self.kinds[each] in _BENDING:
                return True
            if each not in seen:
                seen.add(each)
                left += [reader for reader in self.readers[each] if self.matrices.isdisjoint(self.reads[reader])]
        return False


def _kind(step: Any) -> str:
    match = _KIND.match(step.name())
    return match[1] if match else str(step.name())


def _place(name: str, modules: Mapping[str, nn.Module]) -> str:
    module, _, own = name.rpartition(".")
    return f"{type(modules[module]).__name__}.{'item' if own.isdecimal() else own}"


def _resolved(step: Any) -> Any:
    """The operation behind others that only rearrange what it gives."""
    while _kind(step) in _SHAPE_ONLY:
        read = [each for each, _ in step.next_functions if each is not None]
        if len(read) != 1:
            break
        step = read[0]
    return step


def _in_order(ends: Sequence[Any]) -> Iterator[tuple[Any, list[Any]]]:
    """Operations with those that they read, each after these."""
    read: dict[Any, list[Any]] = {}
    given = set[Any]()
    stack = [_resolved(end) for end in reversed(ends)]
    while stack:
        step = stack[-1]
        if step not in read:
            read[step] = [_resolved(each) for each, _ in step.next_functions if each is not None]
            stack += [each for each in reversed(read[step]) if each not in read]
            continue
        stack.pop()
        if step not in given:
            given.add(step)
            yield step, read[step]


def matrix_shape(shape: Sequence[int]) -> tuple[int, int, int, int]:
    """Outputs, inputs, height and width of a parameter of two or more dimensions, whose product is its size.

    Of three dimensions whose first is 1, as attention's weights of several heads have them, the others count.
    """
    sizes = list(shape)
    if len(sizes) == 3 and sizes[0] == 1:
        sizes = sizes[1:]
    sizes = [*sizes, *([1] * (4 - len(sizes)))]
    return sizes[0], sizes[1], sizes[2], int(np.prod(sizes[3:]))
