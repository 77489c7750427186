"""Something to do with a LightningModule once it is whole: what its `setup` and `configure_model` make is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


def when_whole(module: Any, act: Callable[[], None]) -> Callable[[], None]:
    """Have something done after a LightningModule's `configure_model`, once, before its optimizers are made.

    Callbacks have no hook of their own there.

    Args:
        module: the LightningModule, in whose `setup` the Trainer is.
        act: what is to be done.

    Returns:
        Takes it back, where it has not been done.
    """
    configure_model = module.configure_model
    before = vars(module).get("configure_model")

    def give_back() -> None:
        if vars(module).get("configure_model") is then_act:
            if before is None:
                del module.configure_model
            else:
                module.configure_model = before

    # A plain function: Lightning looks at its code to see whether the hook is there.
    def then_act() -> None:
        give_back()
        configure_model()
        with _plain_tensors():
            act()

    module.configure_model = then_act
    return give_back


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
