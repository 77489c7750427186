"""Parts of a supernet that are run again in the backward pass, so that what they compute need not be kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

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
        return nullcontext(), _buffers_kept(part)

    result: Tensor = checkpoint(run, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)
    return result


@contextmanager
def _buffers_kept(part: nn.Module) -> Iterator[None]:
    """Let the modules write into copies of their buffers."""
    originals = [(each, name, buffer) for each in part.modules() for name, buffer in each._buffers.items()]
    for module, name, buffer in originals:
        module._buffers[name] = None if buffer is None else buffer.clone()
    try:
        yield
    finally:
        for module, name, buffer in originals:
            module._buffers[name] = buffer
