"""Cells on the skip connections of a model that is named in YAML: its weights come from a file, or are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from automl_plugins import Task
from automl_plugins.cli import main
from seg_space.pretrained.normalisation import InputNormalisation
from seg_space.smp.space import SmpSpace
from seg_space.smp.trained_implant import TrainedImplantSpace

TINY = "tu-test_efficientnet"
TASK = Task("pixel", "classes", in_channels=3, out_channels=2)
MODEL = {"arch": "Unet", "encoder_name": TINY, "classes": 2, "decoder_channels": [32, 16, 16, 8, 8]}


def trained_model(**others: Any) -> nn.Module:
    torch.manual_seed(0)
    model = smp.create_model(**{**MODEL, **others}, encoder_weights=None)
    model.train()(torch.randn(2, 3, 64, 64))
    return model.eval()


@pytest.mark.parametrize("form", ["state_dict", "safetensors", "checkpoint"])
def test_before_training_networks_compute_what_the_trained_model_does(form: str, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    model = trained_model()
    path = tmp_path / ("x.safetensors" if form == "safetensors" else "x.pt")
    if form == "safetensors":
        safetensors.save_file(model.state_dict(), path)
    elif form == "state_dict":
        torch.save(model.state_dict(), path)
    else:  # of somebody's LightningModule
        state = {f"net.{name}": tensor for name, tensor in model.state_dict().items()}
        torch.save({"state_dict": {**state, "loss.weight": torch.ones(2)}, "epoch": 3}, path)
    space = TrainedImplantSpace({**MODEL, "encoder_weights": "imagenet"}, str(path), state_channels=4)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        for network in (space.network(space.sample(np.random.default_rng(0)), TASK), space.searchable(TASK)):
            torch.testing.assert_close(network.eval()(images), model(images))


def test_a_studys_network_is_taken_over_with_its_normalisation_and_without_idle_parts(tmp_path: Path) -> None:
    space = SmpSpace(decoders=("FPN",), encoders=("efficientnet-b0",), depths=(5,))
    sample = dict(space.sample(np.random.default_rng(0)))
    network = space.network(space.architecture({**sample, "merge": "add"}), TASK)
    idle = set(smp.create_model("FPN", "efficientnet-b0", encoder_weights=None).state_dict())
    idle -= set(network.model.state_dict())
    assert idle, "the last convolution of the classifier"
    network.normalisation = InputNormalisation((0.1, 0.2, 0.3), (0.5, 0.5, 0.5), 3)
    network.normalisation.match(torch.tensor([1.0, 2.0, 3.0]), torch.ones(3), (0.0, 255.0))
    torch.save(network.state_dict(), tmp_path / "network.pt")
    model = {
        "arch": "FPN",
        "encoder_name": "efficientnet-b0",
        "classes": 2,
        "decoder_pyramid_channels": sample["pyramid_channels"],
        "decoder_segmentation_channels": sample["segmentation_channels"],
        "decoder_interpolation": sample["interpolation"],
    }
    implants = TrainedImplantSpace(model, str(tmp_path / "network.pt"), state_channels=4)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        found = implants.searchable(TASK).eval()(images)
        torch.testing.assert_close(found, network.eval()(images))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arch": "Unett"}, r"model\.arch='Unett': there is no such model; .*Unet"),
        ({"arch": "DPT"}, r"model\.arch='DPT': there is no such model"),
        ({"encoder_name": "resnet19"}, "there is no encoder 'resnet19'; did you mean 'resnet18'"),
        ({"encoder_name": None}, "there is no encoder None"),
        ({"classes": 0}, "model: smp cannot make it: "),
        ({"decoder_channels": [8]}, "model: smp cannot make it: ValueError: .*depth"),
        ({"widths": 3}, "model: smp cannot make it: TypeError: .*widths"),
        ({"activation": "softmax2d"}, r"model\.activation .*logits"),
        (
            {"classes": 5},
            r"checkpoint='.*x\.pt', for the Unet that model says: .*segmentation_head\.0\.bias \[2\] for \[5\]",
        ),
        ({"in_channels": 1}, r"of another shape or type: encoder\.model\.conv_stem\.weight"),
        ({"arch": "FPN"}, r"for the FPN that model says: .* missing: decoder\."),
    ],
)
def test_a_model_that_is_not_the_files_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    torch.save(trained_model().state_dict(), tmp_path / "x.pt")
    model = {**MODEL, **change}
    if change.get("arch") == "FPN":
        del model["decoder_channels"]
    with pytest.raises(ValueError, match=message) as told:
        TrainedImplantSpace(model, str(tmp_path / "x.pt"))
    assert "\n" not in str(told.value)


def test_a_file_that_is_gone_or_diverged_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^checkpoint='gone\.pt': there is no such file$"):
        TrainedImplantSpace(MODEL, "gone.pt")
    with pytest.raises(ValueError, match=r"model is a mapping of smp's arguments, .*; got 'Unet'"):
        TrainedImplantSpace("Unet", "gone.pt")
    with pytest.raises(ValueError, match="checkpoint is the path of a file; got None"):
        TrainedImplantSpace(MODEL, None)
    state = trained_model().state_dict()
    state["segmentation_head.0.bias"] = torch.full((2,), torch.nan)
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"values are not finite.*: segmentation_head\.0\.bias"):
        TrainedImplantSpace(MODEL, str(tmp_path / "x.pt"))


def test_a_config_searches_cells_for_a_model_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = {**MODEL, "in_channels": 1, "classes": 4}
    torch.save(smp.create_model(**model, encoder_weights=None).state_dict(), tmp_path / "unet.pt")
    given = {"model": model, "checkpoint": str(tmp_path / "unet.pt"), "state_channels": 2, "blocks": 1}
    config = tmp_path / "search.yaml"
    path = f"{TrainedImplantSpace.__module__}.{TrainedImplantSpace.__name__}"
    config.write_text(repr({"space": {"class_path": path, "init_args": given}}).replace("'", '"'))
    options = ["--data.batch_size", "4", "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2"]
    arguments = ["search", "--config", str(config), "--data", "brain", "--search.strategy", "gdas"]
    assert main([*arguments, *options, "--folder", str(tmp_path / "run")]) == 0, capsys.readouterr().err
    assert (tmp_path / "run" / "architecture.json").is_file()
