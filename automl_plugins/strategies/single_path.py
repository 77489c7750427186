"""Single paths with evolution: SPOS's uniform sampling, and FairNAS's strict fairness."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from automl_plugins.decoders.base import Decoder
from automl_plugins.decoders.evolution import Evolution
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Value
from automl_plugins.strategies.random_search import RandomSearch
from automl_plugins.strategies.step import SearchStep
from automl_plugins.supernets.searchable import Searchable


class SinglePath(RandomSearch):
    """Weights of uniformly drawn architectures, then evolution over them (SPOS; Guo et al., ECCV 2020).

    See arXiv 1904.00420, sections 3.3 and 3.4. The training is `RandomSearch`'s; the decoder is
    `decoders.evolution.Evolution`, which says where it departs from the paper.

    Args:
        decoder: see `Strategy`; by default `Evolution`.
        components: none other has a use.
    """

    def __init__(self, decoder: Decoder | str | None = None, **components: Any) -> None:
        super().__init__(Evolution() if decoder is None else decoder, **components)


class FairSinglePath(SinglePath):
    """Every step trains each option of each choice equally often (FairNAS; Chu, Zhang and Xu, ICCV 2021).

    A step takes as many architectures as the largest choice has open options, m; each choice goes through
    its options in a random order of its own, so that a choice of m options has each of them in exactly one of the
    architectures (strict fairness, arXiv 1907.01845, section 3.2), and one of n options each in m/n of them, give or
    take one. Their mean gradient moves the weights once.

    Departures from the paper: the mean in place of the sum of gradients, so that a learning rate means the
    same in every space; choices differ in their numbers of options, and depend on each other, so fairness is among
    the architectures in which a choice is active; and an architecture beyond the limits of cost is drawn anew, which
    is fair no more.

    Args:
        decoder: see `Strategy`; by default `Evolution`.
        components: none other has a use.
    """

    def weight_gates(self, searchable: Searchable, step: SearchStep) -> Architecture:
        return self._paths(searchable, step)[0]

    def weight_loss(self, step: SearchStep) -> Tensor:
        paths = {name: self._paths(searchable, step) for name, searchable in step.searchables.items()}
        count = max(len(each) for each in paths.values())
        return step.mean_loss(
            [{name: each[place % len(each)] for name, each in paths.items()} for place in range(count)]
        )

    def _paths(self, searchable: Searchable, step: SearchStep) -> list[Architecture]:
        if searchable not in step.shared:
            step.shared[searchable] = fair_paths(searchable, step.generator)
        paths: list[Architecture] = step.shared[searchable]
        return paths


def fair_paths(searchable: Searchable, generator: torch.Generator) -> list[Architecture]:
    """Architectures among which every open option of a choice is as often as any other.

    Args:
        searchable: with its open options and limits.
        generator: on the CPU.
    """
    limits = searchable.limits
    orders: dict[str, list[Value]] = {}
    for choice in searchable.space.choices:
        closed = limits.closed.get(choice.name, frozenset())
        options = [option for option in choice.options if option not in closed] or list(choice.options)
        orders[choice.name] = [options[int(place)] for place in torch.randperm(len(options), generator=generator)]
    paths = []
    for place in range(max(map(len, orders.values()))):
        values = {name: order[place % len(order)] for name, order in orders.items()}
        path = limits.completed(values)
        paths.append(searchable.sample(generator) if path is None else path)
    return paths
