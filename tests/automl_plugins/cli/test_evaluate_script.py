"""`automl-plugins evaluate RUN -- python train.py`: what was found beside the script's own network and random ones."""

from __future__ import annotations

import json
import os
import runpy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from perceptron_space.space import PerceptronSpace

from automl_plugins.cli import attached, evaluate_script, main

pytestmark = pytest.mark.filterwarnings("ignore")

SCRIPT = """
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class LitUser(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Conv2d(3, 1, 1)

    def training_step(self, batch, batch_index):
        return nn.functional.mse_loss(self.net(batch[0]), batch[1])

    def validation_step(self, batch, batch_index):
        self.log("val_loss", self.training_step(batch, batch_index))

    def test_step(self, batch, batch_index):
        self.log("test_loss", self.training_step(batch, batch_index))

    def configure_optimizers(self):
        return torch.optim.Adam(self.net.parameters(), lr=0.01)


torch.manual_seed(0)
image = torch.rand(16, 3, 4, 4)
loader = DataLoader(TensorDataset(image, image.sum(1, keepdim=True).sin()), batch_size=8)
trainer = pl.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False,
                     enable_model_summary=False, callbacks=[pl.callbacks.ModelCheckpoint(monitor="val_loss")])
module = LitUser()
trainer.fit(module, loader, loader)
trainer.test(module, loader, verbose=False)
"""


@pytest.fixture(autouse=True)
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Mapping[str, Any]]]:
    """What the script was started with; it is run in this process."""
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(SCRIPT)
    run = Path("runs/train")
    run.mkdir(parents=True)
    architecture = PerceptronSpace(widest=4).sample(torch.Generator().manual_seed(0))
    (run / "architecture.json").write_text(architecture.to_json())
    (run / "config.yaml").write_text(
        "target: net\nspace: {class_path: perceptron_space.space.PerceptronSpace, init_args: {widest: 4}}\n"
        "task: {level: pixel, target: regression, in_channels: 3, out_channels: 1}\n"
    )
    calls: list[Mapping[str, Any]] = []

    def launch(script: Sequence[str], settings: Mapping[str, Any]) -> int:
        calls.append(settings)
        monkeypatch.setenv(attached.VARIABLE, json.dumps(settings))
        runpy.run_path(script[-1])
        return 0

    monkeypatch.setattr(evaluate_script, "launch", launch)
    yield calls
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        os.environ.pop(name, None)


def test_found_own_and_random_networks_are_trained_in_the_script(
    started: list[Mapping[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "runs/train", "--random", "2", "--", "python3", "train.py"]
    assert main(command) == 0
    assert [Path(each["record"]).stem for each in started] == [
        f"{name}.record" for name in ("own", "found", "random1", "random2")
    ]
    assert "architecture" not in started[0]
    shown = capsys.readouterr().out
    assert "val_loss, minimized, in the script" in shown
    kept = json.loads(Path("runs/train/evaluation/evaluation.json").read_text())
    assert (kept["monitor"], kept["direction"]) == ("val_loss", "minimize")
    assert kept["runs"]["the script's own"]["parameters"] == 4
    assert all({"val_loss", "test_loss"} <= set(run["metrics"]) for run in kept["runs"].values())
    started.clear()
    assert main(command) == 0
    assert not started, "it goes on where it was"


def test_a_metric_that_the_script_does_not_log_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "runs/train", "--random", "0", "--monitor", "val_acc", "--", "python3", "train.py"]
    assert main(command) == 2
    assert "monitor='val_acc': the script logs" in capsys.readouterr().err
