"""The adapter that was found by reading a recorded call; plain data, kept in checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from automl_plugins.scripts.outputs import ACTIVATIONS, filled
from automl_plugins.scripts.parts import named_arguments, part_at


@dataclass(frozen=True)
class FoundCall:
    """A `CallAdapter` by paths: see `automl_plugins.training.adapted.CallAdapter`.

    Args:
        parameters: positional parameters of the project's own network.
        order: the arguments of a space's networks, in order.
        paths: of each of them in a call, by name.
        reals: names of those whose integers are numbers.
        columns: names of those that are given without an axis of channels.
        template: the form of the outputs, see `outputs.template_of`.
        activation: what the project's own network ends with, of `outputs.ACTIVATIONS`.
        rows: the path of the number of rows that the prediction has; empty: all of them.
        squeezed: one channel has no axis of its own.
        scale: of the prediction's height and width to those of a network of the space.
    """

    parameters: tuple[str, ...]
    order: tuple[str, ...]
    paths: Mapping[str, str]
    reals: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    template: Mapping[str, Any] = field(default_factory=lambda: {"is": "prediction"})
    activation: str | None = None
    rows: str = ""
    squeezed: bool = False
    scale: float = 1.0

    def given(self, args: Sequence[Any], kwargs: Mapping[str, Any], path: str) -> Any:
        """The part of a call at a path; None where there is none."""
        return part_at(named_arguments(self.parameters, args, kwargs), path)

    def inputs(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        """See `CallAdapter.inputs`; what a call leaves out is None.

        Raises:
            ValueError: the first argument is left out.
        """
        call = named_arguments(self.parameters, args, kwargs)
        found = [self._taken(name, call) for name in self.order]
        if found[0] is None:
            raise ValueError(
                f"the network is called without {self.paths[self.order[0]]!r}, which was its {self.order[0]} in the "
                "call that was recorded; call it in one way in all steps"
            )
        return tuple(found)

    def _taken(self, name: str, call: Mapping[str, Any]) -> Any:
        part = part_at(call, self.paths[name]) if name in self.paths else None
        if not isinstance(part, Tensor):
            return part
        if name in self.reals:
            part = part.to(torch.get_default_dtype())
        return part.unsqueeze(-1) if name in self.columns else part

    def outputs(self, made: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """See `CallAdapter.outputs`."""
        if self.scale != 1.0:
            size = [round(side * self.scale) for side in made.shape[-2:]]
            made = functional.interpolate(made, size=size, mode="bilinear", align_corners=False)
        if self.rows:
            made = made[: self.given(args, kwargs, self.rows)]
        if self.activation is not None:
            made = ACTIVATIONS[self.activation](made)
        if self.squeezed:
            made = made.squeeze(1)
        return filled(self.template, made, lambda path: self.given(args, kwargs, path))

    # In a checkpoint.

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> FoundCall:
        """The adapter of plain values.

        Raises:
            TypeError: they are not of one.
        """
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()
        }
        return cls(**values)
