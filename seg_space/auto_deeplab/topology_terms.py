"""The terms that a search of several paths adds to its loss: entropies, mismatch of layers, and memory."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from automl_plugins.supernets.topology import TopologyTerms
from seg_space.auto_deeplab.cell import CONVOLUTIONS, GATE_OPTIONS, IDENTITY, NONE, gate_name, states_before
from seg_space.auto_deeplab.edges import MultiPath
from seg_space.auto_deeplab.sizes import Sizes
from seg_space.auto_deeplab.topology import conditional, ends_of, inside, mismatch, pattern_entropy

# A stage of a convolution keeps what is rectified, convolved depthwise and convolved with 1x1; a pooling what is
# pooled, and the maximum its positions.
KEPT = {
    NONE: 0,
    IDENTITY: 0,
    "average_pool": 1,
    "max_pool": 2,
    **{name: 3 * convolution.stages for name, convolution in CONVOLUTIONS.items()},
}
"""The number of feature maps that an operation of a network keeps for the backward pass, beside its input."""


def topology_terms(sizes: Sizes, edges: MultiPath, gates: Mapping[str, Tensor]) -> TopologyTerms:
    """The terms that `AutoDeepLabSpace.topology_terms` gives; see `TopologyTerms`.

    Memory is that of the feature maps which resizing and cells keep for the backward pass, as if each edge had a cell
    of its own (with `merge_inputs` it has none), for the operations that are probable now, which the edges' share
    hardly depends on. Stem and head do not count.

    Args:
        sizes: the cell's blocks, and the channels.
        edges: of the space.
        gates: probabilities of the options.
    """
    layers = range(1, sizes.layers + 1)
    on = {layer: inside(edges.probabilities(gates, layer)) for layer in layers}
    ends = {layer: ends_of(sizes.trellis, layer) for layer in layers}
    names = [gate_name(block, state) for block in range(sizes.blocks) for state in range(states_before(block))]
    operations = torch.stack([gates[name] for name in names])
    pairs = [mismatch(on[layer], on[layer + 1], (ends[layer], ends[layer + 1])) for layer in layers[:-1]]
    return TopologyTerms(
        arrow_entropy=torch.stack([pattern_entropy(shares) for shares in on.values()]).mean(),
        operation_entropy=_entropy(operations),
        mismatch=torch.stack(pairs).sum() if pairs else operations.new_zeros(()),
        memory=_memory(sizes, on, operations),
    )


def _entropy(shares: Tensor) -> Tensor:
    """The mean entropy of rows, as a share of the largest that there can be."""
    # Without zeros, at which the gradient of the entropy is infinite.
    shares = shares.clamp(min=torch.finfo(shares.dtype).eps)
    return torch.special.entr(shares).sum(dim=1).mean() / math.log(shares.size(1))


def _memory(sizes: Sizes, on: Mapping[int, Tensor], operations: Tensor) -> Tensor:
    """The expected values that are kept, as a share of those with all edges on."""
    stored = torch.tensor([KEPT[name] for name in GATE_OPTIONS], dtype=operations.dtype, device=operations.device)
    # The feature maps of a cell: those that its operations keep, and its blocks.
    of_cell = (operations * stored).sum() + sizes.blocks
    used = full = operations.new_zeros(())
    for layer, shares in on.items():
        costs = []
        for source, target in sizes.trellis.edges_into(layer):
            channels = sizes.state_channels(target)
            # The values of a state, and those of the input that is rectified, for each pixel of the image.
            state, incoming = channels / target**2, sizes.map_channels(layer - 1, source) / source**2
            costs.append((of_cell + 1) * state + incoming)
        cost = torch.stack(costs)
        used = used + (conditional(shares) * cost).sum()
        full = full + cost.sum()
    return used / full
