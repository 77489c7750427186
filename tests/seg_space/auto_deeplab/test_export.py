"""What is exported runs, for any number of images, and computes what the module does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from automl_plugins import Task
from automl_plugins.cli import main
from automl_plugins.cli.export import weights_in
from automl_plugins.training.export import Format, export_network
from seg_space import AutoDeepLabSpace, SmpNetwork, create_model

TASK = Task("pixel", "classes", in_channels=2, out_channels=3)
SPACE = AutoDeepLabSpace(layers=3, blocks=2, filters=2, stem=(4, 4), head="deeplab", decoder_channels=8)
ARCHITECTURE = SPACE.sample(np.random.default_rng(3))
SEVERAL = AutoDeepLabSpace(layers=2, blocks=1, filters=2, stem=(4, 4), multi_path=True)
SUFFIXES = {"torch": "pt2", "onnx": "onnx"}


def trained_a_little(network: nn.Module) -> nn.Module:
    """With normalisations that have seen something."""
    torch.manual_seed(0)
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(2, TASK.in_channels, 48, 64))
    return network


def networks() -> dict[str, nn.Module]:
    # DeepLabV3+ has atrous convolutions in the encoder, and its images are padded: 40 is no multiple of 16.
    found = create_model("DeepLabV3Plus", ARCHITECTURE, SPACE, TASK.in_channels, TASK.out_channels, decoder_channels=16)
    cell = {name: value for name, value in SEVERAL.sample(np.random.default_rng(0)).items() if "cell" in name}
    edges = {"layer1.after4": "4+8", "layer2.after4": "4+8", "layer2.after8": "8+16"}
    several = SEVERAL.architecture({**cell, **edges})
    return {
        "derived": SPACE.network(ARCHITECTURE, TASK),
        "several paths": SEVERAL.network(several, TASK),
        "encoder": SmpNetwork(found),
        "whole images": SPACE.network(ARCHITECTURE, replace(TASK, level="image")),
    }


def run_file(path: Path, images: Tensor) -> Tensor:
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return torch.from_numpy(session.run(["outputs"], {"images": images.numpy()})[0])
    return torch.export.load(path).module()(images)


# The derived network for torch.export is the command's, below.
@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("derived", "onnx"),
        ("several paths", "onnx"),
        ("encoder", "onnx"),
        ("encoder", "torch"),
        ("whole images", "onnx"),
    ],
)
def test_an_exported_network_agrees_with_the_module(name: str, format: Format, tmp_path: Path) -> None:
    network = trained_a_little(networks()[name])
    path = tmp_path / f"model.{SUFFIXES[format]}"
    difference = export_network(network, torch.randn(1, 2, 40, 64), path, format, "images")
    assert difference <= 1e-5
    assert network.training
    images = torch.randn(5, 2, 40, 64)
    with torch.no_grad():
        expected = network.eval()(images)
    torch.testing.assert_close(run_file(path, images), expected, rtol=1e-5, atol=1e-5)


def test_a_file_that_computes_something_else_is_not_kept(tmp_path: Path) -> None:
    class Forgetful(nn.Module):
        """What it computes depends on whether it is being exported."""

        def forward(self, x: Tensor) -> Tensor:
            return 2 * x if torch.compiler.is_compiling() else x

    with pytest.raises(RuntimeError, match="differs from the module by"):
        export_network(Forgetful(), torch.ones(1, 1, 2, 2), tmp_path / "model.pt2", "torch")
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_for_onnx_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(ImportError, match=r"ONNX needs onnxscript: pip install 'automl-plugins\[onnx\]'"):
        export_network(nn.Identity(), torch.ones(1, 1, 2, 2), tmp_path / "model.onnx", "onnx")
    with pytest.raises(ValueError, match="format is one of torch, onnx; got 'tflite'"):
        export_network(nn.Identity(), torch.ones(1, 1, 2, 2), tmp_path / "model", "tflite")


# The command.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "architecture.json").write_text(ARCHITECTURE.to_json())
    (tmp_path / "config.yaml").write_text(
        "space: {class_path: auto-deeplab, init_args: {layers: 3, blocks: 2, filters: 2, stem: [4, 4], head: deeplab, "
        "decoder_channels: 8}}\n"
        "task: {level: pixel, target: classes, in_channels: 2, out_channels: 3}\n"
    )
    torch.save(trained_a_little(SPACE.network(ARCHITECTURE, TASK)).state_dict(), tmp_path / "network.pt")
    return tmp_path


def test_the_command_exports_what_a_run_left(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = folder / "model.pt2"
    arguments = ["export", "--architecture", str(folder / "architecture.json"), "--size", "40x64", str(written)]
    assert main(arguments) == 0
    assert f"kept: {written}; it differs from the module by" in capsys.readouterr().out
    network = SPACE.network(ARCHITECTURE, TASK).eval()
    network.load_state_dict(torch.load(folder / "network.pt", weights_only=True))
    images = torch.randn(3, 2, 40, 64)
    with torch.no_grad():
        torch.testing.assert_close(run_file(written, images), network(images), rtol=1e-5, atol=1e-5)


def test_weights_come_from_a_checkpoint_around_the_network_too() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    state = network.state_dict()
    around = {f"net.inner.{name}": value for name, value in state.items()}
    extra = {"loss.weight": torch.zeros(3), **around}
    for content in (state, around, extra, {"state_dict": extra, "epoch": 3}):
        assert list(weights_in(content, list(state))) == list(state)
        assert all(value is state[name] for name, value in weights_in(content, list(state)).items())
    assert weights_in({"other": torch.zeros(1)}, list(state)).keys() == {"other"}


def test_a_checkpoint_of_fit_is_exported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = {f"network.{name}": value for name, value in torch.load(folder / "network.pt", weights_only=True).items()}
    torch.save({"state_dict": state, "pytorch-lightning_version": "2.6.0"}, folder / "fit.ckpt")
    arguments = ["--architecture", str(folder / "architecture.json"), "--size", "32", str(folder / "model.pt2")]
    assert main(["export", *arguments, "--weights", str(folder / "fit.ckpt")]) == 0
    assert (folder / "model.pt2").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"size": "40*64"}, "size='40*64': it is the images' height and width, such as 128x192"),
        ({"size": None}, "size is missing"),
        ({"weights": "absent.pt"}, "weights='absent.pt': there is no such file"),
        (
            {"format": "tflite"},
            "format='tflite': there is no such format; valid: huggingface, onnx, python, smp, torch",
        ),
        ({"task.level": "graph"}, "the task is of level 'graph'"),
        ({"task.in_channels": "3"}, "they are not this network's"),
        ({"sise": "40"}, "there is no such key; did you mean 'size'"),
    ],
)
def test_a_mistake_is_one_line(
    changed: dict[str, str | None], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"architecture": str(folder / "architecture.json"), "size": "40x64", **changed}
    arguments = [part for key, value in given.items() if value is not None for part in (f"--{key}", value)]
    assert main(["export", *arguments, str(folder / "model.pt2")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("automl-plugins export: ")
    assert message in said
    assert said.count("\n") == 1
    assert not (folder / "model.pt2").exists()


def test_weights_are_not_unpickled(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"network": SPACE}, folder / "network.pt")
    arguments = ["--architecture", str(folder / "architecture.json"), "--size", "64", str(folder / "model.pt2")]
    assert main(["export", *arguments]) == 2
    assert "holds objects, which are not unpickled" in capsys.readouterr().err


def test_help_tells_what_comes_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--help"]) == 0
    assert "usage: automl-plugins export" in capsys.readouterr().out
