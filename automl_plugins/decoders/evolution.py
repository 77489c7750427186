"""Evolution over architectures that share weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch

from automl_plugins.decoders.base import Evaluation, Found
from automl_plugins.errors import DivergedError
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Value
from automl_plugins.spaces.draws import draw_integer
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.system.arguments import at_least

_TRIES = 20
"""Children that are made at most until one is new and within the limits."""


class Evolution:
    """The evolutionary search of SPOS (Guo et al., ECCV 2020, arXiv 1904.00420, algorithm 1).

    The first generation is drawn; each later one is made of the best so far, half by crossover (every choice of one of
    two parents), half by mutation (every choice drawn anew with a probability), within the limits of cost. Each
    architecture is judged once, by its mean loss on the search data with the shared weights and each batch's own
    statistics. The best of all comes first.

    Departure from the paper: 200 architectures and not 1,000, which a short search does not tell apart.

    Args:
        population: of a generation.
        generations: with the first one.
        parents: the number of the best that children are made of.
        mutation: the probability that a choice is drawn anew.
        seed: of all draws.

    Raises:
        ValueError: a number out of range.
    """

    figure: ClassVar[str] = "search_loss"
    """The name of what an architecture is judged by, in what was found."""
    judged: ClassVar[str] = "loss on the search data"
    cure: ClassVar[str] = "the shared weights have diverged; a lower learning rate may keep them from it"
    """The reason and the way out where none has a finite one."""

    def __init__(
        self, population: int = 20, generations: int = 10, parents: int = 5, mutation: float = 0.1, seed: int = 0
    ) -> None:
        self.population = at_least("population", population, 1)
        self.generations = at_least("generations", generations, 1)
        self.parents = at_least("parents", parents, 1)
        if not 0 < mutation <= 1:
            raise ValueError(f"mutation is a probability, greater than 0 and at most 1; got {mutation}")
        self.mutation, self.seed = float(mutation), at_least("seed", seed, 0)

    def __call__(self, searchable: Searchable, evaluate: Callable[[], float]) -> Sequence[Found]:
        generator = torch.Generator().manual_seed(self.seed)
        losses: dict[Architecture, float] = {}
        tell = evaluate.tell if isinstance(evaluate, Evaluation) else None
        judge = self._judge(searchable, evaluate)
        for generation in range(self.generations):
            ranked = sorted(losses, key=lambda each: losses[each] if math.isfinite(losses[each]) else math.inf)
            best = ranked[: self.parents]
            for place in range(self.population):
                if tell is not None:
                    tell(f"evolution: generation {generation + 1} of {self.generations}, {len(losses)} were evaluated")
                child = self._child(searchable, best, losses, place % 2 == 0, generator)
                if child is not None:
                    losses[child] = judge(child)
        finite = sorted((each for each in losses if math.isfinite(losses[each])), key=losses.__getitem__)
        if not finite:
            reason = f"none of {len(losses)} architectures has a finite {self.judged}"
            raise DivergedError(reason, f"{reason}: {self.cure}")
        return [Found(each, {self.figure: self._figure(losses[each])}) for each in finite]

    def _judge(self, searchable: Searchable, evaluate: Callable[[], float]) -> Callable[[Architecture], float]:
        """The function of an architecture that is to become small."""

        def loss(architecture: Architecture) -> float:
            with searchable.hold(architecture):
                return evaluate()

        return loss

    def _figure(self, loss: float) -> float:
        """The number under `figure` of an architecture with this value."""
        return loss

    def _child(
        self,
        searchable: Searchable,
        parents: Sequence[Architecture],
        seen: dict[Architecture, float],
        crosses: bool,
        generator: torch.Generator,
    ) -> Architecture | None:
        """A new architecture within the limits; None: none was found in a few tries."""
        for _ in range(_TRIES):
            if not parents:
                child: Architecture | None = searchable.sample(generator)
            else:
                first, second = (parents[draw_integer(len(parents), generator)] for _ in range(2))
                fresh = searchable.sample(generator)
                share, other = (0.5, second) if crosses else (self.mutation, fresh)
                taken: dict[str, Value] = {}
                for choice in searchable.space.choices:
                    source = other if float(torch.rand((), generator=generator)) < share else first
                    if choice.name in source:
                        taken[choice.name] = source[choice.name]
                child = searchable.limits.completed(taken, first, other)
            if child is not None and child not in seen:
                return child
        return None
