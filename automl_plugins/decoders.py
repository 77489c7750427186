"""How scores of options become an architecture: rules for spaces, and decoders for searches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from automl_plugins.choice import Choice, Value

if TYPE_CHECKING:
    from automl_plugins.architecture import Architecture
    from automl_plugins.searchable import Searchable

# Rules: what a space's `decode` is made of.


def argmax(choices: Sequence[Choice], scores: Mapping[str, Tensor]) -> dict[str, Value]:
    """The option with the highest score for every active choice, in order; the first one of equals.

    Args:
        choices: in order; a choice stands after those that it requires.
        scores: for every choice, `[num_options]`.
    """
    values: dict[str, Value] = {}
    for choice in choices:
        if choice.is_active(values):
            values[choice.name] = choice.options[int(scores[choice.name].argmax())]
    return values


def strongest_inputs(scores: Tensor, count: int) -> list[tuple[int, int]]:
    """Which inputs a node keeps, and with which operation: the `count` inputs whose best operation scores highest.

    Args:
        scores: `[num_inputs, num_operations]`, without the operation `none` (DARTS, Liu et al. 2019, section 2.4).
        count: how many inputs are kept.

    Returns:
        Pairs of an input and its operation, in order of the inputs; the earlier input wins among equals.
    """
    best, operations = scores.max(dim=1)
    order = torch.sort(best, descending=True, stable=True).indices[:count].sort().values
    return [(int(position), int(operations[position])) for position in order]


# Decoders: what a search ends with.


class Decoder(Protocol):
    """Reads an architecture off a searchable whose weights and logits are trained.

    It may close options (`Searchable.close`) or hold architectures (`Searchable.hold`) to ask what
    becomes of the loss, and leaves the searchable as it found it.
    """

    def __call__(self, searchable: Searchable, evaluate: Callable[[], float]) -> Architecture:
        """The architecture.

        Args:
            searchable: what was searched.
            evaluate: the loss on search data with the searchable as it is now; lower is better.
        """


class MostLikely:
    """The space's own decoding of the probabilities; it evaluates nothing."""

    def __call__(self, searchable: Searchable, evaluate: Callable[[], float]) -> Architecture:
        return searchable.architecture()


class BestSampled:
    """The best of random architectures, with the shared weights (Li and Talwalkar 2019, section 3.2).

    Args:
        samples: how many are drawn and evaluated.
        seed: of the draws.

    Raises:
        ValueError: fewer than one sample.
    """

    def __init__(self, samples: int = 100, seed: int = 0) -> None:
        if samples < 1:
            raise ValueError(f"samples is at least 1; got {samples}")
        self.samples = samples
        self.seed = seed

    def __call__(self, searchable: Searchable, evaluate: Callable[[], float]) -> Architecture:
        generator = torch.Generator().manual_seed(self.seed)
        drawn = dict.fromkeys(searchable.space.sample(generator) for _ in range(self.samples))
        losses = {}
        for architecture in drawn:
            with searchable.hold(architecture):
                losses[architecture] = evaluate()
        # A loss that is not a number is worse than any.
        return min(losses, key=lambda each: (math.isnan(losses[each]), losses[each]))
