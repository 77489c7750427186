"""The parts that forms of one encoder have in common: found by a pass of each, and run once for all of them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from automl_plugins.system.nested import tensors_in
from seg_space.smp.decoder.encoder import encoder_template


@cache
def common_parts(name: str, strides: tuple[int, ...]) -> tuple[str, ...]:
    """The names of an encoder's modules that compute the same from images, whichever stride its last map has.

    They are those that are made alike, and that are given and give the same in a pass of each form; the outermost of
    them. There are none if the forms give other maps once they share these parts, as where a later part overwrites what
    it reads.

    Args:
        name: of the encoder, in smp.
        strides: of the last map.
    """
    with torch.device("cpu"), torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        images = torch.randn(2, 3, 64, 64)
        first, *others = (encoder_template(name, 3, stride).eval() for stride in strides)
        for other in others:
            other.load_state_dict(first.state_dict())
        calls = [_calls_in(encoder, images) for encoder in (first, *others)]
        same = {each for each in calls[0] if all(_alike(each, calls[0], of_other) for of_other in calls[1:])}
        outermost = tuple(sorted(each for each in same if not any(each.startswith(f"{outer}.") for outer in same)))
        apart = [encoder(images) for encoder in (first, *others)]
        for other in others:
            for each in outermost:
                other.set_submodule(each, first.get_submodule(each))
        with run_once([first.get_submodule(each) for each in outermost]):
            together = [encoder(images) for encoder in (first, *others)]
    return outermost if all(map(_equal, apart, together)) else ()


class _Call(NamedTuple):
    """A call of a module: what it was, what it was given, and what it gave."""

    described: str
    given: list[Tensor]
    result: list[Tensor]


def _calls_in(encoder: nn.Module, images: Tensor) -> dict[str, _Call]:
    """The calls of all modules that are called once, by their names."""
    calls: dict[str, list[_Call]] = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Module, given: Any, options: Any, result: Any) -> None:
            tensors = [each.clone() for each in tensors_in((given, options))]
            calls.setdefault(name, []).append(
                _Call(repr(module), tensors, [each.clone() for each in tensors_in(result)])
            )

        return hook

    handles = [
        each.register_forward_hook(keep(name), with_kwargs=True) for name, each in encoder.named_modules() if name
    ]
    try:
        encoder(images)
    finally:
        for handle in handles:
            handle.remove()
    return {name: made[0] for name, made in calls.items() if len(made) == 1}


def _alike(name: str, calls: dict[str, _Call], others: dict[str, _Call]) -> bool:
    call, other = calls[name], others.get(name)
    return (
        other is not None
        and call.described == other.described
        and _equal(call.given, other.given)
        and _equal(call.result, other.result)
    )


def _equal(some: Any, others: Any) -> bool:
    pairs = tensors_in(some), tensors_in(others)
    return len(pairs[0]) == len(pairs[1]) and all(map(torch.equal, *pairs))


@contextmanager
def run_once(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Have modules inside give again what they gave, where they are called with the very same tensors again.

    Args:
        modules: none of them inside of another.
    """
    changed = list(modules)
    for each in changed:
        each.forward = _Once(each.forward)
    try:
        yield
    finally:
        for each in changed:
            del each.forward


class _Once:
    """A call whose result is kept, with the tensors that it was given."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call
        self._given: list[Tensor] | None = None
        self._result: Any = None

    def __call__(self, *given: Any, **options: Any) -> Any:
        tensors = tensors_in((given, options))
        known = (
            self._given is not None
            and len(self._given) == len(tensors)
            and all(map(operator.is_, self._given, tensors))
        )
        if not known:
            self._given, self._result = tensors, self._call(*given, **options)
        return self._result
