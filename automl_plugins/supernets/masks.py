"""Masks: which options of a space's gates are open, boolean `[num_choices, most_options]`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.supernets.gated_space import GatedSpace
from automl_plugins.supernets.gates import Closed, Gates
from automl_plugins.system.nearest import did_you_mean


def mask_with(
    space: GatedSpace, mask: Tensor, name: str, opened: Sequence[Value] = (), closed: Sequence[Value] = ()
) -> Tensor:
    """A mask with other options of a choice open.

    Args:
        space: whose gates they are.
        mask: which options are open before.
        name: of the choice.
        opened: options of it that are open then.
        closed: options of it that are closed then.

    Raises:
        ValueError: no such choice or option, or no architecture is left without what is closed.
    """
    choices = space.gate_choices
    names = [choice.name for choice in choices]
    if name not in names:
        raise ValueError(f"the searchable has no choice {name!r}; {did_you_mean(name, names)}")
    row, mask = names.index(name), mask.clone()
    for options, is_open in ((opened, True), (closed, False)):
        for option in options:
            mask[row, choices[row].index(option)] = is_open
    if closed and not mask[row].any():
        raise ValueError(f"{closed[-1]!r} is the last open option of {name!r}")
    even = torch.ones(mask.shape, dtype=torch.float64)
    if closed and decoded_with(space, even, mask) is None:
        lost = ", ".join(map(repr, closed))
        raise ValueError(f"without {lost} of {name!r} no architecture is left: what else there is, is closed")
    return mask


def closed_options(choices: Sequence[Choice], mask: Tensor) -> Closed:
    """The closed options of each choice that has any."""
    return {
        choice.name: frozenset(option for option, is_open in zip(choice.options, row, strict=False) if not is_open)
        for choice, row in zip(choices, mask.tolist(), strict=True)
        if not all(row[: len(choice.options)])
    }


def masked_scores(choices: Sequence[Choice], scores: Tensor, mask: Tensor) -> Gates:
    """The scores that `GatedSpace.decode` reads: those of open options, minus infinity for closed ones."""
    return Gates(choices, scores.masked_fill(~mask, -torch.inf))


def decoded_with(space: GatedSpace, scores: Tensor, mask: Tensor) -> Architecture | None:
    """The space's decoding with the options of a mask; None: none is left that needs no closed option.

    Args:
        space: says what scores stand for.
        scores: `[num_choices, most_options]`, not negative.
        mask: of the same shape.
    """
    found = space.decode(masked_scores(space.gate_choices, scores, mask))
    gates = space.gates(found).matrix.bool()
    return None if bool((gates & ~mask).any()) else found


def forced(space: GatedSpace, architecture: Architecture, mask: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Masks that change an architecture: the row of a gate that it uses, and a mask that leaves one other option there.

    Beside them, for every gate that it uses, the mask that closes the option which it has.
    """
    used = space.gates(architecture).matrix.bool()
    for row in used.any(dim=1).nonzero().flatten().tolist():
        without = mask.clone()
        without[row] &= ~used[row]
        yield row, without
        for option in without[row].nonzero().flatten().tolist():
            only = mask.clone()
            only[row] = False
            only[row, option] = True
            yield row, only
