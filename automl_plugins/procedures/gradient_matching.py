"""Gradient matching: which options of a choice compete for the weights that they share (GM-NAS)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from automl_plugins.search import ranks
from automl_plugins.search.user_step import UserStep
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.system.files import write_whole
from automl_plugins.training.lightning import pl

_PATHS = 4
"""Architectures in which options are compared where single paths were trained."""
Cosines = dict[str, list[list[float]]]
"""By the name of a choice, the cosines between the gradients under its options."""


class Split(NamedTuple):
    """A choice, and its options in groups, one for each sub-supernet."""

    choice: str
    groups: list[list[Value]]


class GradientMatching(pl.Callback):
    r"""The cosines of gradients at the end of a supernet's training, in a file.

    For two options of a choice it is :math:`\cos(\nabla_w L(o_i), \nabla_w L(o_j))` over the weights that both have a
    gradient for (Hu, Wang, Hong, Shi, Hsieh and Feng 2022, arXiv 2203.15207, equation 3), on one training batch. The
    other gates are the mixture's; where single paths were trained, it is the mean over random architectures.

    Args:
        searchable: that is trained.
        candidates: choices and the positions of the options that are compared.
        path: of the file.
        single_path: whether single paths are trained.
        seed: of the batch and of the architectures.
    """

    def __init__(
        self,
        searchable: Searchable,
        candidates: Mapping[str, Sequence[int]],
        path: Path,
        single_path: bool,
        seed: int,
    ) -> None:
        self.searchable, self.candidates, self.path = searchable, candidates, path
        self.single_path, self.seed = single_path, seed

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        user = UserStep(trainer, pl_module)
        device, world_size = trainer.strategy.root_device, trainer.world_size
        with user.isolated(self.seed), torch.enable_grad():
            loader: Any = trainer.train_dataloader
            batch = user.on_device(next(iter(loader)))
            found: Cosines = {}
            for name, columns in self.candidates.items():
                rows = self._cosines(user, batch, name, columns).tolist()
                found[name] = [[ranks.mean_over_ranks(each, device, world_size) or 0.0 for each in row] for row in rows]
        if trainer.is_global_zero:
            write_whole(self.path, json.dumps(found))
        trainer.strategy.barrier()

    def _cosines(self, user: UserStep, batch: Any, name: str, columns: Sequence[int]) -> Tensor:
        totals = torch.zeros(len(columns), len(columns), dtype=torch.float64)
        bases = self._bases()
        for base in bases:
            gradients = [self._gradient(user, batch, base, name, column) for column in columns]
            for one, other in combinations(range(len(columns)), 2):
                totals[one, other] += cosine(gradients[one], gradients[other]) / len(bases)
        return totals + totals.T + torch.eye(len(columns), dtype=torch.float64)

    def _bases(self) -> list[Tensor]:
        searchable = self.searchable
        if not self.single_path:
            return [searchable.gates().matrix.detach()]
        generator = torch.Generator().manual_seed(self.seed)
        drawn = [searchable.space.gates(searchable.sample(generator)).matrix for _ in range(_PATHS)]
        return [each.to(searchable.logits) for each in drawn]

    def _gradient(self, user: UserStep, batch: Any, base: Tensor, name: str, column: int) -> Tensor:
        """The gradient of the weights, as one vector, with one option of a choice alone."""
        matrix = base.clone()
        row = self.searchable.gates().row(name)
        matrix[row] = 0.0
        matrix[row, column] = 1.0
        weights = [weight for weight in self.searchable.weight_parameters() if weight.requires_grad]
        with self.searchable.hold(Gates(self.searchable.choices, matrix)):
            found = torch.autograd.grad(user.loss(batch, 0), weights, allow_unused=True)
        parts = [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)]
        return torch.cat([part.flatten() for part in parts])


def cosine(one: Tensor, other: Tensor) -> float:
    """The cosine of two gradients over the weights that both reach; 1 where there are none, so that nothing competes.

    Options have weights of their own, which only one of the gradients reaches.
    """
    shared = (one != 0) & (other != 0)
    first, second = one[shared].double(), other[shared].double()
    norm = first.norm() * second.norm()
    return float(first @ second / norm) if float(norm) > 0 else 1.0


def best_split(cosines: Cosines, candidates: Mapping[str, Sequence[int]], choices: Mapping[str, Choice]) -> Split:
    """The choice whose options fall apart into two groups that agree least, and the groups (section 3.3).

    Departure from the paper: the groups are as large as each other, up to one option, and the mean of the cosines
    between them is compared, so that choices of few and of many options are.
    """
    cuts = {name: bisected(cosines[name], range(len(columns))) for name, columns in candidates.items()}
    name = min(cuts, key=lambda each: cuts[each][0])
    options = choices[name].options
    return Split(name, [[options[candidates[name][place]] for place in group] for group in cuts[name][1]])


def grouped(cosines: Sequence[Sequence[float]], count: int) -> list[list[int]]:
    """Options in so many groups: the largest group is bisected until there are as many."""
    groups = [list(range(len(cosines)))]
    while len(groups) < count:
        largest = max(groups, key=len)
        groups.remove(largest)
        groups += bisected(cosines, largest)[1]
    return sorted(groups)


def bisected(cosines: Sequence[Sequence[float]], places: Sequence[int]) -> tuple[float, list[list[int]]]:
    """The two halves of some options with the least mean cosine between them, and this mean."""

    def cut(half: tuple[int, ...]) -> float:
        rest = [place for place in places if place not in half]
        return sum(cosines[one][other] for one in half for other in rest) / (len(half) * len(rest))

    best = min(_halves(places), key=cut)
    return cut(best), [list(best), [place for place in places if place not in best]]


def _halves(places: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Each way to take half of some options, with the first one among them where that says the same."""
    for half in combinations(places, (len(places) + 1) // 2):
        if len(places) % 2 or half[0] == places[0]:
            yield half
