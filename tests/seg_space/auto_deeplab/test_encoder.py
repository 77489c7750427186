"""The backbone of an Auto-DeepLab architecture as an smp encoder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from automl_plugins import Architecture, Task
from seg_space import (
    AutoDeepLabEncoder,
    AutoDeepLabSpace,
    SmpNetwork,
    create_model,
    from_pretrained,
    register_encoder,
)
from seg_space.auto_deeplab.cell import OPERATIONS, Step
from seg_space.auto_deeplab.encoder import dilate
from seg_space.auto_deeplab.layout import edge_name
from seg_space.auto_deeplab.network import Cell
from seg_space.smp.models import encoder_parameters
from seg_space.smp.space import DECODERS

SPACE = AutoDeepLabSpace(layers=4, blocks=2, filters=4, stem=(8, 12))
EVERY_STRIDE = (8, 16, 32, 16)
FINE = (4, 4, 8, 4)
"""Never at strides 16 and 32."""
PATHS = (EVERY_STRIDE, FINE, (8, 16, 16, 32), (4, 4, 4, 4))


def with_path(path: tuple[int, ...], space: AutoDeepLabSpace = SPACE, seed: int = 0) -> Architecture:
    """A random cell, and the path that is given."""
    values = {
        name: value for name, value in space.sample(np.random.default_rng(seed)).items() if name.startswith("cell")
    }
    for layer, (before, stride) in enumerate(zip((space.stem_stride, *path), path, strict=False), start=1):
        values[edge_name(layer, before)] = stride
    return space.architecture(values)


def encoder_of(
    path: tuple[int, ...], space: AutoDeepLabSpace = SPACE, seed: int = 0, **arguments: int
) -> AutoDeepLabEncoder:
    return AutoDeepLabEncoder(**encoder_parameters(with_path(path, space, seed), space), **arguments)


@pytest.fixture
def unregistered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is registered in a test is forgotten after it."""
    monkeypatch.setattr(smp.encoders, "encoders", dict(smp.encoders.encoders))


