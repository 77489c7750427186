"""Something to do with a LightningModule once it is whole: what its `setup` and `configure_model` make is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


def when_whole(module: Any, act: Callable[[], None]) -> Callable[[], None]:
    """Have something done once a LightningModule is whole, before its optimizers are made.

    That is after its `configure_model`, or after its `setup` where that alone is its own, or at once where neither is.
    Callbacks have no hook of their own there.

    Args:
        module: the LightningModule, before its `setup`.
        act: what is to be done.

    Returns:
        Takes it back, where it has not been done.
    """
    name = next((name for name in ("configure_model", "setup") if _has_own(module, name)), None)
    if name is None:
        act()
        return nothing
    hook, before = getattr(module, name), vars(module).get(name)

    def give_back() -> None:
        if vars(module).get(name) is then_act:
            if before is None:
                delattr(module, name)
            else:
                setattr(module, name, before)

    # A plain function: Lightning looks at its code to see whether the hook is there.
    def then_act(*arguments: Any, **options: Any) -> None:
        give_back()
        hook(*arguments, **options)
        with _plain_tensors():
            act()

    setattr(module, name, then_act)
    return give_back


def nothing() -> None:
    """The end of what needs none."""


def _has_own(module: Any, name: str) -> bool:
    """True where a hook is the project's, and not Lightning's."""
    distribution = getattr(type(module), name).__module__.partition(".")[0]
    return name in vars(module) or distribution not in ("pytorch_lightning", "lightning")


@contextmanager
def _plain_tensors() -> Iterator[None]:
    """Make tensors as anywhere else inside: Lightning calls the hook with defaults of the device and the precision."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(dtype)
