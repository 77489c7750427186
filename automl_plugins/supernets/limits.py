"""The architectures that a search may use and find: those without closed options, within the space's cap."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.spaces.space import ParameterCapError, draw_integer
from automl_plugins.spaces.task import Task
from automl_plugins.supernets.gates import Closed, Gates

if TYPE_CHECKING:
    from automl_plugins.spaces.space import Generator
    from automl_plugins.supernets.supernet import SupernetSpace

_DRAWS = 16
"""Draws that are tried before one is brought within the limits: above a rate of one in five, 97 of 100 are found so."""
_MOST_COUNTS = 20_000
"""Counts that are remembered."""
_ROUNDS = 20
"""Rounds of the descent to a small network; two or three are enough where counts add up."""


class Limits:
    """A space's architectures without closed options, whose networks for a task keep the space's cap.

    Args:
        space: of the architectures.
        task: what their networks must fit.
        mask: which options of the gates are open, boolean `[num_choices, most_options]`.
        counts: the parameters of networks that were counted before; more are added.
    """

    def __init__(
        self, space: SupernetSpace, task: Task, mask: Tensor, counts: dict[Architecture, int] | None = None
    ) -> None:
        self.space, self.task = space, task
        self.mask = mask.cpu()
        self.choices = space.gate_choices
        self.cap = space.max_parameters
        self.counts = {} if counts is None else counts
        self.example: Architecture | None = None
        """An architecture that is known to be admitted."""
        self.closed: Closed = {
            choice.name: frozenset(option for option, is_open in zip(choice.options, row, strict=False) if not is_open)
            for choice, row in zip(self.choices, self.mask.tolist(), strict=True)
            if not all(row[: len(choice.options)])
        }

    # Asking.

    def closed_option(self, architecture: Architecture) -> tuple[str, Value] | None:
        """The first gate that an architecture has at a closed option, and that option; None: there is none."""
        if not self.closed:
            return None
        values = self.space.gate_values(architecture)
        for name, options in self.closed.items():
            if name in values and values[name] in options:
                return name, values[name]
        return None

    def count(self, architecture: Architecture) -> int:
        """The trainable parameters of the network of an architecture."""
        if architecture not in self.counts:
            if len(self.counts) >= _MOST_COUNTS:
                self.counts.clear()
            self.counts[architecture] = self.space.num_parameters(architecture, self.task)
        return self.counts[architecture]

    def keeps_cap(self, architecture: Architecture) -> bool:
        """Whether the network has no more parameters than the space allows."""
        return self.cap is None or self.count(architecture) <= self.cap

    def admits(self, architecture: Architecture) -> bool:
        """Whether an architecture has no closed option and keeps the cap."""
        return self.closed_option(architecture) is None and self.keeps_cap(architecture)

    def check_open(self, architecture: Architecture) -> None:
        """Refuse an architecture with a closed option.

        Raises:
            ValueError: it has one; the message names it.
        """
        found = self.closed_option(architecture)
        if found is not None:
            name, option = found
            (choice,) = (each for each in self.choices if each.name == name)
            left = [each for each in choice.options if each not in self.closed[name]]
            raise ValueError(
                f"the architecture has {option!r} for {name!r}, which is closed; open: {', '.join(map(repr, left))}; "
                "Searchable.open opens it again"
            )

    def check(self, architecture: Architecture) -> None:
        """Refuse what is not admitted.

        Raises:
            ValueError: it has a closed option; the message names it.
            ParameterCapError: it has too many parameters.
        """
        self.check_open(architecture)
        if not self.keeps_cap(architecture):
            raise ParameterCapError(
                f"the network would have {self.count(architecture):,} parameters; max_parameters is {self.cap:,}"
            )

    def check_any(self) -> None:
        """Refuse limits that admit nothing.

        Raises:
            ParameterCapError: no network within the cap was found; the message names the smallest one's size.
        """
        if self.cap is None or (self.example is not None and self.keeps_cap(self.example)):
            return
        generator = torch.Generator().manual_seed(0)
        for _ in range(_DRAWS):
            drawn = self._draw(generator)
            if drawn is not None and self.keeps_cap(drawn):
                self.example = drawn
                return
        smallest = self.count(self.smallest)
        if smallest > self.cap:
            kept = " with the open options" if self.closed else ""
            raise ParameterCapError(
                f"max_parameters={self.cap:,} admits no network of the space {self.space.name!r} for this task: the "
                f"smallest one that was found{kept} has {smallest:,} parameters; allow as many, or make the space "
                "narrower"
            )
        self.example = self.smallest

    def narrowed(self, mask: Tensor) -> Limits:
        """The limits with other options open, which remember what was counted."""
        other = Limits(self.space, self.task, mask, self.counts)
        if self.example is not None and other.closed_option(self.example) is None:
            other.example = self.example
        return other

    # Drawing.

    def sample(self, generator: Generator) -> Architecture:
        """Draw an architecture: every active choice uniformly among its open options, in order, within the cap.

        Draws are repeated until one keeps the cap. Where hardly any does, one is brought within it: choice by choice,
        in a random order, it takes the values of the smallest architecture, no more of them than it needs to.

        Args:
            generator: a `numpy.random.Generator` or a `torch.Generator`; nothing else is random.

        Raises:
            ParameterCapError: no architecture within the cap was found.
        """
        drawn: Architecture | None = None
        for _ in range(_DRAWS):
            found = self._draw(generator)
            if found is not None:
                if self.keeps_cap(found):
                    return found
                drawn = found
        if drawn is None:
            drawn = self._decoded(self._noise(generator))
            if self.keeps_cap(drawn):
                return drawn
        self.check_any()
        return self._brought_within(drawn, generator)

    def _draw(self, generator: Generator) -> Architecture | None:
        """One draw without closed options, cap or no cap; None: what was drawn has one after all."""
        if not self.closed:
            return self.space.sample(generator)

        def pick(choice: Choice, options: Sequence[Value]) -> Value:
            return options[draw_integer(len(options), generator)]

        found = self._completed(pick)
        return None if found is None or self.closed_option(found) is not None else found

    def _completed(self, pick: Callable[[Choice, Sequence[Value]], Value]) -> Architecture | None:
        """An architecture whose active choices are picked in order, among their open options."""
        values: dict[str, Value] = {}
        for choice in self.space.choices:
            if choice.is_active(values):
                options = self.space.open_options(choice, values, self.closed)
                if not options:
                    return None
                values[choice.name] = pick(choice, options)
        return Architecture(self.space.name, self.space.version, values)

    def _noise(self, generator: Generator) -> Tensor:
        """Random scores; small whole numbers would tie."""
        most = 2**30
        entries = [float(1 + draw_integer(most, generator)) / most for _ in range(self.mask.numel())]
        return torch.tensor(entries, dtype=torch.float64).view(self.mask.shape)

    def _brought_within(self, drawn: Architecture, generator: Generator) -> Architecture:
        order = list(range(len(self.space.choices)))
        for last in range(len(order) - 1, 0, -1):
            other = draw_integer(last + 1, generator)
            order[last], order[other] = order[other], order[last]
        names = [self.space.choices[position].name for position in order]

        def mixed(count: int) -> Architecture | None:
            """The draw, with the smallest one's values for the first `count` names, where they may stand."""
            small = set(names[:count])

            def pick(choice: Choice, options: Sequence[Value]) -> Value:
                sources = (self.smallest, drawn) if choice.name in small else (drawn, self.smallest)
                wanted = [source[choice.name] for source in sources if choice.name in source]
                return next((value for value in wanted if value in options), options[0])

            found = self._completed(pick)
            return found if found is not None and self.admits(found) else None

        # Counts fall with the names that are taken, nearly always; where they do not, more are taken than needed.
        example = self.smallest if self.keeps_cap(self.smallest) else cast(Architecture, self.example)
        least, most, best = 0, len(names), example
        while most - least > 1:
            middle = (least + most) // 2
            found = mixed(middle)
            if found is None:
                least = middle
            else:
                most, best = middle, found
        return best

    # Decoding.

    def decode(self, scores: Tensor) -> Architecture:
        """The most probable architecture that is admitted.

        Where the space's own decoding breaks the cap, see `nearby.most_probable_within`.

        Args:
            scores: how probable each option is, float64 `[num_choices, most_options]`; see
                `searchable.decoding_scores`. Those of closed options are not read.

        Raises:
            ParameterCapError: no architecture within the cap was found.
        """
        found = self._decoded(scores)
        if self.keeps_cap(found):
            return found
        from automl_plugins.supernets.nearby import most_probable_within

        return most_probable_within(self, scores)

    def _decoded(self, scores: Tensor) -> Architecture:
        found = self.decoded_with(scores, self.mask)
        if found is None:
            self.check_open(self.space.decode(self.scores(scores, self.mask)))
            raise ValueError(f"no architecture of the space {self.space.name!r} is left")
        return found

    def scores(self, scores: Tensor, mask: Tensor) -> Gates:
        """What `SupernetSpace.decode` reads: scores of open options, minus infinity for closed ones."""
        return Gates(self.choices, scores.masked_fill(~mask, -torch.inf))

    def decoded_with(self, scores: Tensor, mask: Tensor) -> Architecture | None:
        """The space's decoding with the options of a mask; None: none is left that needs no closed option.

        Args:
            scores: `[num_choices, most_options]`, not negative.
            mask: which options are open, of the same shape.
        """
        found = self.space.decode(self.scores(scores, mask))
        gates = self.space.gates(found).matrix.bool()
        return None if bool((gates & ~mask).any()) else found

    def forced(self, architecture: Architecture, mask: Tensor) -> Iterator[tuple[int, int, Tensor]]:
        """Ways to change an architecture: a gate that it uses, another option, and a mask that leaves no other.

        Beside them, for every gate that it uses, the mask that closes the option which it has; its option is -1.
        """
        used = self.space.gates(architecture).matrix.bool()
        for row in used.any(dim=1).nonzero().flatten().tolist():
            present = int(used[row].nonzero()[0])
            without = mask.clone()
            without[row, present] = False
            yield row, -1, without
            for option in without[row].nonzero().flatten().tolist():
                only = mask.clone()
                only[row] = False
                only[row, option] = True
                yield row, option, only

    @cached_property
    def smallest(self) -> Architecture:
        """An architecture without closed options whose network is small: no other option of one gate makes it smaller.

        It is found by descent from the space's own decoding of equal scores, all gates in a round.
        """
        even = torch.ones(self.mask.shape, dtype=torch.float64)
        found, mask = self._decoded(even), self.mask
        for _ in range(_ROUNDS):
            before = self.count(found)
            # Of each gate the change that saves most, the largest saving first.
            best: dict[int, tuple[int, Tensor]] = {}
            for row, _, changed in self.forced(found, mask):
                other = self.decoded_with(self._near(found), changed)
                if other is not None and self.count(other) < best.get(row, (before, mask))[0]:
                    best[row] = self.count(other), changed
            for row, (_, changed) in sorted(best.items(), key=lambda item: item[1][0]):
                together = self.mask.clone()
                together[row] = changed[row]
                other = self.decoded_with(self._near(found), together)
                if other is not None and self.count(other) < self.count(found):
                    found = other
            if self.count(found) == before:
                break
        return found

    def _near(self, architecture: Architecture) -> Tensor:
        """Scores whose decoding is the architecture, and with some options closed, one that has much in common."""
        return 1.0 + self.space.gates(architecture, torch.float64).matrix
