"""From a run's folder to predictions for inputs without labels."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from automl_plugins import load_result
from automl_plugins.cli import main
from gnn_space.data import SmilesTable

pytestmark = pytest.mark.filterwarnings("ignore")

STUDY = """
space: {class_path: agnn, init_args: {layers: 1, dropout: 0.0, max_parameters: 60000}}
data:
  class_path: smiles
  init_args:
    {path: train.csv, smiles_column: molecule, target_columns: [mass, rings], batch_size: 16, descriptors: [rdkit]}
trials: 2
trial_epochs: 1
random_search: false
references: []
finalists: 2
seeds: 2
ensemble: 2
trainer: {max_epochs: 2, accelerator: cpu}
folder: run
"""
NEW = "note,molecule\na,CCO\nb,C1CC\nc,c1ccccc1\nd,\ne,CCN\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands are run: a study of two targets of molecules, 400 and more and about 1."""
    folder = tmp_path_factory.mktemp("predict")
    rows = "".join(f"{'C' * n}{'O' * (n % 4)},{400 + n},{1 + n / 100}\n" for n in range(1, 41))
    (folder / "train.csv").write_text(f"molecule,mass,rings\n{rows}")
    (folder / "new.csv").write_text(NEW)
    (folder / "study.yaml").write_text(STUDY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["study", "--config", "study.yaml"]) == 0
    return folder


@pytest.fixture(autouse=True)
def _inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def predicted(out: str, *flags: str) -> list[dict[str, str]]:
    """The rows that the command writes."""
    Path(out).unlink(missing_ok=True)
    assert main(["predict", "run", "--data.path", "new.csv", "--out", out, *flags]) == 0
    with Path(out).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_row_of_the_table_is_predicted_in_units_or_has_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    rows = predicted("all.csv")
    assert [(row["row"], row["smiles"], row["reason"]) for row in rows] == [
        ("2", "CCO", ""),
        ("3", "C1CC", "does not parse"),
        ("4", "c1ccccc1", ""),
        ("5", "", "is empty"),
        ("6", "CCN", ""),
    ]
    assert list(rows[0]) == ["row", "smiles", "mass", "rings", "spread/mass", "spread/rings", "reason"]
    assert [rows[1][name] for name in ("mass", "rings", "spread/mass")] == ["", "", ""]
    for place in (0, 2, 4):
        assert 350 < float(rows[place]["mass"]) < 500, "the targets are about 420"
        assert 0.5 < float(rows[place]["rings"]) < 2
        assert float(rows[place]["spread/mass"]) > 0
    told = capsys.readouterr()
    assert "3 of 5 inputs predicted, by 2 networks" in told.out
    assert told.err.endswith("2 of 5 inputs are not predicted; the first of them: row 3, smiles C1CC: does not parse\n")


def test_a_result_predicts_what_the_command_writes_and_needs_nothing_said_again() -> None:
    found = load_result("run")
    rows = {network: predicted("again.csv", "--networks", network) for network in ("all", "best", "ensemble")}
    inputs = found.unlabelled("new.csv")
    ((places, batch),) = list(inputs)
    assert list(places) == [0, 2, 4]
    assert inputs.skipped == {1: "does not parse", 3: "is empty"}
    for networks, several in (("all", True), ("best", False), ("ensemble", True)):
        prediction = found.predict(batch, networks)
        assert (prediction.spread is not None) is several
        for place, values in zip(places, prediction.values.tolist(), strict=True):
            written = [float(rows[networks][place][name]) for name in ("mass", "rings")]
            assert written == pytest.approx(values, rel=1e-5)
    call = (batch.x, batch.edge_index, batch.edge_attr, batch.batch, batch.num_graphs, batch.graph_attr)
    with torch.no_grad():
        best = found.predict(batch, "best").values
        torch.testing.assert_close(found.network().eval()(*call), best)
        torch.testing.assert_close(found.network(found.task).eval()(*call), best)
        torch.testing.assert_close(found.module().eval()(batch), best)
        torch.testing.assert_close(found.ensemble().eval()(*call), found.predict(batch, "ensemble").values)


def test_known_molecules_are_read_again_as_they_were_in_the_training(folder: Path) -> None:
    data = SmilesTable(folder / "train.csv", "molecule", ("mass", "rings"), batch_size=16, descriptors="rdkit")
    expected = {
        tuple(map(tuple, graph.x.tolist())): graph.graph_attr
        for store in (data.loaded.train, data.loaded.val, data.loaded.test)
        for graph in (store[index] for index in range(len(store)))
    }
    for _, batch in load_result("run").unlabelled("train.csv"):
        for graph in batch.to_data_list():
            assert torch.equal(graph.graph_attr, expected[tuple(map(tuple, graph.x.tolist()))])


