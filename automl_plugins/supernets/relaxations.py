"""The maps from architecture logits to gates.

All choices are relaxed at once: logits, mask and gates are matrices with a row for each choice and
a column for each option of the largest (see `gates.Gates`). A closed option, one whose mask is
False, always has a gate of exactly zero; a row without an open option is all zeros.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from automl_plugins import registry


class Relaxation(ABC):
    """Turns architecture logits into gates.

    Args:
        temperature: divides the logits; a schedule may lower it during a search.

    Raises:
        ValueError: the temperature is not greater than zero.
    """

    stochastic: ClassVar[bool] = False
    """True where gates are drawn: training draws, evaluation takes the noise away."""
    single_path: ClassVar[bool] = False
    """True where exactly one option of each choice is run, so that others' weights get no gradient."""

    def __init__(self, temperature: float = 1.0) -> None:
        self.temperature = temperature

    @property
    def temperature(self) -> float:
        """The divisor of the logits."""
        return self._temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        if not value > 0:
            raise ValueError(f"temperature is greater than 0; got {value}")
        self._temperature = float(value)

    def group(self, groups: Sequence[Sequence[int]]) -> None:  # noqa: B027 - most look at each row alone
        """Take note of the rows that lead to one node, for each node that several lead to; a searchable tells them."""

    @abstractmethod
    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The gates.

        Args:
            logits: `[num_choices, most_options]`.
            mask: boolean, same shape; False: the option is closed.
            generator: what stochastic relaxations draw from, on the CPU; None: no noise.

        Returns:
            `[num_choices, most_options]`, differentiable with respect to the logits.
        """

    def probabilities(self, logits: Tensor, mask: Tensor) -> Tensor:
        """The probability of each option, `[num_choices, most_options]`: what is decoded and what entropy is of."""
        return softmax(logits, mask)


class Softmax(Relaxation):
    r"""A mixture with weights :math:`\mathrm{softmax}(\alpha / \tau)` (DARTS, Liu et al. 2019, equation 2)."""

    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return softmax(logits / self.temperature, mask)


class Concrete(Relaxation):
    r"""A sample of the concrete distribution (SNAS, Xie et al. 2019, equation 5).

    :math:`\mathrm{softmax}((\log p + G) / \tau)` with Gumbel noise G and :math:`p = \mathrm{softmax}(\alpha)`.
    Without noise it is :math:`\mathrm{softmax}(\log p / \tau)`.
    """

    stochastic: ClassVar[bool] = True

    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return softmax(_perturbed(logits, mask, generator) / self.temperature, mask)


class StraightThrough(Concrete):
    """One option at a time, drawn by its probability (GDAS, Dong and Yang 2019, equations 4 to 6).

    Forward, the gate is the one-hot argument of the maximum of a concrete sample; backward it is the
    sample itself. The gate of an option that was not drawn is exactly zero, so it is not run, and only the
    drawn option's share of the gradient reaches the logits. (GDAS's code adds the undrawn gates as
    bare zeros to the sum; what reaches their logits that way is no derivative of the loss.)
    """

    single_path: ClassVar[bool] = True

    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        soft = super().__call__(logits, mask, generator)
        largest = functional.one_hot(soft.argmax(dim=1), soft.size(1)).to(soft.dtype)
        hard = torch.where(mask, largest, 0.0)
        # In this order the sum is exactly one or zero.
        return hard + (soft - soft.detach())


class Sigmoid(Relaxation):
    r"""Independent gates :math:`\sigma(\alpha / \tau)`, which do not compete (Fair-DARTS, Chu et al. 2020)."""

    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.where(mask, (logits / self.temperature).sigmoid(), 0.0)

    def probabilities(self, logits: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask, logits.sigmoid(), 0.0)


def make_relaxation(relaxation: str | Relaxation) -> Relaxation:
    """A relaxation by its registered name; one that is made already is given back.

    Raises:
        ValueError: no relaxation has that name.
    """
    if isinstance(relaxation, Relaxation):
        return relaxation
    made: Relaxation = registry.load("relaxations", relaxation)()
    return made


def softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """The softmax of each row among its open options; zeros where none is open."""
    # A finite floor, not minus infinity: a row without an open option would be nan, in the gradient too.
    shares = logits.masked_fill(~mask, torch.finfo(logits.dtype).min).softmax(dim=1)
    return torch.where(mask, shares, 0.0)


def _perturbed(logits: Tensor, mask: Tensor, generator: torch.Generator | None) -> Tensor:
    """Log-probabilities, with Gumbel noise where there is a generator."""
    floor = torch.finfo(logits.dtype).min / 2
    log_probabilities = logits.masked_fill(~mask, floor).log_softmax(dim=1)
    if generator is None:
        return log_probabilities
    uniform = torch.rand(logits.shape, generator=generator, dtype=logits.dtype, device="cpu")
    uniform = uniform.clamp(min=torch.finfo(logits.dtype).tiny)
    return log_probabilities - (-uniform.log()).log().to(logits.device)
