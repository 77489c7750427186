"""`export RUN --format python`: from whatever a run has left to a file that needs nothing of ours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from automl_plugins import Task
from automl_plugins.cli import main
from automl_plugins.training.plain_file import load_plain
from automl_plugins.training.preprocessing import Preprocessing
from gnn_space import AGNNSpace
from gnn_space.probe import GraphProbe

TASK = Task("graph", "regression", in_channels=4, out_channels=1)
SPACE = AGNNSpace(layers=1, hidden_channels=(4,), heads=(2,))
ARCHITECTURE = SPACE.sample(np.random.default_rng(1))
CONFIG = """\
space: {class_path: agnn, init_args: {layers: 1, hidden_channels: [4], heads: [2]}}
task: {level: graph, target: regression, in_channels: 4, out_channels: 1}
"""
STATE = {"mean": torch.tensor([2.0]), "scale": torch.tensor([3.0])}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a study, as far as `export` reads it."""
    torch.manual_seed(0)
    state = SPACE.network(ARCHITECTURE, TASK).state_dict()
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "architecture.json").write_text(ARCHITECTURE.to_json())
    (folder / "config.yaml").write_text(CONFIG)
    torch.save(state, folder / "network.pt")
    around = {f"network.{name}": value for name, value in state.items()} | STATE
    torch.save({"state_dict": around, "pytorch-lightning_version": "2.6.0"}, folder / "module.ckpt")
    return folder


def expected(folder: Path) -> torch.Tensor:
    network = SPACE.network(ARCHITECTURE, TASK).eval()
    network.load_state_dict(torch.load(folder / "network.pt", weights_only=True))
    with torch.no_grad():
        return network(*batch())


def batch() -> tuple:
    return GraphProbe(TASK).example(4, torch.Generator().manual_seed(1))


def outputs(path: Path) -> torch.Tensor:
    x, edge_index, _, of_nodes, _ = batch()
    with torch.no_grad():
        return load_plain(path)(x, edge_index, of_nodes)


def test_a_study_is_exported_in_the_targets_units(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run), "--format", "python"]) == 0
    assert f"kept: {run / 'exported.py'}; it differs from the module by" in capsys.readouterr().out
    torch.testing.assert_close(outputs(run / "exported.py"), 3.0 * expected(run) + 2.0)
    assert (run / "exported.safetensors").exists()


def test_where_it_is_written_can_be_said(run: Path, tmp_path: Path) -> None:
    assert main(["export", str(run), "--out", str(tmp_path / "new" / "solubility.py")]) == 0
    torch.testing.assert_close(outputs(tmp_path / "new" / "solubility.py"), 3.0 * expected(run) + 2.0)


