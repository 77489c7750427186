"""Features of whole molecules: RDKit's descriptors, and counts of circular fragments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from automl_plugins.system.nearest import did_you_mean

Descriptors = Literal["rdkit", "morgan"]

_MORGAN_COLUMNS = 2048
_MORGAN_RADIUS = 2
_MOST_DESCRIBED = 20_000
"""Molecules that take a minute and a half to describe, in every process that reads them."""
_OF_SMALL = ("Ipc", "AvgIpc")
_SMALL = 100
"""Atoms, hydrogen not counted, up to which RDKit computes the descriptors `_OF_SMALL`.

They sum up coefficients of a characteristic polynomial, in time of the fourth power of the atoms, and rounding grows
along the way: of a chain of 100 carbons the sum is .4 % off, of 120 by a factor of 3e4, of 500, where both take most of
a minute, by 1e66."""


def check_descriptors(names: str | Sequence[str]) -> tuple[Descriptors, ...]:
    """The names of kinds of descriptors, each once, in their order.

    Raises:
        ValueError: there is no such kind, or one is named twice.
    """
    found = (names,) if isinstance(names, str) else tuple(names)
    for name in found:
        if name not in get_args(Descriptors):
            raise ValueError(f"descriptors: there is no {name!r}; {did_you_mean(str(name), get_args(Descriptors))}")
    if len(set(found)) < len(found):
        raise ValueError(f"descriptors names a kind twice: {', '.join(found)}")
    return found  # type: ignore[return-value]


def recommended_descriptors(molecules: int) -> tuple[Descriptors, ...]:
    """The kinds that a table of so many molecules is read with where nothing is said; none for large ones.

    RDKit's, with which GIN's and GatedGCN's validation scores are better on ESOL, FreeSolv and BBBP, by which this was
    chosen; with Morgan counts they are much worse on ESOL (`benchmarks/descriptors.py`).
    """
    return ("rdkit",) if molecules <= _MOST_DESCRIBED else ()


def molecule_features(
    molecules: Sequence[Any], names: Sequence[Descriptors], training: Tensor
) -> tuple[Tensor, Tensor]:
    """The features of whole molecules, float32 `[num_molecules, channels]`.

    - `rdkit`: all descriptors that RDKit lists (two hundred odd; how many, its version decides), each scaled by rank:
      the share of *training* molecules that lie below, minus one half, so that no outlier and no unit counts. A
      descriptor that RDKit cannot compute is 0, the middle; so are `Ipc` and `AvgIpc` of molecules of more than 100
      atoms (hydrogen not counted), where they take minutes and are lost in rounding.
    - `morgan`: how often each of 2,048 hashed circular fragments of radius 2 occurs (Rogers and Hahn 2010).

    Args:
        molecules: RDKit's.
        names: kinds of features, side by side in this order.
        training: places of the training molecules, the only ones that ranks are made of.

    Returns:
        The features, and the training molecules' descriptors, by which `further_features` ranks those of others.
    """
    values = _values(molecules, names)
    known = torch.from_numpy(np.sort(values[training.numpy()], axis=0))
    return _features(molecules, names, values, known), known


def further_features(molecules: Sequence[Any], names: Sequence[Descriptors], known: Tensor) -> Tensor:
    """The features of molecules that are none of the data, as `molecule_features` gives those of the data.

    Args:
        molecules: RDKit's.
        names: kinds of features.
        known: the training molecules' descriptors, from `molecule_features`.

    Raises:
        ValueError: this version of RDKit lists another number of descriptors.
    """
    values = _values(molecules, names)
    if values.shape[1] != known.size(1):
        raise ValueError(
            f"this version of RDKit lists {values.shape[1]} descriptors, and that of the training {known.size(1)}; "
            "install that one again"
        )
    return _features(molecules, names, values, known)


def _values(molecules: Sequence[Any], names: Sequence[Descriptors]) -> np.ndarray:
    """RDKit's descriptors as they are, `[num_molecules, num_descriptors]`; none where they are not asked for."""
    return _rdkit(molecules) if "rdkit" in names else np.empty((len(molecules), 0))


def _features(molecules: Sequence[Any], names: Sequence[Descriptors], values: np.ndarray, known: Tensor) -> Tensor:
    kinds: dict[Descriptors, Callable[[], Tensor]] = {
        "rdkit": lambda: ranks(values, known),
        "morgan": lambda: _morgan(molecules),
    }
    return torch.cat([kinds[name]() for name in names], dim=1)


def ranks(values: np.ndarray, known: Tensor) -> Tensor:
    """Columns scaled by rank to -1/2 .. 1/2, float32; ties lie in the middle of their ranks, nan at 0.

    Args:
        values: `[num_rows, num_columns]`, infinities allowed.
        known: the values that they are ranked against, `[num_known, num_columns]`, ascending in each column, nan last.
    """
    scaled = np.zeros(values.shape, dtype=np.float32)
    for column, entries in enumerate(values.T):
        ordered = known[:, column].numpy()
        ordered = ordered[~np.isnan(ordered)]
        if len(ordered) == 0:
            continue
        middle = (np.searchsorted(ordered, entries, "left") + np.searchsorted(ordered, entries, "right")) / 2
        scaled[:, column] = np.where(np.isnan(entries), 0.0, middle / len(ordered) - 0.5)
    return torch.from_numpy(scaled)


def _rdkit(molecules: Sequence[Any]) -> np.ndarray:
    from rdkit import rdBase
    from rdkit.Chem import Descriptors as functions

    listed: list[tuple[str, Callable[[Any], float]]] = functions.descList
    with rdBase.BlockLogs():
        rows = [[_described(molecule, *descriptor) for descriptor in listed] for molecule in molecules]
    return np.array(rows, dtype=np.float64)


def _described(molecule: Any, name: str, descriptor: Callable[[Any], float]) -> float:
    """A descriptor of a molecule, nan where RDKit cannot compute it, as its `CalcMolDescriptors` has it."""
    if name in _OF_SMALL and molecule.GetNumHeavyAtoms() > _SMALL:
        return np.nan
    try:
        return descriptor(molecule)
    except Exception:  # noqa: BLE001 -- whatever one of two hundred functions raises
        return np.nan


def _morgan(molecules: Sequence[Any]) -> Tensor:
    from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

    generator = GetMorganGenerator(radius=_MORGAN_RADIUS, fpSize=_MORGAN_COLUMNS)
    counts = [generator.GetCountFingerprintAsNumPy(molecule) for molecule in molecules]
    return torch.from_numpy(np.stack(counts).astype(np.float32))
