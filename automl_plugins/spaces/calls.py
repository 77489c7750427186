"""The reading of calls of somebody's own network: what a space's networks take of them, and what they must fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class UnreadCallError(ValueError):
    """A call that cannot be read in one way alone; the message says what would settle it."""


@dataclass(frozen=True)
class SeenCall:
    """One call of a network, as it was seen.

    Args:
        parts: tensors and whole numbers of the call, by their paths: `x`, `batch.edge_index`, `sample.image`, `0.1`.
        outputs: the prediction, of whatever shape.
        categories: for integer tensors that the network embeds, the number of values of each column, by their paths.
    """

    parts: Mapping[str, Any]
    outputs: Tensor
    categories: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """The parts of a call that a network takes, and the task that it shows.

    Args:
        inputs: the path in the call of each argument of a space's networks, by the argument's name.
        task: what could be inferred of a `Task`, by the names of its arguments.
        reals: names of inputs whose integers are numbers, not categories.
        columns: names of inputs that are given without an axis of channels.
        rows: the path of the number of rows that the prediction has, the first ones; empty: it has all of them.
        squeezed: the prediction of one channel has no axis of its own for it.
        scale: of the prediction's height and width to the image's.
    """

    inputs: Mapping[str, str]
    task: Mapping[str, Any]
    reals: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: str = ""
    squeezed: bool = False
    scale: float = 1.0


class CallReader(Protocol):
    """The knowledge of how a space's networks are called, so that the core needs to know no graph and no image."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The arguments of a network's `forward`, in order."""

    @property
    def numbers(self) -> tuple[str, ...]:
        """Attributes of whole numbers that are parts of objects in a call, beside what they hold."""

    def read(self, seen: SeenCall, named: Mapping[str, str], task: Mapping[str, Any]) -> Reading:
        """The parts of a call that a space's networks take, and the task that it shows.

        Args:
            seen: the call.
            named: paths that were settled beforehand, by the names of inputs.
            task: what is known of the task beforehand, by the names of its arguments.

        Raises:
            UnreadCallError: a part is missing, or two readings are possible.
        """


def last_name(path: str) -> str:
    """The name of a part, without where it is."""
    return path.rpartition(".")[2]


def one_of(role: str, candidates: list[str], names: tuple[str, ...], described: str) -> str | None:
    """The one candidate for an input; of several, the one with a usual name. None: there is none.

    Args:
        role: the input's name.
        candidates: paths.
        names: usual names, the most usual first.
        described: the input, in words.

    Raises:
        UnreadCallError: several are left.
    """
    for name in names:
        called = [path for path in candidates if last_name(path).lower() == name]
        if len(called) == 1:
            return called[0]
        candidates = called or candidates
        if called:
            break
    if len(candidates) > 1:
        raise UnreadCallError(
            f"the call has several parts that could be {described}: {', '.join(candidates)}; say which with "
            f"--call.{role} {candidates[0]}"
        )
    return candidates[0] if candidates else None
