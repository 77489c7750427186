"""Molecules, written as SMILES, as graphs of atoms and bonds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils.smiles import e_map, x_map

from gnn_space.data.store import GraphStore

ATOM_CATEGORIES = tuple(len(values) for values in x_map.values())
"""Values of each of the nine columns that describe an atom, as in PyG's `from_smiles`."""

BOND_CATEGORIES = tuple(len(values) for values in e_map.values())
"""Values of each of the three columns that describe a bond."""


class _Columns:
    """The index of each value in its column; what a column does not list is put where it belongs.

    Args:
        columns: the values that each column lists: names of RDKit's kinds, or numbers.
        unlisted: for each column of kinds, the one that stands for all that are not listed.
    """

    def __init__(self, columns: dict[str, list[Any]], unlisted: dict[str, str]) -> None:
        self.index = {name: {value: place for place, value in enumerate(values)} for name, values in columns.items()}
        self.unlisted = unlisted
        # Molecules have few kinds of atoms and bonds; naming RDKit's kinds takes longer than all else.
        self.known: dict[tuple[Any, ...], list[int]] = {}

    def encode(self, row: tuple[Any, ...]) -> list[int]:
        places = self.known.get(row)
        if places is None:
            places = [self._place(name, value) for name, value in zip(self.index, row, strict=True)]
            self.known[row] = places
        return places

    def _place(self, name: str, value: Any) -> int:
        index = self.index[name]
        if name in self.unlisted:
            return index.get(str(value), index[self.unlisted[name]])
        return index[min(max(value, min(index)), max(index))]  # a number: the nearest one listed


# RDKit knows kinds that PyG's lists lack (SP2D hybridization, atropisomers); PyG fails on them.
_ATOM = _Columns(x_map, {"chirality": "CHI_OTHER", "hybridization": "OTHER"})
_BOND = _Columns(e_map, {"bond_type": "OTHER", "stereo": "STEREOANY"})


def import_chem() -> Any:
    """RDKit's `Chem`.

    Raises:
        ImportError: RDKit is not installed; the message says how to install it.
    """
    try:
        from rdkit import Chem
    except ImportError as error:
        raise ImportError('molecules need RDKit: pip install "automl-plugins[molecules]"') from error
    return Chem


def parse(smiles: str) -> Any:
    """RDKit's molecule of a SMILES, or None where it does not parse or has no atoms.

    Raises:
        ImportError: RDKit is not installed.
    """
    chem = import_chem()
    from rdkit import rdBase

    with rdBase.BlockLogs():  # we count what does not parse; RDKit would print several lines for each
        molecule = chem.MolFromSmiles(smiles)
    return molecule if molecule is not None and molecule.GetNumAtoms() > 0 else None


def molecule_graph(molecule: Any) -> Data:
    """An RDKit molecule as `torch_geometric.utils.from_smiles` describes it.

    Args:
        molecule: with implicit hydrogens, or they become nodes.

    Returns:
        `x` `[num_atoms, 9]`, `edge_index` `[2, 2 * num_bonds]` and `edge_attr` `[2 * num_bonds, 3]`,
        all integers.
    """
    atoms = [_ATOM.encode(_atom(atom)) for atom in molecule.GetAtoms()]
    bonds: list[tuple[int, int, list[int]]] = []
    for bond in molecule.GetBonds():
        begin, end = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        features = _BOND.encode((bond.GetBondType(), bond.GetStereo(), bond.GetIsConjugated()))
        bonds += [(begin, end, features), (end, begin, features)]
    bonds.sort(key=lambda bond: bond[:2])
    return Data(
        x=torch.tensor(atoms, dtype=torch.int64),
        edge_index=torch.tensor([bond[:2] for bond in bonds], dtype=torch.int64).view(-1, 2).t().contiguous(),
        edge_attr=torch.tensor([bond[2] for bond in bonds], dtype=torch.int64).view(-1, 3),
    )


def _atom(atom: Any) -> tuple[Any, ...]:
    return (
        atom.GetAtomicNum(),
        atom.GetChiralTag(),
        atom.GetTotalDegree(),
        atom.GetFormalCharge(),
        atom.GetTotalNumHs(),
        atom.GetNumRadicalElectrons(),
        atom.GetHybridization(),
        atom.GetIsAromatic(),
        atom.IsInRing(),
    )


def molecule_store(graphs: Sequence[Data], targets: Tensor) -> GraphStore:
    """Molecules with their targets `[num_molecules, num_targets]`."""
    for graph, target in zip(graphs, targets, strict=True):
        graph.y = target.unsqueeze(0)
    return GraphStore.from_graphs(graphs)
