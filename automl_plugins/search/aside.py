"""Everything that a step changes of plain Python objects and tensors below a module, put back afterwards."""

from __future__ import annotations

import copy
import io
import itertools
import sys
import types
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from automl_plugins.search.set_aside import dummy_experiment, metric_aside, silenced, state_of
from automl_plugins.search.tensor_memory import TensorMemory
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.training.lightning import pl

_ATOMS = frozenset(
    (type(None), bool, int, float, complex, str, bytes, type, range, torch.dtype, torch.device, torch.Size)
) | {types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, weakref.ref}
_CURSORS = (types.GeneratorType, torch.utils.data.dataloader._BaseDataLoaderIter)
"""Iterators that know no way back, beside those of Python itself."""
_DESCENDED = ("torch.optim", "torch.amp", "torch.cuda.amp")
"""The parts of torch whose objects a step may change."""
_LEFT = frozenset(
    (
        *("torch", "lightning", "pytorch_lightning", "lightning_fabric", "threading", "_thread", "queue", "asyncio"),
        *("multiprocessing", "concurrent", "socket", "subprocess", "logging", "rich", "tqdm", "sqlite3"),
        *("pathlib", "enum"),
    )
)
"""Packages whose objects a step does not change, or that other threads may be using."""
_LOGGERS = frozenset(("wandb", "mlflow", "tensorboardX", "neptune", "comet_ml", "clearml", "aim", "swanlab"))
_LOG_CALLS = {"wandb": ("log",), "mlflow": ("log_metric", "log_metrics", "log_param", "log_params", "log_artifact")}
_MOST_OBJECTS = 5_000
_LARGE_CONTAINER = 1_000
"""Of a longer one the elements come back, but not what is changed inside of them."""
_LARGE = 2**20
"""Bytes from which on a tensor is copied only until it has been seen that the step leaves it alone."""


_MEMORIES: weakref.WeakKeyDictionary[nn.Module, TensorMemory] = weakref.WeakKeyDictionary()


@contextmanager
def objects_aside(module: nn.Module, others: Iterable[object] = ()) -> Iterator[None]:
    """Put back, after the block, what it changes of objects below a module.

    That is: attributes of all submodules and of the Python objects that these hold, to any depth; containers; tensors
    that are no buffers; weights that ask for no gradient (those of a teacher that follows, say); states of generators;
    iterators, which are branched, so that what is read inside is read again. Left alone are searchables themselves,
    trained weights, data sets, and what is of Lightning, torch, or a library that runs threads.

    Args:
        module: the LightningModule.
        others: further objects, below which all of that holds too.
    """
    memory = _MEMORIES.setdefault(module, TensorMemory())
    with ExitStack() as stack:
        walk = _Walk(stack, memory)
        for part in module.modules():
            walk.module(part)
        for other in others:
            walk.of(other)
        for name, calls in _LOG_CALLS.items():
            stack.enter_context(silenced(sys.modules.get(name), calls))
        yield


