"""The features that a network bends: what goes into its activations, functional ones too."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from automl_plugins.estimators.context import Context
from automl_plugins.spaces.probe import Inputs

_NAMES = (
    *("celu", "elu", "gelu", "hardswish", "hardtanh", "leaky_relu", "logsigmoid", "mish", "prelu", "relu", "relu6"),
    *("rrelu", "selu", "sigmoid", "silu", "softplus", "softsign", "tanh"),
)
_HOMES = (torch, torch.Tensor, functional)
_BENDING = frozenset(
    getattr(home, name) for home in _HOMES for each in _NAMES for name in (each, f"{each}_") if hasattr(home, name)
)
_EMBEDDING = frozenset({functional.embedding, functional.embedding_bag})


class Bent(NamedTuple):
    """One call of an activation.

    Args:
        before: what went in, as the `reading` made it.
        after: what came out.
    """

    before: Any
    after: Tensor


class Recorder(TorchFunctionMode):
    """Records, in a `with` block, every call of a function that bends at zero, and what embeddings give.

    Those are ReLU and its like (ELU, GELU, SiLU, ...) and the sigmoid and its like, whose sign tells the halves apart.
    Modules and functions are seen alike, since modules call functions; an activation that code writes out as arithmetic
    is not seen.

    Args:
        reading: what is kept of the input of a call; it is asked before the call, which may overwrite its input.
    """

    def __init__(self, reading: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.reading = reading
        self.bent: list[Bent] = []
        self.embedded: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _BENDING:
            features = args[0] if args else kwargs["input"]
            before = self.reading(features)
            after = func(*args, **kwargs)
            self.bent.append(Bent(before, after))
            return after
        result = func(*args, **kwargs)
        if func in _EMBEDDING:
            self.embedded.append(result)
        return result


def asking_for_gradients(inputs: Inputs) -> Inputs:
    """Inputs whose real-valued tensors are leaves that gradients are asked of."""
    return tuple(
        each.detach().clone().requires_grad_() if isinstance(each, Tensor) and each.is_floating_point() else each
        for each in inputs
    )


def live(bent: Iterable[Bent], outputs: Tensor) -> list[Bent]:
    """The calls whose results the outputs depend on; a branch that leads nowhere says nothing of a network."""
    reached = [each for each in bent if each.after.requires_grad]
    if not reached:
        return []
    gradients = torch.autograd.grad(
        outputs.sum(), [each.after for each in reached], allow_unused=True, retain_graph=True
    )
    return [each for each, gradient in zip(reached, gradients, strict=True) if gradient is not None]


def signs(network: nn.Module, context: Context, samples: int, positions: bool, most: int | None) -> list[Tensor]:
    """The signs of what goes into each activation, in one pass in training mode.

    Args:
        network: of the estimator's own; its buffers are moved.
        context: gives inputs, sample units and draws.
        samples: the most rows; drawn at random where there are more.
        positions: a sample is a node or a place of an image; else what a prediction belongs to: an image, a graph.
        most: the most features of an activation; drawn at random where there are more.

    Returns:
        For each activation on the way to the outputs, booleans `[num_samples, num_features]`.

    Raises:
        ValueError: nothing of the network bends features of samples.
    """
    inputs = asking_for_gradients(context.inputs)
    rows_of = context.probe.positions if positions else context.probe.units

    def read(features: Tensor) -> Tensor | None:
        rows = rows_of(features.detach(), inputs)
        if rows is None or not rows.is_floating_point():
            return None
        rows = rows[_drawn(len(rows), samples, context.generator(2))]
        return rows[:, _drawn(rows.shape[1], most, context.generator(3))] > 0

    network.train().requires_grad_(True)
    with Recorder(read) as recorder:
        outputs = network(*inputs)
    found: list[Tensor] = [each.before for each in live(recorder.bent, outputs) if each.before is not None]
    if not found:
        raise ValueError("the network has no activations over its samples, so that none of them can be told apart")
    return found


def _drawn(count: int, most: int | None, generator: torch.Generator) -> Tensor:
    if most is None or count <= most:
        return torch.arange(count)
    return torch.randperm(count, generator=generator)[:most]
