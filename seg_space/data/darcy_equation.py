"""Darcy flow: random permeabilities, and the pressure that the equation gives for them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]

HIGH, LOW = 12.0, 3.0
"""The two permeabilities."""
TAU_SQUARED = 9.0


def permeability(size: int, random: np.random.Generator) -> npt.NDArray[np.bool_]:
    """The places of high permeability, `[size, size]`, as in Li et al. 2021 (arXiv 2010.08895, section 5.2).

    A Gaussian field with the covariance (-Laplace + 9 I)^-2 and zero Neumann conditions, cut at 0. Its modes are
    cosines; those that the grid resolves are summed. The constant one is left out, so that both values have about
    half of the area.

    Args:
        size: nodes a side, the boundary included.
        random: what is drawn from.
    """
    wave = np.arange(size)
    scale = 1.0 / (np.pi**2 * (wave[:, None] ** 2 + wave[None, :] ** 2) + TAU_SQUARED)
    # Orthonormal on the unit interval.
    norm = np.where(wave == 0, 1.0, np.sqrt(2.0))
    cosines = np.cos(np.pi * np.outer(np.arange(size) / (size - 1), wave)) * norm
    weights = random.standard_normal((size, size)) * scale
    weights[0, 0] = 0.0
    return cosines @ weights @ cosines.T >= 0


def pressure(coefficients: Reals) -> Reals:
    """The solution u of -div(a grad u) = 1 on the unit square, 0 on its boundary.

    Five-point finite differences; the flux between two nodes has the mean of their permeabilities. The system is
    solved directly, grid row by grid row (block elimination), in float64: exact for the grid, many samples at once.

    Args:
        coefficients: a at the nodes, `[samples, size, size]`, the boundary included.

    Returns:
        u at the nodes, of the same shape.
    """
    size = coefficients.shape[1]
    inner = size - 2
    vertical = (coefficients[:, 1:, 1:-1] + coefficients[:, :-1, 1:-1]) / 2  # [samples, inner + 1, inner]
    horizontal = (coefficients[:, 1:-1, 1:] + coefficients[:, 1:-1, :-1]) / 2  # [samples, inner, inner + 1]
    diagonal = vertical[:, 1:] + vertical[:, :-1] + horizontal[:, :, 1:] + horizontal[:, :, :-1]
    source = np.full((len(coefficients), inner), 1.0 / (size - 1) ** 2)
    place = np.arange(inner)
    inverses: list[Reals] = []
    rights: list[Reals] = []
    for row in range(inner):
        block = np.zeros((len(coefficients), inner, inner))
        block[:, place, place] = diagonal[:, row]
        block[:, place[:-1], place[1:]] = block[:, place[1:], place[:-1]] = -horizontal[:, row, 1:-1]
        right = source
        if row > 0:
            # The rows before are eliminated; the blocks beside the diagonal are diagonal themselves.
            above = vertical[:, row]
            block -= above[:, :, None] * inverses[-1] * above[:, None, :]
            right = source + above * _times(inverses[-1], rights[-1])
        inverses.append(np.linalg.inv(block))
        rights.append(right)
    solution = np.zeros_like(coefficients)
    for row in reversed(range(inner)):
        # The boundary row after the last one is 0.
        below = vertical[:, row + 1] * solution[:, row + 2, 1:-1]
        solution[:, row + 1, 1:-1] = _times(inverses[row], rights[row] + below)
    return solution


def _times(matrices: Reals, vectors: Reals) -> Reals:
    return (matrices @ vectors[:, :, None])[:, :, 0]
