"""The figure `memory_mib`, and the memory of a training step, estimated on small pieces of a batch."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from automl_plugins.measures.modes import evaluated
from automl_plugins.spaces.probe import Probe

OVERHEAD = 1.2
"""Bytes that a process takes for each byte of a step's tensors, as `benchmarks/memory_estimate.py` measures it:
operations allocate something for themselves, and allocators leave something unused."""
_PIECES = ((1 / 16, 1), (1 / 4, 2))
"""Shares of a batch that are run, and how many times the least piece they are at least."""


class StepMemory(NamedTuple):
    """The most memory that a step holds at a time, in bytes.

    Args:
        fixed: the part that does not depend on the batch, such as gradients of weights.
        of_batch: the part that grows with the batch.
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


def memory_mib(network: nn.Module, inputs: Sequence[Any]) -> float:
    """The most memory that inference takes: one forward pass in evaluation mode without gradients, in MiB.

    It is that of weights and buffers, and the most that the pass holds beside them at a time; inputs are not counted.
    On a GPU, the pass's part is the peak of CUDA's allocator; elsewhere that of the tensors' bytes, which leaves out
    what operations allocate for themselves. It is inference, as `macs`, `latency_ms` and `energy_mj` are; for training
    see `estimate_step`.

    Args:
        network: on the device to measure it on; it is left as it was.
        inputs: the arguments of its `forward`, on the same device.
    """
    tensors = [*network.parameters(), *network.buffers()]
    device = next((tensor.device for tensor in tensors), torch.device("cpu"))
    with evaluated(network), torch.no_grad():
        if device.type == "cuda":
            peak = _allocated(device, lambda: network(*inputs))
        else:
            peak = peak_bytes(lambda arguments: network(*arguments), inputs)
    return (sum(map(_bytes, tensors)) + peak) / 2**20


def _allocated(device: torch.device, run: Callable[[], object]) -> int:
    """The most bytes that the allocator gives out at a time while something runs, beside those that it has already."""
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def estimate_step(step: Callable[[Any], object], batch: Any, probe: Probe | None = None) -> StepMemory:
    """Estimate the most memory that a step on a batch allocates at a time, beside what there is already.

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
    """Bytes of the states that optimizers will keep: two numbers a parameter like Adam, or as many as SGD does."""
    total = 0
    for optimizer in optimizers:
        states = 2
        if "momentum" in optimizer.defaults and "betas" not in optimizer.defaults:
            states = 1 if optimizer.defaults["momentum"] else 0
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        total += sum(states * _bytes(one) for one in weights if one.requires_grad and not optimizer.state.get(one))
    return total


def of_training(step: StepMemory, module: nn.Module, optimizers: Iterable[torch.optim.Optimizer]) -> StepMemory:
    """The memory of training: a step, weights and buffers, gradients of the step before, and optimizers' states.

    A step's tensors are taken `OVERHEAD` times, for what is not counted.

    Args:
        step: the estimate of a step.
        module: that is trained.
        optimizers: of its weights, and of others.
    """
    weights = list(module.parameters())
    gradients = [weight for weight in weights if weight.requires_grad]
    there = sum(map(_bytes, [*weights, *module.buffers(), *gradients]))
    fixed = there + optimizer_bytes(optimizers) + OVERHEAD * step.fixed
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
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor) and leaf.layout == torch.strided]


def _keyed(tensor: Tensor) -> tuple[int, torch.UntypedStorage]:
    storage = tensor.untyped_storage()
    return storage._cdata, storage


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