@pytest.mark.parametrize("path", PATHS, ids=str)
@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("depth", [3, 4, 5])
def test_there_is_one_map_for_each_stride_and_every_weight_counts(
    path: tuple[int, ...], output_stride: int, depth: int
) -> None:
    encoder = encoder_of(path, depth=depth, output_stride=output_stride, in_channels=2)
    images = torch.randn(2, 2, 64, 96)
    maps = encoder(images)
    assert maps[0] is images
    assert [each.size(1) for each in maps] == encoder.out_channels
    assert len(maps) == depth + 1
    for level, each in enumerate(maps):
        stride = min(2**level, output_stride)
        assert each.shape[-2:] == (64 // stride, 96 // stride)
    assert encoder.output_stride == min(output_stride, 2**depth)
    sum(each.square().sum() for each in maps).backward()
    assert all(weight.grad is not None for weight in encoder.parameters())


@pytest.mark.parametrize("stem_stride", [1, 2, 4])
def test_stems_of_other_strides_give_the_same_strides(stem_stride: int) -> None:
    space = AutoDeepLabSpace(layers=3, blocks=2, filters=4, stem=(8, 8, 12), stem_stride=stem_stride)
    encoder = encoder_of(tuple(stem_stride * times for times in (2, 4, 2)), space)
    maps = encoder(torch.randn(2, 3, 64, 64))
    assert [each.size(-1) for each in maps] == [64, 32, 16, 8, 4, 2]


def test_a_map_is_that_of_the_last_layer_of_its_stride() -> None:
    space = AutoDeepLabSpace(layers=4, blocks=2, filters=4, stem=(8, 6, 12))
    architecture = with_path(EVERY_STRIDE, space)
    network = space.network(architecture, Task("pixel", "classes", 3, 2)).eval()
    encoder = AutoDeepLabEncoder(**encoder_parameters(architecture, space)).eval()
    loaded = encoder.load_state_dict(network.state_dict(), strict=False)
    assert loaded.missing_keys == []
    assert all(name.startswith("head.") for name in loaded.unexpected_keys)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        stem, *layers = network.features(images)
        maps = encoder(images)
    for index, expected in ((2, stem), (3, layers[0]), (4, layers[3]), (5, layers[2])):
        assert torch.equal(maps[index], expected.relu())
    assert maps[1].shape == (1, 6, 32, 32)


@pytest.mark.parametrize("rate", [2, 4])
def test_a_dilated_cell_does_for_every_set_of_pixels_what_the_cell_does(rate: int) -> None:
    steps = [
        Step(block, slot, block + slot, operation)
        for block, pair in enumerate(zip(OPERATIONS[::2], OPERATIONS[1::2], strict=False))
        for slot, operation in enumerate(pair)
    ]
    steps += [Step(len(steps) // 2, slot, slot, OPERATIONS[-1]) for slot in (0, 1)]
    assert {step.operation for step in steps} == set(OPERATIONS)
    torch.manual_seed(0)
    cell, dilated = (Cell(steps, 3).double().eval() for _ in range(2))
    dilate(dilated, rate)
    dilated.double().eval().load_state_dict(cell.state_dict())
    before, previous = torch.randn(2, 2, 3, 6 * rate, 5 * rate, dtype=torch.float64)
    with torch.no_grad():
        found = dilated(before, previous)
        for row in range(rate):
            for column in range(rate):
                own = cell(before[..., row::rate, column::rate], previous[..., row::rate, column::rate])
                torch.testing.assert_close(found[..., row::rate, column::rate], own, rtol=1e-10, atol=1e-12)


def test_clamped_maps_see_what_strided_ones_see() -> None:
    """Where no layer resizes bilinearly, the pixels at the old stride are those of the old map."""
    space = AutoDeepLabSpace(layers=1, blocks=2, filters=4, stem=(8, 12))
    torch.manual_seed(0)
    whole, clamped = (encoder_of((4,), space, output_stride=stride).eval() for stride in (32, 8))
    clamped.load_state_dict(whole.state_dict())
    images = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        expected, found = whole(images), clamped(images)
    for index, rate in ((4, 2), (5, 4)):
        torch.testing.assert_close(found[index][..., ::rate, ::rate], expected[index], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("path", [EVERY_STRIDE, FINE], ids=str)
@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.usefixtures("unregistered")
def test_every_convolutional_decoder_of_smp_takes_it(decoder: str, path: tuple[int, ...]) -> None:
    for depth in (3, 5):
        model = create_model(decoder, with_path(path), SPACE, in_channels=4, classes=3, depth=depth)
        network = SmpNetwork(model)
        outputs = network(torch.randn(2, 4, 33, 64))
        assert outputs.shape == (2, 3, 33, 64)
        outputs.square().mean().backward()
        gradients = [weight.grad for weight in model.encoder.parameters() if weight.grad is not None]
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert any(gradient.abs().max() > 0 for gradient in gradients)


@pytest.mark.parametrize(("decoder", "stride"), [("DeepLabV3", 8), ("DeepLabV3Plus", 8), ("PAN", 32)])
@pytest.mark.usefixtures("unregistered")
def test_decoders_get_the_output_stride_that_they_ask_for(decoder: str, stride: int) -> None:
    register_encoder("found", with_path(EVERY_STRIDE), SPACE)
    model = smp.create_model(decoder, "found", encoder_weights=None, classes=3, encoder_output_stride=stride).eval()
    assert model.encoder(torch.randn(1, 3, 256, 256))[-1].shape[-1] == 256 // stride
    assert model(torch.randn(1, 3, 256, 256)).shape == (1, 3, 256, 256)


@pytest.mark.usefixtures("unregistered")
@pytest.mark.parametrize(
    ("decoder", "space", "message"),
    [
        ("DPT", SPACE, "DPT reads the tokens of a vision transformer"),
        ("UNet", SPACE, "there is no decoder 'UNet'; did you mean 'Unet'"),
        ("PSPNet", AutoDeepLabSpace(layers=1, blocks=3, filters=1), "PSPNet pools .* a quarter .* it has 6; "),
        ("Linknet", AutoDeepLabSpace(layers=1, blocks=3, filters=1, stem=(4, 4)), "Linknet .* a map has 3; "),
    ],
)
def test_a_decoder_that_cannot_have_it_says_why(decoder: str, space: AutoDeepLabSpace, message: str) -> None:
    architecture = with_path((4,) * space.layers, space)
    with pytest.raises(ValueError, match=message):
        create_model(decoder, architecture, space, depth=3)


@pytest.mark.usefixtures("unregistered")
def test_what_a_decoder_is_refused_for_is_what_smp_fails_at() -> None:
    space = AutoDeepLabSpace(layers=1, blocks=3, filters=1)
    register_encoder("narrow", with_path((4,), space), space)
    with pytest.raises(ValueError, match="Only Timm encoders are supported for DPT"):
        smp.create_model("DPT", "narrow", encoder_weights=None)
    model = smp.create_model("PSPNet", "narrow", encoder_weights=None, encoder_depth=3)
    with pytest.raises(RuntimeError, match="channels"):
        model(torch.randn(2, 3, 64, 64))


@pytest.mark.usefixtures("unregistered")
def test_a_registered_encoder_saves_and_loads_through_smp(tmp_path: Path) -> None:
    register_encoder("found", with_path(EVERY_STRIDE), SPACE)
    model = smp.create_model("Unet", "found", encoder_weights=None, in_channels=1, classes=2).eval()
    model.save_pretrained(tmp_path)
    again = smp.from_pretrained(tmp_path).eval()
    images = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(model(images), again(images))
    with pytest.raises(ValueError, match=r"no architecture of the encoder 'found'; .*register_encoder"):
        from_pretrained(tmp_path)


@pytest.mark.parametrize("decoder", ["Unet", "FPN", "DeepLabV3Plus"])
@pytest.mark.usefixtures("unregistered")
def test_a_models_config_has_the_architecture(decoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = dict(smp.encoders.encoders)
    architecture = with_path(EVERY_STRIDE)
    model = create_model(decoder, architecture, SPACE, in_channels=2, classes=3, depth=4).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    folder = tmp_path
    for generation in range(2):
        folder = tmp_path / str(generation)
        model.save_pretrained(folder)
        config = json.loads((folder / "config.json").read_text())
        assert Architecture.from_json(json.dumps(config["_auto_deeplab"]["architecture"])) == architecture
        # As in a process that knows nothing of it.
        monkeypatch.setattr(smp.encoders, "encoders", dict(known))
        again = from_pretrained(folder).eval()
        assert again.state_dict().keys() == model.state_dict().keys()
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, again.state_dict()[name])
        images = torch.randn(1, 2, 64, 64)
        with torch.no_grad():
            assert torch.equal(model(images), again(images))
        model = again


@pytest.mark.usefixtures("unregistered")
def test_a_name_means_one_encoder() -> None:
    register_encoder("found", with_path(FINE), SPACE)
    register_encoder("found", with_path(FINE), SPACE)
    with pytest.raises(ValueError, match="there is an encoder 'found' already"):
        register_encoder("found", with_path(EVERY_STRIDE), SPACE)
    with pytest.raises(ValueError, match="there is an encoder 'resnet18' already"):
        register_encoder("resnet18", with_path(FINE), SPACE)
    with pytest.raises(ValueError, match="rules of its own for encoders whose name begins with 'tu-'"):
        register_encoder("tu-found", with_path(FINE), SPACE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 2}, "a depth of 3, 4 or 5; got 2"),
        ({"output_stride": 4}, "an output_stride of 8, 16 or 32; got 4"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encoder_of(FINE, **arguments)


def test_an_architecture_of_another_space_is_refused() -> None:
    parameters = encoder_parameters(with_path(FINE), SPACE)
    parameters["architecture"]["choices"]["cell.block0.inputs"] = "7+8"
    with pytest.raises(ValueError, match=r"cell\.block0\.inputs"):
        AutoDeepLabEncoder(**parameters)


def test_drop_path_is_that_of_the_space() -> None:
    space = AutoDeepLabSpace(layers=4, blocks=2, filters=4, drop_path=0.4)
    rates = [layer.cell.drop_rate for layer in encoder_of(EVERY_STRIDE, space).layers]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4])
