"""A search that can be enumerated: two random choices, and a loss that is a smooth function of the gates alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from perceptron_space.space import PerceptronSpace
from torch import Tensor

from automl_plugins import Task
from automl_plugins.strategies import SearchStep
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.searchable import Searchable


def tiny_problem() -> Searchable:
    """Two choices are random, of three and of two options; the other two have a single open option left."""
    searchable = PerceptronSpace(widest=8).searchable(Task("pixel", "regression", 3, 1)).double()
    searchable.close("layer1.width", 2, 4)
    searchable.close("depth", 1)
    with torch.no_grad():
        searchable.logits.normal_(generator=torch.Generator().manual_seed(0))
    return searchable


def factors(searchable: Searchable, batch: str) -> Tensor:
    generator = torch.Generator().manual_seed(len(batch))
    return torch.randn(searchable.mask.shape, generator=generator, dtype=torch.float64)


def loss(searchable: Searchable, batch: str) -> Tensor:
    """A smooth function of gates that is not linear, another one for each batch."""
    gates, each = searchable.gates().matrix, factors(searchable, batch)
    return (2 * (gates * each).sum()).tanh() + (gates * each.flip(0)).sum().square()


def step_of(
    searchable: Searchable,
    generator: torch.Generator | None = None,
    progress: float = 0.0,
    of: Callable[[Searchable, Any], Tensor] = loss,
    **given: Any,
) -> SearchStep:
    return SearchStep(
        progress=progress,
        searchables={"net": searchable},
        generator=generator or torch.Generator().manual_seed(0),
        loss=partial(of, searchable),
        read=lambda: "search data",
        evaluate=lambda: 0.0,
        training_batch="training",
        **given,
    )


def all_hard(searchable: Searchable) -> Iterator[tuple[Gates, Tensor]]:
    """Every one-hot gate of all rows, with its probability, differentiable in the logits."""
    shares = searchable.relaxation.probabilities(searchable.logits, searchable.mask)
    rows = [row.nonzero().flatten().tolist() for row in searchable.mask]
    for columns in itertools.product(*rows):
        hard = torch.zeros_like(shares)
        hard[range(len(columns)), list(columns)] = 1.0
        probability = torch.stack([shares[row, column] for row, column in enumerate(columns)]).prod()
        yield Gates(searchable.choices, hard.detach()), probability


def gradient_of_expectation(searchable: Searchable, criterion: Callable[[Gates], Tensor]) -> Tensor:
    """That of the expected criterion over all architectures, by enumeration."""
    expected = torch.zeros((), dtype=torch.float64)
    for hard, probability in all_hard(searchable):
        with torch.no_grad():
            value = criterion(hard)
        expected = expected + value * probability
    (gradient,) = torch.autograd.grad(expected, searchable.logits)
    return gradient


def gradients(searchable: Searchable, make_loss: Callable[[SearchStep], Tensor], draws: int, seed: int = 1) -> Tensor:
    """One gradient for each draw, `[draws, num_choices, most_options]`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack(
        [torch.autograd.grad(make_loss(step_of(searchable, generator)), searchable.logits)[0] for _ in range(draws)]
    )
