"""A search in a plain PyTorch loop: two optimizers, and no framework.

The data are the handwritten digits that come with scikit-learn: 8x8 pixels, ten classes.

    OMP_NUM_THREADS=1 python examples/plain_loop.py
"""

from __future__ import annotations

import argparse

import torch
from own_space import VectorCellSpace
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split

from automl_plugins import Architecture, Task


def batches(data: Dataset[tuple[Tensor, ...]]) -> DataLoader[tuple[Tensor, ...]]:
    """Images `[64, 64]` and labels `[64]`, in random order."""
    return DataLoader(data, batch_size=64, shuffle=True)


def step(network: nn.Module, optimizer: torch.optim.Optimizer, batch: list[Tensor]) -> None:
    """One step of one optimizer."""
    images, labels = batch
    network.train().zero_grad()
    cross_entropy(network(images), labels).backward()
    optimizer.step()


def accuracy(network: nn.Module, data: Dataset[tuple[Tensor, ...]]) -> float:
    """The share of images whose digit is told."""
    images, labels = next(iter(DataLoader(data, batch_size=10_000)))
    with torch.no_grad():
        return float((network.eval()(images).argmax(dim=1) == labels).float().mean())


def main(epochs: int = 30, warm_up: int = 5, seed: int = 0) -> tuple[Architecture, float, float]:
    """Search, derive, retrain.

    Args:
        epochs: of the search, and of the retraining.
        warm_up: epochs before the logits move. Without them all three edges become `skip`, which
            needs no training: the collapse that DARTS is known for.
        seed: of the split, the weights and the batches.

    Returns:
        The architecture, and the test accuracies of the supernet and of the retrained network.
    """
    torch.manual_seed(seed)
    images, labels = load_digits(return_X_y=True)
    digits = TensorDataset(torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels))
    weight_data, logit_data, test_data = random_split(digits, (0.35, 0.35, 0.3))

    searchable = VectorCellSpace().searchable(Task("node", "classes", in_channels=64, out_channels=10), seed=seed)
    weights = torch.optim.Adam(searchable.weight_parameters(), lr=3e-3)
    logits = torch.optim.Adam(searchable.architecture_parameters(), lr=3e-2)
    for epoch in range(epochs):
        for weight_batch, logit_batch in zip(batches(weight_data), batches(logit_data), strict=True):
            if epoch >= warm_up:
                step(searchable, logits, logit_batch)
            step(searchable, weights, weight_batch)
    searched = accuracy(searchable, test_data)

    architecture = searchable.architecture()
    network = searchable.derive()  # an ordinary module, freshly initialised
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(epochs):
        for batch in batches(weight_data + logit_data):
            step(network, optimizer, batch)
    retrained = accuracy(network, test_data)

    print(architecture.to_json())
    print(f"entropy of the choices: {searchable.entropy():.3f} (1: undecided)")
    print(f"test accuracy of the supernet:       {searched:.3f}")
    print(f"test accuracy of the retrained cell: {retrained:.3f}")
    return architecture, searched, retrained


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--warm_up", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    main(**vars(parser.parse_args()))
