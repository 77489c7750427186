"""Synthetic signals on the nodes of graphs, which untrained networks are fitted to (GenNAS, carried over to graphs)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_HOPS = 3
_DELTAS = 0.05
"""The share of nodes that a diffused signal starts from."""
_STEPS = 4
"""Of the diffusion."""


def node_signals(
    x: Tensor, edge_index: Tensor, edge_attr: Tensor | None, channels: int, generator: torch.Generator
) -> dict[str, Tensor]:
    r"""Signals by kind.

    With the mean over neighbours and the node itself, P, and normal random maps R, :math:`k = 0, 1, 2, 3` by turns:

    - `low`: :math:`P^k x R`, and `high`: :math:`(1 - P) P^k x R`, of the nodes' features x.
    - `diffused`: :math:`P^4 s`, where s is 1 or -1 at a few random nodes.
    - `spectral`: random mixtures of the probabilities to be back after 1 to 8 steps of a random walk, which its
      eigenvalues settle; by Hutchinson's estimate, so that large graphs cost no more than sparse products.
    - `edges`, where edges have features e: :math:`P^k` of the sum over neighbours of :math:`(e R_e) \cdot (x R)`.

    Categories count as random normal vectors, a different one for each.

    Args:
        x: `[num_nodes, node_channels]`.
        edge_index: `[2, num_edges]`.
        edge_attr: `[num_edges, edge_channels]`, or None.
        channels: of each signal.
        generator: of all draws, on the CPU.

    Returns:
        kind -> `[num_nodes, channels]`.
    """
    source, target = edge_index
    degree = x.new_ones(len(x), 1, dtype=torch.get_default_dtype())
    degree = degree.index_add(0, target, degree.new_ones(len(target), 1))

    def mean(state: Tensor) -> Tensor:
        return state.index_add(0, target, state[source]) / degree

    projected = _projected(x, channels, generator)
    signals = {"low": torch.empty_like(projected), "high": torch.empty_like(projected)}
    _by_turns(signals, projected, mean)
    deltas = torch.zeros(len(x), channels)
    chosen = torch.rand(deltas.shape, generator=generator) < _DELTAS
    signs = torch.randint(2, deltas.shape, generator=generator) * 2 - 1
    diffused = torch.where(chosen, signs, deltas).to(projected)
    for _ in range(_STEPS):
        diffused = mean(diffused)
    signals["diffused"] = diffused
    signals["spectral"] = _returns(len(x), mean, generator, projected) @ _normal((8, channels), generator, projected)
    if edge_attr is not None and edge_attr.numel():
        messages = _projected(edge_attr, channels, generator) * projected[source]
        signals["edges"] = mean(torch.zeros_like(projected).index_add(0, target, messages))
    return signals


def standardised(signal: Tensor) -> Tensor:
    """A signal `[num_rows, channels]` with mean 0 and deviation 1 in each channel; 0 where a channel is constant."""
    centred = signal - signal.mean(0)
    deviation = centred.std(0, correction=0)
    scale = signal.abs().amax(0).clamp(min=1e-12)
    return torch.where(deviation > 1e-6 * scale, centred / deviation.clamp(min=1e-30), 0.0)


def _by_turns(signals: dict[str, Tensor], state: Tensor, mean: Callable[[Tensor], Tensor]) -> None:
    for hop in range(_HOPS + 1):
        smooth = mean(state)
        signals["low"][:, hop :: _HOPS + 1] = state[:, hop :: _HOPS + 1]
        signals["high"][:, hop :: _HOPS + 1] = (state - smooth)[:, hop :: _HOPS + 1]
        state = smooth


def _returns(nodes: int, mean: Callable[[Tensor], Tensor], generator: torch.Generator, like: Tensor) -> Tensor:
    """The probability to be back after 1 to 8 steps, `[num_nodes, 8]`."""
    probes = (torch.randint(2, (nodes, 16), generator=generator) * 2 - 1).to(like)
    state, columns = probes, []
    for _ in range(8):
        state = mean(state)
        columns.append((probes * state).mean(1))
    return torch.stack(columns, dim=1)


def _projected(features: Tensor, channels: int, generator: torch.Generator) -> Tensor:
    """A random map of features, each category as a random vector."""
    if features.is_floating_point():
        flat = features.flatten(1)
        return flat @ _normal((flat.shape[1], channels), generator, flat)
    total = torch.zeros(len(features), channels, device=features.device)
    for column in features.reshape(len(features), -1).T:
        # By value, not by what happens to be in the batch.
        table = _normal((int(column.max()) + 1, channels), generator, total)
        total += table[column]
    return total


def _normal(shape: tuple[int, int], generator: torch.Generator, like: Tensor) -> Tensor:
    return torch.randn(shape, generator=generator).to(like)
