"""The memory of a training step, estimated on small pieces of a batch before it is taken."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from automl_plugins.spaces.probe import Probe

OVERHEAD = 1.2
"""What a process takes for each byte of a step's tensors, as `benchmarks/memory_estimate.py` measures it: operations
allocate something for themselves, and allocators leave something unused."""
_PIECES = ((1 / 16, 1), (1 / 4, 2))
"""Shares of a batch that are run, and how many times the least piece they are at least."""


class StepMemory(NamedTuple):
    """What a step holds at most, in bytes.

    Args:
        fixed: what does not depend on the batch: gradients of weights, and whatever is of one size.
        of_batch: the rest, which grows with the batch.
    """

    fixed: int
    of_batch: int

    @property
    def total(self) -> int:
        """Both."""
        return self.fixed + self.of_batch

    def share_that_fits(self, limit: int) -> float:
        """The part of the batch that a step could have with this many bytes; 0 where nothing is left for it."""
        return max(limit - self.fixed, 0) / max(self.of_batch, 1)


def estimate_step(step: Callable[[Any], object], batch: Any, probe: Probe | None = None) -> StepMemory:
    """Estimate what a step on a batch allocates at most, beside what there is already.

    The step is run on two small pieces of the batch, and its memory is taken to grow linearly with their size, such as
    the number of pixels, or of nodes and edges. A batch of which no piece can be made or run is run as it is. Tensors
    are counted; what an operation allocates for itself and what allocators leave unused is not.

    Args:
        step: takes a batch, and runs forward and backward.
        batch: as the step gets it.
        probe: of the level that the batch is of; None: nothing is known of it.
    """
    if probe is None:
        return StepMemory(peak_bytes(step, batch), 0)
    small, large = (probe.piece(batch, share, least) for share, least in _PIECES)
    sizes = probe.size(small), probe.size(large), probe.size(batch)
    if sizes[0] < sizes[1] < sizes[2]:
        try:
            first, second = peak_bytes(step, small), peak_bytes(step, large)
        except Exception:  # noqa: BLE001 - whatever a step says of other sizes than it knows
            return StepMemory(peak_bytes(step, batch), 0)
        slope = max(second - first, 0) / (sizes[1] - sizes[0])
        return StepMemory(round(max(first - slope * sizes[0], 0)), round(slope * sizes[2]))
    return StepMemory(peak_bytes(step, batch), 0)


def peak_bytes(step: Callable[[Any], object], batch: Any) -> int:
    """The most bytes of new tensors that a step holds at a time; compiled parts are run as they were written."""
    live = _LiveBytes()
    with torch.compiler.set_stance("force_eager"), live:
        step(batch)
    return live.peak


def optimizer_bytes(optimizers: Iterable[torch.optim.Optimizer]) -> int:
    """What optimizers will keep for each of their parameters: two numbers like Adam, or as many as SGD does."""
    total = 0
    for optimizer in optimizers:
        states = 2
        if "momentum" in optimizer.defaults and "betas" not in optimizer.defaults:
            states = 1 if optimizer.defaults["momentum"] else 0
        held = [each for group in optimizer.param_groups for each in group["params"]]
        total += sum(states * _bytes(each) for each in held if each.requires_grad and not optimizer.state.get(each))
    return total


def of_training(step: StepMemory, module: torch.nn.Module, optimizers: Iterable[torch.optim.Optimizer]) -> StepMemory:
    """What training takes in all: a step, weights and buffers, gradients of the step before, and optimizers' states.

    A step's tensors are taken `OVERHEAD` times, for what is not counted.

    Args:
        step: the estimate of a step.
        module: what is trained.
        optimizers: of its weights, and of others.
    """
    weights = list(module.parameters())
    held = sum(map(_bytes, [*weights, *module.buffers()])) + sum(_bytes(each) for each in weights if each.requires_grad)
    fixed = held + optimizer_bytes(optimizers) + OVERHEAD * step.fixed
    return StepMemory(round(fixed), round(OVERHEAD * step.of_batch))


def readable(size: float) -> str:
    """Bytes as MiB or GiB."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of storages that were made inside and are alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self._alive: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        result = function(*arguments, **(options or {}))
        made = {key: storage for key, storage in map(_keyed, _strided(result)) if key not in self._alive}
        if made:
            # What aliases an argument that is not counted was there before.
            before = {_keyed(tensor)[0] for tensor in _strided((arguments, options))}
            for key, storage in made.items():
                if key not in before:
                    self._count(key, storage)
        return result

    def _count(self, key: int, storage: torch.UntypedStorage) -> None:
        size = storage.nbytes()

        def forget(_: object) -> None:
            self.live -= size
            del self._alive[key]

        self._alive[key] = weakref.ref(storage, forget)
        self.live += size
        self.peak = max(self.peak, self.live)


def _strided(tree: Any) -> list[Tensor]:
    return [each for each in tree_leaves(tree) if isinstance(each, Tensor) and each.layout == torch.strided]


def _keyed(tensor: Tensor) -> tuple[int, torch.UntypedStorage]:
    storage = tensor.untyped_storage()
    return storage._cdata, storage


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
