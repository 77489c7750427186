"""Parts of a supernet that are run again in the backward pass, so that what they compute need not be kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def recomputed(part: nn.Module, run: Callable[[], Tensor]) -> Tensor:
    """The result of a run, which is repeated when a gradient needs what it computed (Chen et al. 2016).

    Running statistics move once, in the first run.

    Args:
        part: all modules that the run uses; nothing in it may draw random numbers.
        run: computes the result.
    """

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _BuffersKept(part)

    result: Tensor = checkpoint(run, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)
    return result


class _BuffersKept(AbstractContextManager[None]):
    """Lets the modules write into copies of their buffers, as often as it is entered: once for each backward pass."""

    def __init__(self, part: nn.Module) -> None:
        self._part = part
        self._originals: list[tuple[nn.Module, str, Tensor | None]] = []

    def __enter__(self) -> None:
        self._originals = [
            (each, name, buffer) for each in self._part.modules() for name, buffer in each._buffers.items()
        ]
        for module, name, buffer in self._originals:
            module._buffers[name] = None if buffer is None else buffer.clone()

    def __exit__(self, *_: object) -> None:
        for module, name, buffer in self._originals:
            module._buffers[name] = buffer
        self._originals = []
