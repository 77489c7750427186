"""The source of a network as a person would write it by hand, for files that need nothing of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Protocol, runtime_checkable

from torch import Tensor


@dataclass(frozen=True)
class PlainSource:
    """The source of one network, without a trace of the choices that led to it.

    Args:
        network: the text of a class `Network` of `nn.Module`, made without arguments and formatted as by ruff, which
            computes what the network does; classes that it alone uses may stand before it.
        parts: modules whose classes and functions the text may use, those that others use first. Of what is used, and
            of that alone, the source is copied. They import nothing of ours but one another.
        names: of weights: what their names begin with in the network, and what it is in `Network`. The longest
            beginning counts; names without one stay as they are. None: `Network` has no such weight.
        needs: packages that the parts import, beside torch and safetensors, for people.
    """

    network: str
    parts: tuple[ModuleType, ...] = ()
    names: Mapping[str, str | None] = field(default_factory=dict)
    needs: tuple[str, ...] = ()

    def weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The `state_dict` of `Network` that has the weights of the network's own.

        Args:
            state: the network's.

        Raises:
            ValueError: two of them would have one name.
        """
        found: dict[str, Tensor] = {}
        for name, tensor in state.items():
            beginning = max((each for each in self.names if _begins(name, each)), key=len, default=None)
            given = "" if beginning is None else self.names[beginning]
            if given is None:
                continue
            new = given + name[len(beginning or "") :]
            if new in found:
                raise ValueError(f"two weights would be called {new!r} in the exported file")
            found[new] = tensor
        return found


def _begins(name: str, beginning: str) -> bool:
    return name == beginning or name.startswith(f"{beginning}.")


@runtime_checkable
class HasPlainSource(Protocol):
    """A network that can be written as plain source, which `automl-plugins export` then does."""

    def plain_source(self) -> PlainSource:
        """The source of this network, as it is now."""
