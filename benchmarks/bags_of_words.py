"""Generated citation graphs: communities whose papers have words of their own."""

from __future__ import annotations

import numpy as np
import torch
from torch_geometric.data import Data

from automl_plugins.training.data.splits import mask
from gnn_space.data.single import SingleGraphData

CLASSES = 5
LABELLED = 20
"""Training nodes of a class, as in the public split of Cora; 500 validate, the others test."""


class BagsOfWords(SingleGraphData):
    """Papers in communities: most of their links stay inside, and some words are commoner there than elsewhere.

    Words are drawn by Zipf's law, and the share of each is multiplied by a factor of the class, `exp(normal)`.

    Args:
        columns: words that there are.
        nodes: papers.
        words: of a paper, on average.
        degree: links of a paper, on average.
        inside: share of the links that stay in the community.
        sparse_features: give `x` in CSR layout, see `SingleGraphData`.
        seed: of everything.
    """

    def __init__(
        self,
        columns: int = 500,
        nodes: int = 1000,
        words: int = 20,
        degree: int = 4,
        inside: float = 0.8,
        sparse_features: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(1, normalize_features=True, sparse_features=sparse_features, seed=seed)
        self.columns, self.nodes, self.words, self.degree, self.inside = columns, nodes, words, degree, inside

    def _read(self) -> Data:
        random = np.random.default_rng(self.seed)
        y = random.integers(CLASSES, size=self.nodes)
        shares = np.exp(random.normal(size=(CLASSES, self.columns))) / np.arange(1, self.columns + 1)
        shares /= shares.sum(axis=1, keepdims=True)
        x = torch.zeros(self.nodes, self.columns)
        for node, label in enumerate(y):
            x[node, random.choice(self.columns, size=1 + random.poisson(self.words), p=shares[label])] = 1.0
        source = random.integers(self.nodes, size=self.nodes * self.degree // 2)
        members = [np.flatnonzero(y == label) for label in range(CLASSES)]
        stays = random.random(len(source)) < self.inside
        target = [
            random.choice(members[y[node]] if stay else self.nodes) for node, stay in zip(source, stays, strict=True)
        ]
        order = random.permutation(self.nodes)
        train = np.concatenate([order[y[order] == label][:LABELLED] for label in range(CLASSES)])
        rest = np.setdiff1d(order, train)
        random.shuffle(rest)
        held = min(500, 2 * len(rest) // 3)
        parts = (torch.from_numpy(part) for part in (train, rest[:held], rest[held:]))
        graph = Data(x=x, edge_index=torch.from_numpy(np.stack([source, np.array(target)])), y=torch.from_numpy(y))
        graph.train_mask, graph.val_mask, graph.test_mask = (mask(self.nodes, part) for part in parts)
        return graph