def test_what_predictions_need_is_plain_json_and_tensors() -> None:
    kept = json.loads(Path("run/preprocessing.json").read_text())
    assert kept["names"] == ["mass", "rings"]
    assert kept["reading"]["smiles_column"] == "molecule"
    assert len(kept["statistics"]["target_mean"]) == 2
    tensors = torch.load("run/preprocessing.pt", weights_only=True)
    assert tensors.keys() == {"known"}


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["nowhere", "--data.path", "new.csv", "--out", "x.csv"], "'nowhere': there is no such folder"),
        (["new.csv", "--data.path", "new.csv", "--out", "x.csv"], "is a file; name the folder of a run"),
        ([".", "--data.path", "new.csv", "--out", "x.csv"], "is no folder of a study, a search"),
        (["run", "--data.path", "neu.csv", "--out", "x.csv"], "no such file or folder; did you mean 'new.csv'?"),
        (["run", "--data.path", "empty.csv", "--out", "x.csv"], "the file is empty"),
        (["run", "--out", "x.csv"], "data.path is missing"),
        (["run", "new.csv", "--out", "x.csv"], "given as --data.path new.csv"),
        (["run", "--data.path", "new.csv"], "out is missing"),
        (["run", "--data.path", "new.csv", "--out", "train.csv"], "give --overwrite"),
        (["run", "--data.path", "new.csv", "--out", "run"], "it is a folder; name a file in it"),
        (["run", "--data.path", "new.csv", "--out", "train.csv/x.csv"], "is a file, and no folder"),
        (["run", "--data.path", "new.csv", "--out", "x.csv", "--networks", "most"], "networks='most': it is one of"),
        (["run", "--data.path", "new.csv", "--out", "x.csv", "--data.target", "x"], "data.target: inputs are made"),
        (["run", "--data.path", "new.csv", "--out", "x.csv", "--probabilities"], "is for pixels"),
        (["run", "--data.path", "new.csv", "--out", "x.csv", "--ckpt_path", "x.ckpt"], "there is no such file"),
        (["run", "--data.path", "new.csv", "--out", "x.csv", "--data.smiles_column", "a"], "has no column a"),
        (["run", "--data.path", "new.csv", "--out", "x.csv", "--data.smiles_column", "note"], "none of the 5 inputs"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    flags: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty.csv").touch()
    assert main(["predict", *flags]) in (1, 2)
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not Path("x.csv").exists()


def test_mistakes_do_not_wait_for_torch() -> None:
    code = "import sys; from automl_plugins.cli import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    flags = ["predict", "run", "--data.path", "nowhere.csv", "--out", "x.csv"]
    ran = subprocess.run([sys.executable, "-c", code, *flags], capture_output=True, text=True, check=True)
    assert "there is no such file or folder" in ran.stderr
    assert ran.stdout == "False\n"


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (["study.json"], "has no winner yet; `automl-plugins study --config"),
        (["architecture.json", "search.json"], "has an architecture and no trained network; `automl-plugins evaluate"),
        (["checkpoints/last.ckpt"], "has a search that has not ended"),
        (["architecture.json", "evaluation/config.yaml"], "has an evaluation that has not ended"),
    ],
)
def test_a_run_without_a_trained_network_says_what_trains_one(
    files: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert main(["predict", str(tmp_path), "--data.path", "new.csv", "--out", "x.csv"]) == 2
    assert told in capsys.readouterr().err


def test_one_that_was_evaluated_predicts_with_what_the_evaluation_trained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "run/architecture.json", "--folder", "evaluated/evaluation", "--seeds", "1"]) == 0
    for name in ("architecture.json", "config.yaml"):  # as after a search
        Path("evaluated", name).write_text(Path("run", name).read_text())
    assert main(["predict", "evaluated", "--data.path", "new.csv", "--out", "evaluated.csv"]) == 0
    assert "3 of 5 inputs predicted\n" in capsys.readouterr().out
    found = load_result("evaluated")
    ((_, batch),) = list(found.unlabelled("new.csv"))
    assert 350 < found.predict(batch).values[0, 0] < 500


def test_a_fit_predicts_with_its_checkpoint_and_the_runs_checkpoint_is_taken_by_all_that_take_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint = ["--config", "run/config.yaml", "--ckpt_path", "run/module.ckpt", "--trainer.logger", "false"]
    assert main(["test", *checkpoint]) == 0
    assert main(["fit", "--config", "run/config.yaml", "--ckpt_path", "run/module.ckpt"]) == 0
    ((log),) = Path("lightning_logs").iterdir()
    capsys.readouterr()
    assert main(["predict", str(log), "--data.path", "new.csv", "--out", "fit.csv"]) == 0
    assert "3 of 5 inputs predicted\n" in capsys.readouterr().out
    given = ["--data.path", "new.csv", "--out", "checkpoint.csv", *checkpoint[:4]]
    assert main(["predict", *given]) == 0
    best = predicted("best.csv", "--networks", "best")
    with Path("checkpoint.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == best
