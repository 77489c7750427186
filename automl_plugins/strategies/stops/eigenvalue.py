"""R-DARTS' eigenvalue: the curvature of the search loss in the logits, which grows before a search collapses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from automl_plugins.strategies.step import SearchStep
from automl_plugins.strategies.stops.base import Stop
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.system.arguments import at_least, positive

_DIFFERENCE = 1e-2
"""The length of the way between two gradients, each side."""


class HessianEigenvalue(Stop):
    r"""The largest eigenvalue of :math:`\nabla^2_\alpha L`, and a stop where it grows (Zela et al. 2020, R-DARTS).

    L is the loss on one search batch, always with the same draws (arXiv 1909.09656, section 4). With
    :math:`\bar\lambda(i)` the mean over the last `window` epochs, the search stops where
    :math:`\bar\lambda(i) > r\, \bar\lambda(i - k)`, k being the window, too, and ends with the logits of epoch
    :math:`i - k` (section 4.3: r = 1 / 0.75, k = 5). Without a ratio the eigenvalue is only logged, as
    `search_eigenvalue`.

    It is found by the Lanczos iteration over open options of choices that have several, with products of the Hessian
    by central differences of gradients, so that supernets without second derivatives have it, too: two gradients for
    each iteration. Of several processes it is the mean of each one's.

    Args:
        ratio: r; None: never stop.
        window: epochs in a mean, and between the two that are compared.
        iterations: of Lanczos; as many as there are logits give all eigenvalues.

    Raises:
        ValueError: a number out of range.
    """

    def __init__(self, ratio: float | None = 4 / 3, window: int = 5, iterations: int = 12) -> None:
        self.ratio = None if ratio is None else positive("ratio", ratio)
        self.window, self.iterations = at_least("window", window, 1), at_least("iterations", iterations, 1)
        self.begin()

    def begin(self) -> None:
        self.values: list[float] = []
        """The eigenvalue at the end of each epoch."""
        self._logits: list[list[Tensor]] = []

    def __call__(self, step: SearchStep) -> str | None:
        self.values.append(step.average(largest_eigenvalue(step, self.iterations)))
        searchables = step.searchables.values()
        self._logits = [*self._logits, [each.logits.detach().clone() for each in searchables]][-self.window - 1 :]
        if self.ratio is None or len(self.values) < 2 * self.window:
            return None
        now, before = (
            sum(self.values[end - self.window : end]) / self.window
            for end in (len(self.values), len(self.values) - self.window)
        )
        if before <= 0 or now <= self.ratio * before:
            return None
        with torch.no_grad():
            for searchable, logits in zip(searchables, self._logits[0], strict=True):
                searchable.logits.copy_(logits)
        return (
            f"the largest eigenvalue of the search loss in the logits has grown from {before:.3g} to {now:.3g} in "
            f"{self.window} epochs; the logits are those of that many epochs before"
        )

    def figures(self) -> dict[str, float]:
        return {"search_eigenvalue": self.values[-1]} if self.values else {}

    def state_dict(self) -> dict[str, Any]:
        return {"values": list(self.values), "logits": [list(each) for each in self._logits]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.values, self._logits = list(state["values"]), [list(each) for each in state["logits"]]


def largest_eigenvalue(step: SearchStep, iterations: int) -> float:
    """The largest eigenvalue of the Hessian of the loss on the search batch, in the logits that decide something.

    Args:
        step: without a training batch, whose loss draws the same at each call.
        iterations: of Lanczos at most.
    """
    searchables = list(step.searchables.values())
    decides = [each.mask & (each.mask.sum(dim=1, keepdim=True) > 1) for each in searchables]
    size = int(sum(each.sum() for each in decides))
    if size == 0:
        return 0.0

    def product(direction: Tensor) -> Tensor:
        # In the logits' own precision a difference of gradients has few digits, and enough of them.
        sides = [_gradient_at(step, searchables, decides, sign * _DIFFERENCE * direction) for sign in (1, -1)]
        return (sides[0] - sides[1]) / (2 * _DIFFERENCE)

    start = torch.randn(size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return lanczos(product, start, min(iterations, size))


def lanczos(product: Callable[[Tensor], Tensor], start: Tensor, iterations: int) -> float:
    """The largest eigenvalue of a symmetric matrix in the Krylov space of a vector, with full orthogonalisation.

    Args:
        product: of the matrix and a vector `[size]`, float64.
        start: the vector.
        iterations: products at most.
    """
    basis = [start / start.norm()]
    columns: list[Tensor] = []
    for _ in range(iterations):
        columns.append(product(basis[-1]))
        rest = columns[-1].clone()
        for _ in range(2):
            for vector in basis:
                rest -= (rest @ vector) * vector
        if float(rest.norm()) <= 1e-9 * max(float(columns[-1].norm()), 1e-30):
            break
        basis.append(rest / rest.norm())
    space = torch.stack(basis[: len(columns)])
    projected = space @ torch.stack(columns).T
    return float(torch.linalg.eigvalsh((projected + projected.T) / 2)[-1])


def _gradient_at(step: SearchStep, searchables: list[Searchable], decides: list[Tensor], shift: Tensor) -> Tensor:
    """The gradient with the logits moved, `[size]`, float64 on the CPU; they are put back."""
    logits = [each.logits for each in searchables]
    before, asked = [each.detach().clone() for each in logits], [each.requires_grad for each in logits]
    parts = shift.split([int(each.sum()) for each in decides])
    try:
        with torch.no_grad():
            for each, chosen, part in zip(logits, decides, parts, strict=True):
                each[chosen] += part.to(each)
        for each in logits:
            each.requires_grad_(True)
        with torch.enable_grad():
            found = torch.autograd.grad(step.search_loss(), logits, allow_unused=True)
    finally:
        for each, was, value in zip(logits, asked, before, strict=True):
            each.requires_grad_(was)
            with torch.no_grad():
                each.copy_(value)
    gradients = [torch.zeros_like(v) if g is None else g for g, v in zip(found, before, strict=True)]
    chosen_parts = [gradient[chosen] for gradient, chosen in zip(gradients, decides, strict=True)]
    return torch.cat(chosen_parts).double().cpu()
