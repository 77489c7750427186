"""How scores of options become an architecture: rules for spaces, and decoders for searches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from automl_plugins.choice import Choice, Value
from automl_plugins.errors import NotFiniteError

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


class Evaluation:
    """The loss on search data with the searchable as it is when it is called; lower is better, equal on all ranks.

    Args:
        loss_of: of the position of a batch: its loss; None: there is none (the user's step left it out).
        batches: how many there are, or what says so when it is first asked for.
        tell: is told how far a long comparison is, in one line.
    """

    def __init__(
        self,
        loss_of: Callable[[int], float | None],
        batches: int | Callable[[], int] = 1,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.loss_of = loss_of
        self._count = batches
        self.tell = tell

    @property
    def batches(self) -> int:
        """How many batches there are."""
        if not isinstance(self._count, int):
            self._count = self._count()
        return self._count

    def __call__(self) -> float:
        """The mean over all batches; nan where there is none."""
        return mean_of([self.loss_of(batch) for batch in range(self.batches)])


def mean_of(losses: Sequence[float | None]) -> float:
    """The mean of those that are there; nan where none is."""
    present = [loss for loss in losses if loss is not None]
    return sum(present) / len(present) if present else math.nan


class Decoder(Protocol):
    """Reads an architecture off a searchable whose weights and logits are trained.

    It may close options (`Searchable.close`) or hold architectures (`Searchable.hold`) to ask what
    becomes of the loss, and leaves the searchable as it found it. What it gives has no closed option and keeps the
    space's cap, as `Searchable.sample` and `Searchable.architecture` do.
    """

    def __call__(self, searchable: Searchable, evaluate: Callable[[], float]) -> Architecture:
        """The architecture.

        Args:
            searchable: what was searched.
            evaluate: the loss on search data with the searchable as it is now; lower is better. A search gives
                an `Evaluation`, which can be asked for a part of the data, too.

        Raises:
            NotFiniteError: nothing has a finite loss.
        """


class MostLikely:
    """The searchable's own decoding of the probabilities (`Searchable.architecture`); it evaluates nothing."""

    def __call__(self, searchable: Searchable, evaluate: Callable[[], float]) -> Architecture:
        return searchable.architecture()


class BestSampled:
    """The best of random architectures, with the shared weights (Li and Talwalkar 2019, section 3.2).

    They are ranked by successive halving (Jamieson and Talwalkar 2016): all on the first batch of search data, the
    better half on the first two, and so on, each batch once. The best one is found among those that were judged on all
    batches, at least two. A loss that is not finite is worse than any.

    Args:
        samples: how many are drawn and evaluated, without closed options and within the space's cap.
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
        drawn = dict.fromkeys(searchable.sample(generator) for _ in range(self.samples))
        evaluation = evaluate if isinstance(evaluate, Evaluation) else Evaluation(lambda _: evaluate())
        return best_of(drawn, searchable, evaluation)


def best_of(candidates: Iterable[Architecture], searchable: Searchable, evaluation: Evaluation) -> Architecture:
    """The architecture with the lowest mean loss with the searchable's weights, by successive halving.

    Args:
        candidates: what is ranked; the earlier one wins among equals.
        searchable: its weights are shared.
        evaluation: of what the searchable holds.

    Raises:
        ValueError: there is no candidate.
        NotFiniteError: none has a finite loss.
    """
    losses: dict[Architecture, list[float | None]] = {candidate: [] for candidate in candidates}
    if not losses:
        raise ValueError("there is no architecture to rank")
    left, batches = list(losses), 1
    reserve: list[Architecture] = []
    while left:
        batches = min(batches, evaluation.batches) if len(left) > 2 else evaluation.batches
        for place, candidate in enumerate(left):
            if evaluation.tell is not None:
                evaluation.tell(
                    f"ranking {len(losses)} architectures on the search data: {len(left)} left, "
                    f"{place} of them on {batches} of {evaluation.batches} batches"
                )
            with searchable.hold(candidate):
                done = losses[candidate]
                done += [evaluation.loss_of(batch) for batch in range(len(done), batches)]
        # In order of the draws among equals, and what is not finite last.
        means = {candidate: mean_of(losses[candidate]) for candidate in left}
        left.sort(key=lambda each: means[each] if math.isfinite(means[each]) else math.inf)
        if batches < evaluation.batches:
            kept = max(math.ceil(len(left) / 2), 2)
            left, reserve, batches = left[:kept], left[kept:] + reserve, 2 * batches
        elif math.isfinite(means[left[0]]):
            return left[0]
        else:  # all that were best before have diverged on later batches
            left, reserve = reserve[:2], reserve[2:]
    raise NotFiniteError(
        f"none of {len(losses)} architectures has a finite loss on the search data (the first one's is "
        f"{mean_of(next(iter(losses.values())))}): the shared weights have diverged, or no step gave a loss; a lower "
        "learning rate may keep them from it"
    )
