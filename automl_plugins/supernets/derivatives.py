"""Hand-written derivatives, which can be taken once and in reverse mode alone: anything else is refused in words."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NoReturn

import torch

_CURE = (
    "make the supernet with joint=False (`space.searchable(task, joint=False)`, or `supernet.plain()` of one that is "
    "there), which computes the same option by option in operations of torch alone"
)


class HandWritten(torch.autograd.Function):
    """A function of a joint supernet whose backward pass is written by hand.

    A subclass decorates its `backward` with `first_order`, unless it consists of functions that can be differentiated
    again. torch's `once_differentiable` would not do: it raises only
    where a second derivative passes through the function itself, and leaves out without a word what reaches the asked
    input on other ways.
    """

    @classmethod
    def apply(cls, *arguments: Any) -> Any:
        """The function's outputs.

        Raises:
            RuntimeError: inside a transform of `torch.func`.
        """
        refuse_transforms()
        return super().apply(*arguments)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> NoReturn:
        """Refuse forward-mode differentiation.

        Raises:
            RuntimeError: always.
        """
        _refuse("forward-mode derivatives do not reach through")


def refuse_transforms() -> None:
    """Refuse to run inside a transform of `torch.func`.

    Raises:
        RuntimeError: the caller is inside one.
    """
    if _inside_transform():
        _refuse("transforms of torch.func (grad, jvp, vmap, hessian) do not reach through")


def first_order(backward: Callable[..., Any]) -> Callable[..., Any]:
    """A backward pass that refuses to be part of a graph of which gradients are taken again (`create_graph=True`)."""

    @functools.wraps(backward)
    def guarded(ctx: Any, *gradients: Any) -> Any:
        # Gradients are recorded in a backward pass exactly where it is to be differentiated.
        if torch.is_grad_enabled():
            _refuse("gradients of gradients (create_graph=True) do not reach through")
        return backward(ctx, *gradients)

    return guarded


def _refuse(what: str) -> NoReturn:
    raise RuntimeError(f"{what} the hand-written derivatives of a joint supernet; {_CURE}")


def _inside_transform() -> bool:
    # What `torch.autograd.Function.apply` asks itself.
    ask: Callable[[], bool] = getattr(torch._C, "_are_functorch_transforms_active", bool)
    return ask()
