"""Tensors that a step may change: copied and put back, or only watched once it has been seen that it leaves them."""

from __future__ import annotations

import sys
import warnings
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

_TRIALS = 2


class TensorMemory:
    """Knowledge of a module's large tensors and frozen weights, and the warnings that were given."""

    def __init__(self) -> None:
        self._left_alone: Any = WeakTensorKeyDictionary()
        """The number of times that each of them was the same after the step."""
        self._warned: set[str] = set()

    def note(self, stack: ExitStack, tensor: Tensor, always: bool) -> None:
        """Have a tensor put back when a stack is left.

        Args:
            stack: of what is put back.
            tensor: not yet on it.
            always: copy it at each step; otherwise one that was left alone by several steps is only watched.
        """
        if tensor.grad_fn is not None or tensor.is_inference() or tensor.is_meta or tensor.layout is not torch.strided:
            return
        if always:
            stack.callback(_put_back, tensor, tensor.detach().clone())
            return
        trials = self._left_alone.get(tensor, 0)
        if trials >= _TRIALS:
            stack.callback(self._watch, tensor, tensor._version)
        else:
            stack.callback(self._learn, tensor, tensor.detach().clone(), trials)

    def _learn(self, tensor: Tensor, before: Tensor, trials: int) -> None:
        if tensor.shape == before.shape and torch.equal(tensor, before):
            self._left_alone[tensor] = trials + 1
        else:
            self._left_alone[tensor] = -sys.maxsize  # for good
            _put_back(tensor, before)

    def _watch(self, tensor: Tensor, version: int) -> None:
        if tensor._version != version:
            self._left_alone[tensor] = -sys.maxsize
            self.warn(
                f"a tensor of shape {tuple(tensor.shape)} that the training step began to change was changed once more "
                "by a step of the architecture; from now on it is put back"
            )

    def warn(self, message: str) -> None:
        """Warn once."""
        if message not in self._warned:
            self._warned.add(message)
            warnings.warn(message, stacklevel=2)


def _put_back(tensor: Tensor, before: Tensor) -> None:
    with torch.no_grad():
        # Where it can be seen without waiting for a GPU, what has not changed keeps its version for autograd.
        if tensor.shape != before.shape:
            tensor.data = before
        elif tensor.device.type != "cpu" or not torch.equal(tensor, before):
            tensor.copy_(before)
