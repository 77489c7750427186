"""Networks of images as files of plain Python: they compute the same, and read as if a person had written them."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from automl_plugins import Task
from automl_plugins.testing.plain_source import assert_stands_alone
from automl_plugins.training.plain_file import load_plain, plain_file, write_plain
from automl_plugins.training.units import Units
from seg_space import AutoDeepLabSizesSpace, AutoDeepLabSpace, SmpDecoderSpace, SmpSpace
from seg_space.auto_deeplab.sizes import HEADS
from seg_space.references import MobileNetV2, UNet

ROOT = Path(__file__).parents[2]
PIXELS = Task("pixel", "classes", in_channels=2, out_channels=3)
IMAGES = replace(PIXELS, level="image")
SMALL = {"layers": 3, "blocks": 2, "filters": 2, "stem": (4, 4), "decoder_channels": 8}
SPACES = {
    **{head: (AutoDeepLabSpace(**SMALL, head=head), PIXELS) for head in HEADS},
    **{f"{head}, several paths": (AutoDeepLabSpace(**SMALL, head=head, multi_path=True), PIXELS) for head in HEADS},
    "merged inputs": (AutoDeepLabSpace(**SMALL, multi_path=True, merge_inputs=True), PIXELS),
    "fine stem": (AutoDeepLabSpace(**SMALL, stem_stride=1), PIXELS),
    "whole images": (AutoDeepLabSpace(**SMALL), IMAGES),
    "sizes": (AutoDeepLabSizesSpace(layers=2, blocks=1), PIXELS),
}
OF_SMP = {
    "smp": (SmpSpace(), PIXELS),
    "smp, whole images": (SmpSpace(), IMAGES),
    "smp-decoder": (SmpDecoderSpace("resnet18"), PIXELS),
    "smp-decoder, frozen": (SmpDecoderSpace("mobilenet_v2", frozen=True), PIXELS),
}
SEARCH = re.compile(r"\b(gates?|choices?|options?|supernet|search|architecture|auto.?deeplab|automl)\b", re.IGNORECASE)


def images(task: Task) -> list[tuple[torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(2, task.in_channels, *size, generator=generator),) for size in ((48, 64), (33, 40))]


def drawn(name: str, seed: int) -> nn.Module:
    space, task = {**SPACES, **OF_SMP}[name]
    torch.manual_seed(seed)
    return trained_a_little(space.network(space.sample(np.random.default_rng(seed)), task), task)


def trained_a_little(network: nn.Module, task: Task) -> nn.Module:
    """With normalisations that have seen something."""
    with torch.no_grad():
        network.train()(torch.randn(2, task.in_channels, 64, 64))
    return network.eval()


def test_random_networks_compute_the_same_without_us(tmp_path: Path) -> None:
    cases = [(drawn(name, seed), images(PIXELS)) for name in SPACES for seed in range(2)]
    assert_stands_alone(cases, tmp_path)


def test_networks_of_smp_compute_the_same_with_smp_alone(tmp_path: Path) -> None:
    networks = [drawn(name, seed) for name in OF_SMP for seed in range(2)]
    networks += [trained_a_little(UNet(PIXELS), PIXELS), trained_a_little(MobileNetV2(IMAGES), IMAGES)]
    assert_stands_alone([(network, images(PIXELS)) for network in networks], tmp_path)


def test_files_are_short_tell_of_no_search_and_pass_ruff(tmp_path: Path) -> None:
    made = {name: drawn(name, seed=3) for name in (*SPACES, *OF_SMP)}
    whole = AutoDeepLabSpace()
    made["default"] = whole.network(whole.sample(np.random.default_rng(0)), PIXELS)
    for number, network in enumerate(made.values()):
        text = plain_file(network.plain_source(), "A network.")
        assert len(text.splitlines()) <= 200
        assert not SEARCH.findall(text)
        (tmp_path / f"network{number}.py").write_text(text)
    for command in (["check", "--quiet"], ["format", "--check", "--quiet"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--config", str(ROOT / "pyproject.toml"), str(tmp_path)]
        done = subprocess.run(ruff, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_predictor_takes_images_in_the_units_of_their_files(tmp_path: Path) -> None:
    network = drawn("unet", 0)
    mean, deviation = torch.tensor([120.0, 80.0]), torch.tensor([50.0, 40.0])
    units = Units(mean, deviation, torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0, 6.0]), dimensions=2)
    write_plain(network, network.plain_source(), images(PIXELS), tmp_path / "found.py", "A network.", units)
    raw = 255 * torch.rand(1, 2, 32, 32)
    with torch.no_grad():
        standardised = network((raw - mean.view(-1, 1, 1)) / deviation.view(-1, 1, 1))
        expected = standardised * units.target_scale.view(-1, 1, 1) + units.target_mean.view(-1, 1, 1)
        torch.testing.assert_close(load_plain(tmp_path / "found.py")(raw), expected)
