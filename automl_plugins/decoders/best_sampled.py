"""The best of random architectures with shared weights, by successive halving."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch

from automl_plugins.decoders.base import Evaluation, Found, mean_of
from automl_plugins.errors import DivergedError
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.supernets.searchable import Searchable


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

    def __call__(self, searchable: Searchable, evaluate: Callable[[], float]) -> Sequence[Found]:
        generator = torch.Generator().manual_seed(self.seed)
        drawn = dict.fromkeys(searchable.sample(generator) for _ in range(self.samples))
        evaluation = evaluate if isinstance(evaluate, Evaluation) else Evaluation(lambda _: evaluate())
        return ranked(drawn, searchable, evaluation)


def ranked(candidates: Iterable[Architecture], searchable: Searchable, evaluation: Evaluation) -> list[Found]:
    """The architectures that stay in successive halving to its end, the lowest mean loss (`search_loss`) first.

    They are judged with the searchable's weights.

    Args:
        candidates: what is ranked; the earlier one wins among equals.
        searchable: its weights are shared.
        evaluation: of what the searchable holds.

    Raises:
        ValueError: there is no candidate.
        DivergedError: none has a finite loss.
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
            finite = [candidate for candidate in left if math.isfinite(means[candidate])]
            return [Found(candidate, {"search_loss": means[candidate]}) for candidate in finite]
        else:  # all that were best before have diverged on later batches
            left, reserve = reserve[:2], reserve[2:]
    reason = (
        f"none of {len(losses)} architectures has a finite loss on the search data (the first one's is "
        f"{mean_of(next(iter(losses.values())))})"
    )
    raise DivergedError(
        reason,
        f"{reason}: the shared weights have diverged, or no step gave a loss; a lower learning rate may keep them from "
        "it",
    )
