"""Random architectures, choice by choice, among the options that are open."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice, Value

if TYPE_CHECKING:
    import numpy as np
    import torch

    Generator = np.random.Generator | torch.Generator

OpenOptions = Callable[[Choice, Mapping[str, Value]], Sequence[Value]]
"""The options that an active choice may take, after the values of the choices before it."""


def draw_integer(options: int, generator: Generator) -> int:
    """A uniform integer below `options`.

    Raises:
        TypeError: the generator is neither NumPy's nor torch's.
    """
    integers = getattr(generator, "integers", None)
    if integers is not None:
        return int(integers(options))
    import torch

    if isinstance(generator, torch.Generator):
        return int(torch.randint(options, (), generator=generator, device=generator.device))
    raise TypeError(
        f"a numpy.random.Generator or a torch.Generator is needed to draw; got a {type(generator).__name__}"
    )


class Draws:
    """Architectures of some choices, drawn or mixed among their open options.

    Args:
        choices: of the space, in order.
        make: an architecture of values.
        open_options: the options that a choice may take.
    """

    def __init__(
        self,
        choices: Sequence[Choice],
        make: Callable[[Mapping[str, Value]], Architecture],
        open_options: OpenOptions,
    ) -> None:
        self.choices, self.make, self.open_options = tuple(choices), make, open_options

    def uniform(self, generator: Generator) -> Architecture | None:
        """Every active choice uniformly among its open options, in order; None: a choice has none left."""
        return self._completed(lambda choice, options: options[draw_integer(len(options), generator)])

    def mixed(self, *sources: Mapping[str, Value]) -> Architecture | None:
        """Every active choice as in the first source that has an open value for it, else its first open option."""

        def pick(choice: Choice, options: Sequence[Value]) -> Value:
            wanted = [source[choice.name] for source in sources if choice.name in source]
            return next((value for value in wanted if value in options), options[0])

        return self._completed(pick)

    def brought_within(
        self,
        drawn: Architecture,
        small: Architecture,
        example: Architecture,
        admits: Callable[[Architecture], bool],
        generator: Generator,
    ) -> Architecture:
        """An admitted mixture: choice by choice, in a random order, values of the small one, as few as are needed.

        Args:
            drawn: what is not admitted.
            small: its values bring others within what is admitted.
            example: an architecture that is admitted; given back where no mixture is.
            admits: whether an architecture is admitted.
            generator: settles the order.
        """
        order = list(range(len(self.choices)))
        for last in range(len(order) - 1, 0, -1):
            other = draw_integer(last + 1, generator)
            order[last], order[other] = order[other], order[last]
        names = [self.choices[position].name for position in order]
        # Counts fall with the names that are taken, nearly always; where they do not, more are taken than needed.
        least, most, best = 0, len(names), example
        while most - least > 1:
            middle = (least + most) // 2
            taken = {name: small[name] for name in names[:middle] if name in small}
            found = self.mixed(taken, drawn, small)
            if found is None or not admits(found):
                least = middle
            else:
                most, best = middle, found
        return best

    def _completed(self, pick: Callable[[Choice, Sequence[Value]], Value]) -> Architecture | None:
        values: dict[str, Value] = {}
        for choice in self.choices:
            if choice.is_active(values):
                options = self.open_options(choice, values)
                if not options:
                    return None
                values[choice.name] = pick(choice, options)
        return self.make(values)
