"""The scaffold split: no ring system stands in two parts (Bemis and Murcko 1996)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def scaffold(molecule: Any) -> str:
    """The SMILES of a molecule's rings and what links them, without stereochemistry; empty where it has no ring."""
    from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles

    return str(MurckoScaffoldSmiles(mol=molecule, includeChirality=False))  # type: ignore[no-untyped-call]


def scaffold_split(molecules: Sequence[Any], fractions: Sequence[float]) -> list[Tensor]:
    """Index sets of training, validation and test that share no scaffold, as DeepChem and OGB make them.

    Scaffolds of many molecules come first, so that the test has the rare ones; each goes into the first part that it
    fits into. Nothing is drawn at random.

    Args:
        molecules: RDKit's.
        fractions: the shares of the three parts.

    Returns:
        Three sorted integer tensors that cover `0 .. len(molecules) - 1`.

    Raises:
        ValueError: a part would be empty.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index, molecule in enumerate(molecules):
        groups[scaffold(molecule)].append(index)
    ordered = sorted(groups.values(), key=lambda group: (-len(group), group[0]))
    parts: list[list[int]] = [[], [], []]
    for group in ordered:
        room = [share * len(molecules) - len(part) for share, part in zip(fractions, parts, strict=True)]
        # What is too large for any part belongs to the training.
        fits = [place for place in range(2) if len(group) <= room[place] + 1e-6]
        parts[fits[0] if fits else 2 if parts[0] else 0] += group
    if not all(parts):
        raise ValueError(
            f"a scaffold split of {len(molecules)} molecules of {len(groups)} scaffolds, the largest with "
            f"{len(ordered[0]) if ordered else 0}, would have {', '.join(str(len(part)) for part in parts)} molecules; "
            "give other fractions, or take split='random'"
        )
    return [torch.tensor(sorted(part), dtype=torch.int64) for part in parts]
