"""One graph as several batches."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch_geometric.data import Data

from automl_plugins.training.data.batches import FixedBatches
from automl_plugins.training.data.splits import mask, random_split


class RepeatedBatch(FixedBatches):
    """One full-batch graph given several times, so that an epoch has several optimizer steps.

    An epoch of Lightning costs about as much as a small graph's step; validating after every step
    would double the price of training.

    Args:
        batch: the graph.
        times: how often a pass gives it.
    """

    def __init__(self, batch: Data, times: int) -> None:
        super().__init__([batch] * times)

    def split(self, fraction: float, seed: int) -> tuple[RepeatedBatch, RepeatedBatch]:
        """Share the training nodes out: a search learns weights on some, and the architecture on the others.

        Args:
            fraction: of the nodes in `train_mask`, for the second part.
            seed: of the split.

        Returns:
            The graph with the first part as `train_mask`, and with the second.

        Raises:
            ValueError: there are too few training nodes.
        """
        graph = self.batches[0]
        nodes = graph.train_mask.nonzero().flatten()
        halves = []
        for part in random_split(len(nodes), (1 - fraction, fraction), seed):
            half = copy.copy(graph)
            half.train_mask = mask(len(graph.train_mask), nodes[part])
            halves.append(RepeatedBatch(half, len(self)))
        return halves[0], halves[1]

    def state_dict(self) -> dict[str, Any]:
        """Nothing: all batches are the same, so a pass that was broken off can be gone on with at any of them."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing: see `state_dict`."""
