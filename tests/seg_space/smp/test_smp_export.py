"""What was found as a model of smp: `smp.from_pretrained` loads it, all of its parts there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch

from automl_plugins import Task
from automl_plugins.cli import main
from seg_space import SmpSpace

TASK = Task("pixel", "classes", in_channels=3, out_channels=4)
SPACE = SmpSpace(encoders=("resnet18",), depths=(3,))
CONFIG = """\
space: {class_path: smp, init_args: {encoders: [resnet18], depths: [3]}}
task: {level: pixel, target: classes, in_channels: 3, out_channels: 4}
"""


@pytest.mark.parametrize("seed", [0, 1])
def test_smp_loads_what_is_exported(seed: int, tmp_path: Path) -> None:
    architecture = SPACE.sample(np.random.default_rng(seed))
    network = SPACE.network(architecture, TASK).eval()
    (tmp_path / "architecture.json").write_text(architecture.to_json())
    (tmp_path / "config.yaml").write_text(CONFIG)
    torch.save(network.state_dict(), tmp_path / "network.pt")
    assert main(["export", str(tmp_path), "--format", "smp", "--out", str(tmp_path / "found")]) == 0
    model = smp.from_pretrained(str(tmp_path / "found")).eval()
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(model(images), network(images))


def test_what_smp_cannot_hold_is_refused(tmp_path: Path) -> None:
    of_images = SPACE.network(SPACE.sample(np.random.default_rng(0)), Task("image", "classes", 3, 4))
    with pytest.raises(ValueError, match="smp has no models of whole images"):
        of_images.save_smp(tmp_path / "found")
    assert not (tmp_path / "found").exists()
