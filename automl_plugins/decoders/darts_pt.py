"""DARTS-PT: what a mixture loses without an option says how much the option is worth, not its logit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import ClassVar

import torch
from torch import Tensor

from automl_plugins.decoders.base import Evaluation, Found
from automl_plugins.errors import DivergedError
from automl_plugins.spaces.choice import Value
from automl_plugins.supernets.nearby import most_probable
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.system.arguments import at_least


class DARTSPT:
    r"""Perturbation-based selection (DARTS-PT; Wang, Cheng, Chen, Tang and Hsieh, ICLR 2021, arXiv 2108.04392).

    Gate by gate, in a random order, each open option is closed by itself, and the one whose absence costs most on the
    search data is kept alone (algorithm 1). If a space keeps some of its gates (a node's two inputs), those are
    kept whose option was missed most, for which the paper removes whole edges in a second round; the space's own
    decoding reads this off scores :math:`\exp(L_o - \max L)`. An option without which no architecture is left is kept.

    Departures from the paper: by the loss, which every task has, not the accuracy; the weights are not trained between
    two gates, since a decoder trains nothing.

    Args:
        seed: of the order.
    """

    needs_mixture: ClassVar[bool] = True

    def __init__(self, seed: int = 0) -> None:
        self.seed = at_least("seed", seed, 0)

    def __call__(self, searchable: Searchable, evaluate: Callable[[], float]) -> Sequence[Found]:
        tell = evaluate.tell if isinstance(evaluate, Evaluation) else None
        generator = torch.Generator().manual_seed(self.seed)
        scores = torch.zeros(searchable.mask.shape, dtype=torch.float64)
        order = torch.randperm(len(searchable.choices), generator=generator).tolist()
        with searchable.masked():
            for place, row in enumerate(order):
                if tell is not None:
                    tell(f"darts-pt: {place} of {len(order)} gates are decided")
                scores[row] = _decide(searchable, row, evaluate)
            finite = scores[scores.isfinite()]
            worst = float(finite.max()) if len(finite) else 0.0
            found = most_probable(searchable.limits, (scores - worst).exp().nan_to_num(posinf=1.0))
        with searchable.hold(found):
            loss = evaluate()
        if not math.isfinite(loss):
            reason = f"the loss on the search data of what was found is {loss}"
            raise DivergedError(
                reason, f"{reason}: the weights have diverged; a lower learning rate may keep them from it"
            )
        return [Found(found, {"search_loss": loss})]


def _decide(searchable: Searchable, row: int, evaluate: Callable[[], float]) -> Tensor:
    """Keep the option of a gate that is missed most.

    Returns:
        The losses without each option, `[most_options]`; infinite where none is left without it, minus infinite where
        the loss is not finite, which says nothing for an option. A single open option has the loss as it is.
    """
    choice, columns = searchable.choices[row], searchable.mask[row].nonzero().flatten().tolist()
    losses = torch.full((searchable.mask.size(1),), -math.inf, dtype=torch.float64)
    for column in columns:
        with searchable.masked():
            if len(columns) > 1 and not _closed(searchable, choice.name, choice.options[column]):
                losses[column] = math.inf
            else:
                loss = evaluate()
                losses[column] = loss if math.isfinite(loss) else -math.inf
    if len(columns) > 1:
        with suppress(ValueError):  # some gates need several of their options
            searchable.keep(choice.name, choice.options[int(losses.argmax())])
    return losses


def _closed(searchable: Searchable, name: str, option: Value) -> bool:
    """True where an option could be closed."""
    try:
        searchable.close(name, option)
    except ValueError:
        return False
    return True