def test_what_a_search_found_is_exported_once_it_was_evaluated(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    searched = tmp_path / "searched"
    searched.mkdir()
    for name in ("architecture.json", "config.yaml"):
        (run / name).rename(searched / name)
    assert main(["export", str(searched)]) == 2
    assert "there is no such file; train it with" in capsys.readouterr().err
    run.rename(searched / "evaluation")
    (searched / "evaluation" / "architecture.json").write_text(ARCHITECTURE.to_json())
    (searched / "evaluation" / "winner.json").write_text("{}")
    assert main(["export", str(searched)]) == 0
    torch.testing.assert_close(
        outputs(searched / "evaluation" / "exported.py"), 3.0 * expected(searched / "evaluation") + 2.0
    )


def test_what_fit_left_is_exported(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "lightning_logs" / "version_0"
    (log / "checkpoints").mkdir(parents=True)
    (log / "config.yaml").write_text(
        f"model: {{architecture: {run / 'architecture.json'}, space: agnn, module: null, module_arguments: null}}\n"
        "task: {level: graph, target: regression, in_channels: 4, out_channels: 1}\n"
    )
    flags = ["--space.layers", "1", "--space.hidden_channels", "[4]", "--space.heads", "[2]"]
    assert main(["export", str(log), *flags]) == 2
    assert "it has no checkpoint; name one with" in capsys.readouterr().err
    (run / "module.ckpt").rename(log / "checkpoints" / "epoch=1.ckpt")
    assert main(["export", str(log), *flags]) == 0
    torch.testing.assert_close(outputs(log / "exported.py"), 3.0 * expected(run) + 2.0)


def test_a_folder_for_the_hub_has_the_network_and_a_card(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run / "huggingface"
    assert main(["export", str(run), "--format", "huggingface"]) == 0
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "model.py", "README.md"}
    torch.testing.assert_close(outputs(folder / "model.py"), 3.0 * expected(run) + 2.0)
    assert json.loads((folder / "config.json").read_text())["task"]["level"] == "graph"
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: pytorch\nlicense: other  # TODO")
    capsys.readouterr()
    assert main(["export", str(run), "--format", "huggingface"]) == 2
    assert "it exists; name another with --out, or remove it" in capsys.readouterr().err


def test_what_the_run_kept_of_its_data_needs_no_data(run: Path) -> None:
    (run / "config.yaml").write_text(CONFIG.splitlines()[0])
    Preprocessing(TASK, ("logS",), "somewhere.Data", {}, {"target_mean": (5.0,), "target_scale": (7.0,)}).save(
        run / "preprocessing.json"
    )
    assert main(["export", str(run), "--format", "huggingface"]) == 0
    torch.testing.assert_close(outputs(run / "huggingface" / "model.py"), 7.0 * expected(run) + 5.0)
    assert json.loads((run / "huggingface" / "config.json").read_text())["id2label"] == {"0": "logS"}


@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
def test_a_network_of_graphs_is_exported_for_any_nodes_edges_and_graphs(suffix: str, run: Path) -> None:
    path = run / f"found.{suffix}"
    assert main(["export", str(run), "--out", str(path)]) == 0
    for count in (1, 2, 7):
        x, edge_index, _, of_nodes, _ = GraphProbe(TASK).example(count, torch.Generator().manual_seed(count))
        network = SPACE.network(ARCHITECTURE, TASK).eval()
        network.load_state_dict(torch.load(run / "network.pt", weights_only=True))
        with torch.no_grad():
            wanted = 3.0 * network(x, edge_index, None, of_nodes, count) + 2.0
        if suffix == "onnx":
            onnxruntime = pytest.importorskip("onnxruntime")
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            given = {"x": x.numpy(), "edge_index": edge_index.numpy(), "batch": of_nodes.numpy()}
            found = torch.from_numpy(session.run(["outputs"], given)[0])
        else:
            found = torch.export.load(path).module()(x, edge_index, of_nodes)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "broken", "message"),
    [
        (["absent"], None, "'absent': there is no such file or folder"),
        (["{run}", "--format", "pyhton"], None, "did you mean 'python'"),
        (["{run}", "--format", "smp"], None, "is no model of segmentation_models_pytorch"),
        (["{run}", "--out", "found.txt"], None, "ends in none of .py, .onnx, .pt2"),
        (["{run}", "--format", "python", "--out", "found.onnx"], None, "does not end in .py"),
        (["{run}"], "architecture.json", "there is no such file (the run has no winner yet)"),
        (["{run}"], "network.pt", "there is no such file; train it with"),
        (["{run}", "--weights", "absent.pt"], None, "weights='absent.pt': there is no such file"),
        (["{run}", "--weights", "{run}/config.yaml"], None, "it is no state_dict and no checkpoint"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], broken: str | None, message: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if broken is not None:
        (run / broken).unlink()
    assert main(["export", *(each.format(run=run) for each in arguments)]) in (1, 2)
    said = capsys.readouterr().err
    assert said.startswith("automl-plugins export: ")
    assert message in said
    assert said.count("\n") == 1
    assert not list(run.glob("exported*"))