class _Walk:
    """A walk through objects that notes how each is put back."""

    def __init__(self, stack: ExitStack, memory: TensorMemory) -> None:
        self._stack, self._memory = stack, memory
        self._seen: dict[int, object] = {}
        self._objects = 0
        self._after: dict[int, Any] = {}
        """The stand-in for an iterator afterwards, by the identity of the iterator."""

    def module(self, part: nn.Module) -> None:
        """Note a module, without those below it."""
        if id(part) in self._seen or isinstance(part, Searchable):
            return
        self._seen[id(part)] = part
        if isinstance(part, Metric | MetricCollection):
            self._stack.enter_context(metric_aside(part))
            return
        for weight in part._parameters.values():
            if weight is not None and not weight.requires_grad:
                self._tensor(weight, always=False)
        kept = _internals() if isinstance(part, pl.LightningModule) else _torch_internals()
        self._attributes(vars(part), kept, descend=True)

    def of(self, value: Any) -> Any:
        """Note an object, and give what takes its place inside: itself, but for iterators and loggers."""
        kind = type(value)
        if kind in _ATOMS:
            return value
        if isinstance(value, Tensor):
            if not isinstance(value, nn.Parameter):
                self._tensor(value, always=value.numel() * value.element_size() <= _LARGE)
            return value
        if kind is tuple:
            for item in value[:_LARGE_CONTAINER]:
                self.of(item)
            return value
        if id(value) in self._seen:
            return self._after.get(-id(value), value)
        self._objects += 1
        if self._objects > _MOST_OBJECTS:
            self._memory.warn(
                f"the module holds more than {_MOST_OBJECTS} objects; what a step counts in the others stays"
            )
            return value
        self._seen[id(value)] = value
        root = kind.__module__.partition(".")[0]
        if root in _LOGGERS or kind.__module__.startswith("torch.utils.tensorboard"):
            return dummy_experiment()
        if isinstance(value, nn.Module):
            for part in value.modules():
                self._seen.pop(id(value), None)
                self.module(part)
        elif isinstance(value, list | deque | bytearray):
            self._sequence(value)
        elif isinstance(value, dict):
            self._mapping(value)
        elif isinstance(value, set):
            self._stack.callback(value.update, set(value))
            self._stack.callback(value.clear)
        elif isinstance(value, tuple):  # a named one
            self.of(tuple(value))
        elif isinstance(value, np.ndarray):
            self._array(value)
        elif state_of(value) is not None:
            get, put = state_of(value) or (None, None)
            self._stack.callback(put, get())  # type: ignore[misc,arg-type]
        elif isinstance(value, Iterator) and (isinstance(value, _CURSORS) or root in ("builtins", "itertools")):
            return self._branched(value)
        elif isinstance(value, torch.optim.Optimizer):
            for group in value.param_groups:
                self._attributes(group, frozenset(), descend=False)
        elif not self._is_left(value, kind, root):
            if isinstance(getattr(value, "__dict__", None), dict):
                self._attributes(vars(value), frozenset(), descend=True)
            for name in _slots(kind):
                if hasattr(value, name):
                    self._stack.callback(object.__setattr__, value, name, getattr(value, name))
                    self.of(getattr(value, name))
        return value

    def _is_left(self, value: object, kind: type, root: str) -> bool:
        if root in _LEFT and not kind.__module__.startswith(_DESCENDED):
            return True
        if any(ancestor.__module__.startswith("automl_plugins.") for ancestor in kind.__mro__):
            return True  # a strategy or a callback of the search, whose state is to move
        left = (torch.utils.data.Dataset, torch.utils.data.DataLoader, pl.LightningDataModule, io.IOBase, type)
        return isinstance(value, (*left, pl.loggers.Logger))

    def _attributes(self, attributes: MutableMapping[str, Any], internal: frozenset[str], descend: bool) -> None:
        saved = {name: value for name, value in attributes.items() if name not in internal}
        after = self._after

        def put_back() -> None:
            for name in attributes.keys() - saved.keys() - internal:
                del attributes[name]
            for name, value in saved.items():  # not `update`, which a Counter adds with
                attributes[name] = after.get(id(value), value) if after else value

        self._stack.callback(put_back)
        if descend:
            for name, value in saved.items():
                inside = self.of(value)
                if inside is not value:
                    attributes[name] = inside

    def _mapping(self, mapping: dict[Any, Any]) -> None:
        self._attributes(mapping, frozenset(), descend=len(mapping) <= _LARGE_CONTAINER)

    def _sequence(self, sequence: Any) -> None:
        saved, after = list(sequence), self._after

        def put_back() -> None:
            sequence.clear()
            sequence.extend([after.get(id(each), each) for each in saved] if after else saved)

        self._stack.callback(put_back)
        if len(saved) <= _LARGE_CONTAINER:
            for place, value in enumerate(saved):
                inside = self.of(value)
                if inside is not value:
                    sequence[place] = inside

    def _branched(self, iterator: Iterator[Any]) -> Iterator[Any]:
        """A branch of an iterator to read inside; the other one takes the iterator's place afterwards."""
        if isinstance(iterator, _TEE):
            return copy.copy(iterator)
        inside, self._after[id(iterator)] = itertools.tee(iterator)
        self._after[-id(iterator)] = inside
        return inside

    def _array(self, array: np.ndarray[Any, Any]) -> None:
        if array.flags.writeable and array.nbytes <= 16 * _LARGE:
            saved = array.copy()
            self._stack.callback(np.copyto, array, saved)

    def _tensor(self, tensor: Tensor, always: bool) -> None:
        if id(tensor) not in self._seen:
            self._seen[id(tensor)] = tensor
            self._memory.note(self._stack, tensor, always)


def _slots(kind: type) -> list[str]:
    """The slots of a class that is written in Python."""
    own = [vars(ancestor).get("__slots__", ()) for ancestor in kind.__mro__]
    names = itertools.chain.from_iterable([each] if isinstance(each, str) else each for each in own)
    return [name for name in names if not name.startswith("__")]


_TEE: Any = type(itertools.tee(())[0])


@cache
def _internals() -> frozenset[str]:
    """The attributes that every LightningModule has, which are torch's and Lightning's affair."""
    return frozenset(vars(pl.LightningModule()))


@cache
def _torch_internals() -> frozenset[str]:
    return frozenset(vars(nn.Module()))
