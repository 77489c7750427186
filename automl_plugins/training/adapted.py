"""A network behind the calls of somebody's own: what is given is translated, and so is what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import nn


class CallAdapter(Protocol):
    """The translation between the calls that a project makes of its own network, and those of a space's networks."""

    def inputs(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        """The arguments of a space's network.

        Args:
            args: positional arguments of the project's call.
            kwargs: its keyword arguments.
        """

    def outputs(self, made: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The outputs that the project's own network would give, with another's prediction in them.

        Args:
            made: what the space's network gave.
            args: see `inputs`.
            kwargs: see `inputs`.
        """


class Adapted(nn.Module):
    """A network of a space, or a searchable, that is called as a project calls its own network.

    Attributes that it lacks are the network's: `architecture`, `logits`.

    Args:
        network: the network.
        training: adapts calls in training mode.
        evaluation: adapts calls in evaluation mode; None: as in training mode.
    """

    def __init__(self, network: nn.Module, training: CallAdapter, evaluation: CallAdapter | None = None) -> None:
        super().__init__()
        self.network = network
        self.adapters = training, evaluation or training

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        adapter = self.adapters[0 if self.training else 1]
        return adapter.outputs(self.network(*adapter.inputs(args, kwargs)), args, kwargs)

    def derive(self, keep_weights: bool = False) -> Adapted:
        """The network that was found, adapted alike; see `Searchable.derive`."""
        network: nn.Module = self.network.derive(keep_weights)  # type: ignore[operator]
        return Adapted(network, *self.adapters)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "network":  # of a copy that is not yet whole
                raise
            return getattr(self.network, name)
