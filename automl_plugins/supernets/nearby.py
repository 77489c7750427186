"""The most probable architecture within limits of cost, where the most probable one of all is beyond it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.supernets.limits import Limits
from automl_plugins.supernets.masks import decoded_with, forced

_SAMPLES = 32
"""Architectures that are drawn by their probability, beside what is repaired."""
_ROUNDS = 20
"""Rounds of repair, each of which changes many gates, and of exchange, each of which changes one or two."""
_PAIRS = 300
"""Exchanges of two gates whose networks are counted in a round at most."""


class _Change(NamedTuple):
    """A gate's row and the options that it is left with."""

    row: int
    options: Tensor


def most_probable(limits: Limits, probabilities: Tensor) -> Architecture:
    """The most probable architecture that limits admit.

    If the space's own decoding breaks the limits, see `most_probable_within`.

    Args:
        limits: what is admitted.
        probabilities: of the gates' options, float64 `[num_choices, most_options]`; see `decoding.decoding_scores`.
            Those of closed options are not read.

    Raises:
        LimitError: no architecture within the limits was found.
    """
    found = limits.decoded(probabilities)
    return found if limits.keeps_limits(found) else most_probable_within(limits, probabilities)


def most_probable_within(limits: Limits, probabilities: Tensor) -> Architecture:
    """The most probable architecture that limits admit, by repair, draws and exchange; settled by its arguments.

    The probability of an architecture is the product of the probabilities of its gates' options. Several candidates
    are made: the space's own decoding is *repaired*, by changing those gates first that save most of the excess for
    what they cost in probability, and taking back what was not needed; architectures are *drawn* by their probability;
    and there is the smallest one. From the best of them, gates are *exchanged*, one or two at a time, until no
    such exchange is more probable and within the limits. That finds the very best one nearly always, but
    does not prove it: the problem is a knapsack.

    Args:
        limits: what is admitted.
        probabilities: of the gates' options, float64 `[num_choices, most_options]`.

    Raises:
        LimitError: no architecture within the limits was found.
    """
    search = _Search(limits, probabilities)
    candidates = [*search.repaired(), *search.drawn()]
    candidates = [candidate for candidate in dict.fromkeys(candidates) if limits.keeps_limits(candidate)]
    if not candidates:
        limits.check_any()
        candidates = [limits.smallest if limits.example is None else limits.example]
    best = max(candidates, key=search.logarithm)
    return search.exchanged(best)


class _Search:
    def __init__(self, limits: Limits, probabilities: Tensor) -> None:
        self.limits, self.probabilities = limits, probabilities
        self.logarithms = probabilities.clamp(min=torch.finfo(torch.float64).tiny).log()

    def _decoded(self, mask: Tensor) -> Architecture | None:
        return decoded_with(self.limits.space, self.probabilities, mask)

    def logarithm(self, architecture: Architecture) -> float:
        """The probability of an architecture."""
        used = self.limits.space.gates(architecture).matrix.bool()
        return float(self.logarithms[used].sum())

    def repaired(self) -> list[Architecture]:
        """The most probable architecture, brought within the limits; empty where that fails."""
        mask = self.limits.mask
        found = self._decoded(mask)
        for _ in range(_ROUNDS):
            if found is None:
                return []
            changes = self._changes(found, mask)
            if not changes:
                return []
            needed = self._fewest(changes, mask)
            if needed is not None:
                return [self._with_taken_back(changes[:needed], mask)]
            mask = _narrowed(mask, changes)
            found = self._decoded(mask)
        return []

    def _changes(self, found: Architecture, mask: Tensor) -> list[_Change]:
        """For each gate the change that saves most of the excess for what it costs in probability, the best first."""
        excess, logarithm = self.limits.excess(found), self.logarithm(found)
        best: dict[int, tuple[float, _Change]] = {}
        for row, changed in forced(self.limits.space, found, mask):
            other = self._decoded(changed)
            if other is None:
                continue
            saved = excess - self.limits.excess(other)
            if saved > 0:
                price = max(logarithm - self.logarithm(other), 0.0) / saved
                if row not in best or price < best[row][0]:
                    best[row] = price, _Change(row, changed[row])
        return [change for _, change in sorted(best.values(), key=lambda each: each[0])]

    def _within(self, changes: list[_Change], mask: Tensor) -> Architecture | None:
        found = self._decoded(_narrowed(mask, changes))
        return found if found is not None and self.limits.keeps_limits(found) else None

    def _fewest(self, changes: list[_Change], mask: Tensor) -> int | None:
        """The number of changes that are enough; None: all are not."""
        if self._within(changes, mask) is None:
            return None
        least, most = 0, len(changes)
        while most - least > 1:
            middle = (least + most) // 2
            if self._within(changes[:middle], mask) is None:
                least = middle
            else:
                most = middle
        return most

    def _with_taken_back(self, changes: list[_Change], mask: Tensor) -> Architecture:
        """The architecture with as few of the changes as will do, the dearest taken back first."""
        for change in reversed(changes):
            fewer = [each for each in changes if each is not change]
            if self._within(fewer, mask) is not None:
                changes = fewer
        found = self._within(changes, mask)
        return self.limits.smallest if found is None else found

    def drawn(self) -> list[Architecture]:
        """Draws by probability: decodings of perturbed probabilities."""
        generator = torch.Generator().manual_seed(0)
        found = []
        for _ in range(_SAMPLES):
            noise = torch.empty_like(self.logarithms).exponential_(generator=generator).log()
            scores = (self.logarithms - noise).masked_fill(~self.limits.mask, -torch.inf)
            scores = (scores - scores.amax(dim=1, keepdim=True).clamp(min=-1e300)).exp()
            drawn = decoded_with(self.limits.space, scores, self.limits.mask)
            if drawn is not None:
                found.append(drawn)
        return found

    def exchanged(self, best: Architecture) -> Architecture:
        """The best one after exchanges of one gate or two."""
        for _ in range(_ROUNDS):
            better = self._one_exchanged(best) or self._two_exchanged(best)
            if better is None:
                break
            best = better
        return best

    def _neighbours(self, present: Architecture) -> list[tuple[float, Architecture]]:
        """Architectures of another option, and what follows from it, with gains in the logarithm; the best first."""
        used = self.limits.space.gates(present, torch.float64).matrix
        logarithm = self.logarithm(present)
        found: dict[Architecture, float] = {}
        for row, option in (self.limits.mask & (used == 0)).nonzero().tolist():
            scores = self.probabilities + 2.0 * used
            scores[row, option] = 5.0
            other = decoded_with(self.limits.space, scores, self.limits.mask)
            if other is not None and other != present:
                found.setdefault(other, self.logarithm(other) - logarithm)
        return sorted(((gain, other) for other, gain in found.items()), key=lambda each: -each[0])

    def _one_exchanged(self, present: Architecture) -> Architecture | None:
        for gain, other in self._neighbours(present):
            if gain <= 1e-12:
                return None
            if self.limits.keeps_limits(other):
                return other
        return None

    def _two_exchanged(self, present: Architecture) -> Architecture | None:
        """A gain with one gate, paid for with another one."""
        counted = 0
        for gain, other in self._neighbours(present):
            if gain <= 1e-12 or counted > _PAIRS:
                return None
            for loss, paid in self._neighbours(other):
                if gain + loss <= 1e-12:
                    break
                counted += 1
                if self.limits.keeps_limits(paid):
                    return paid
        return None


def _narrowed(mask: Tensor, changes: list[_Change]) -> Tensor:
    mask = mask.clone()
    for change in changes:
        mask[change.row] &= change.options
    return mask
