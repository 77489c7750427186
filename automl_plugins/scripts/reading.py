"""From a recorded call to the adapter of a space's networks, and to what they must fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from automl_plugins.scripts.found_call import FoundCall
from automl_plugins.scripts.losses import target_kind
from automl_plugins.scripts.outputs import activation_of, find_prediction, template_of
from automl_plugins.scripts.own_call import OwnCall
from automl_plugins.scripts.parts import named_arguments, part_at, parts_of
from automl_plugins.spaces.calls import CallReader, SeenCall, UnreadCallError, last_name


@dataclass(frozen=True)
class ReadNetwork:
    """The reading of the calls of a project's own network.

    Args:
        adapters: of calls in training and in evaluation mode; None: another network is called as it is.
        task: arguments of `Task`.
        reason: why nothing could be seen.
    """

    adapters: tuple[FoundCall, FoundCall] | None = None
    task: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class Reader:
    """Reads recorded calls for a space.

    Args:
        calls: of the space.
        named: paths that the user has settled, by the names of inputs; `output` is that of the prediction.
        task: what is known of the task beforehand.
    """

    calls: CallReader
    named: Mapping[str, str]
    task: Mapping[str, Any]

    def network(self, target: str, own: Sequence[OwnCall]) -> ReadNetwork:
        """The reading of the calls of one network, that in training mode before that in evaluation mode.

        Raises:
            UnreadCallError: a call can be read in no way, or in two.
        """
        try:
            read = {call.training: read_call(call, self.calls, self.named, self.task) for call in reversed(own)}
        except UnreadCallError as error:
            raise UnreadCallError(f"target={target!r}: {error}") from error
        task = {name: value for _, seen in read.values() for name, value in seen.items()}
        (first, _), (last, _) = read.get(True, read.get(False)), read.get(False, read.get(True))  # type: ignore[misc]
        if all(is_direct(call, read[call.training][0]) for call in own):
            return ReadNetwork(task=task)
        return ReadNetwork((first, last), task)


def is_direct(own: OwnCall, found: FoundCall) -> bool:
    """True where a call is one that networks of the space understand as it is."""
    as_it_is = FoundCall(found.parameters, found.order, found.paths)
    places = {name: place for place, name in enumerate(found.parameters[: len(own.args)])}
    right = all(places.get(path) == found.order.index(role) for role, path in found.paths.items())
    left_out = all(part is None for place, part in enumerate(own.args) if found.order[place] not in found.paths)
    return found == as_it_is and not own.kwargs and len(own.args) <= len(found.order) and right and left_out


def read_call(
    own: OwnCall, reader: CallReader, named: Mapping[str, str], task: Mapping[str, Any]
) -> tuple[FoundCall, dict[str, Any]]:
    """The adapter for a call, and what could be inferred of the task.

    Args:
        own: the call.
        reader: of the space.
        named: paths that the user has settled, by the names of inputs; `output` is that of the prediction.
        task: what is known of the task beforehand.

    Raises:
        UnreadCallError: the call can be read in no way, or in two.
    """
    call = named_arguments(own.parameters, own.args, own.kwargs)
    parts = parts_of(call, reader.numbers)
    prediction = find_prediction(own.outputs, parts, named.get("output"))
    outputs = part_at(own.outputs, prediction)
    reading = reader.read(SeenCall(parts, outputs, _categories(parts, own.embedded)), named, task)
    found = FoundCall(
        parameters=own.parameters,
        order=tuple(reader.inputs),
        paths=dict(reading.inputs),
        reals=reading.reals,
        columns=reading.columns,
        template=template_of(own.outputs, prediction, parts),
        activation=activation_of(outputs),
        rows=reading.rows,
        squeezed=reading.squeezed,
        scale=reading.scale,
    )
    taken = [parts[path] for path in reading.inputs.values()]
    target = target_kind(outputs, own.losses, _targets(own.batch, taken), reading.task["out_channels"])
    return found, {**reading.task, **({} if target is None else {"target": target})}


_TARGETS = ("y", "mask", "masks", "label", "labels", "target", "targets", "gt")


def _targets(batch: Any, taken: Sequence[Any]) -> list[Tensor]:
    """Tensors of a batch that could be its targets: those with a usual name, else those unlike what a network takes."""
    tensors = {path: part for path, part in parts_of(batch).items() if isinstance(part, Tensor)}
    named = [part for path, part in tensors.items() if last_name(path).lower() in _TARGETS]
    alike = {(part.shape, part.dtype) for part in taken if isinstance(part, Tensor)}
    return named or [part for part in tensors.values() if (part.shape, part.dtype) not in alike]


def _categories(parts: Mapping[str, Any], embedded: Sequence[tuple[Tensor, int]]) -> dict[str, tuple[int, ...]]:
    """The numbers of values of the columns of integer tensors that were embedded whole, by their paths."""
    found = {}
    for path, part in parts.items():
        if isinstance(part, Tensor) and part.dtype in (torch.int64, torch.int32) and part.dim() in (1, 2) and len(part):
            counts = _counts(part if part.dim() == 2 else part.unsqueeze(1), list(embedded))
            if counts:
                found[path] = counts
    return found


def _counts(columns: Tensor, embedded: list[tuple[Tensor, int]]) -> tuple[int, ...]:
    whole = [count for given, count in embedded if given.shape == columns.shape and torch.equal(given, columns)]
    if whole and columns.shape[1] > 1:
        return tuple(whole[:1] * columns.shape[1])
    counts = []
    for column in columns.unbind(1):
        # In order: two columns may hold the same values.
        for place, (given, count) in enumerate(embedded):
            if given.numel() == column.numel() and torch.equal(given.flatten().to(column.dtype), column):
                counts.append(count)
                del embedded[place]
                break
        else:
            return ()
    return tuple(counts)
