"""The package: cheap to import, and everything public is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from jsonargparse import ArgumentParser

import gnn_space.data


@pytest.mark.parametrize("name", gnn_space.data.__all__)
def test_every_public_datamodule_is_there(name: str) -> None:
    datamodule = getattr(gnn_space.data, name)
    assert datamodule.__name__ == name
    assert name in dir(gnn_space.data)


def test_a_name_that_is_not_there_is_refused() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'CoraData'"):
        _ = gnn_space.data.CoraData


def test_importing_the_package_imports_no_pyg_and_no_rdkit() -> None:
    code = "import sys, gnn_space.data; sys.exit(bool({'torch_geometric', 'rdkit', 'datamol'} & set(sys.modules)))"
    root = Path(gnn_space.data.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


CONFIGS = {
    "AmazonData": {"name": "Computers", "root": "here", "steps_per_epoch": 2},
    "ClusterData": {"num_train": 10, "edge_features": True},
    "CoauthorData": {"name": "Physics"},
    "EdgeCommunityData": {"num_val": 3},
    "FreesolvData": {"batch_size": 8},
    "NpzGraphData": {"path": "graph.npz", "normalize_features": False},
    "PatternData": {"seed": 3},
    "PlanetoidData": {"name": "PubMed", "split": "random"},
    "SmilesTable": {
        "path": "table.csv",
        "smiles_column": "smiles",
        "target_columns": ["a", "b"],
        "target": "multilabel",
        "fractions": [0.7, 0.2, 0.1],
    },
    "SolubilityData": {"seed": 1},
    "TUData": {"name": "ENZYMES"},
}


@pytest.mark.parametrize("name", gnn_space.data.__all__)
def test_a_datamodule_is_made_from_a_yaml_config(name: str) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(getattr(gnn_space.data, name), "data")
    datamodule = parser.instantiate(parser.parse_object({"data": CONFIGS[name]})).data
    for argument, value in CONFIGS[name].items():
        given = getattr(datamodule, argument)
        assert (list(given) if isinstance(value, list) else str(given)) == (
            value if isinstance(value, list) else str(value)
        )


@pytest.mark.parametrize(("text", "columns"), [("a", ("a",)), ('["a", "b"]', ("a", "b"))])
def test_target_columns_on_a_command_line(text: str, columns: tuple[str, ...]) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(gnn_space.data.SmilesTable, "data")
    arguments = ["--data.path=t.csv", "--data.smiles_column=s", f"--data.target_columns={text}"]
    assert parser.instantiate(parser.parse_args(arguments)).data.target_columns == columns
