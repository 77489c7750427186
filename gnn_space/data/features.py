"""The features of a graph's nodes as networks are given them."""

from __future__ import annotations

import warnings

from torch import Tensor


def as_learned(x: Tensor, normalize: bool, sparse: bool) -> Tensor:
    """Features as a datamodule's arguments have them.

    Args:
        x: `[num_nodes, num_features]`.
        normalize: scale every node's features to sum to 1.
        sparse: give them in CSR layout.
    """
    x = normalize_rows(x) if normalize else x
    return _compressed(x) if sparse else x


def normalize_rows(x: Tensor) -> Tensor:
    """Each row divided by the sum of its absolute values; a row of zeros stays one."""
    total = x.abs().sum(dim=1, keepdim=True)
    return x / total.masked_fill(total == 0, 1.0)


def _compressed(x: Tensor) -> Tensor:
    with warnings.catch_warnings():
        # The few functions that we use of it are settled; what torch calls beta is the rest.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        return x.to_sparse_csr()
