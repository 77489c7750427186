"""Who uses one side imports nothing of the other's: graphs without smp and torchvision, pixels without PyG."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# As if a distribution were not installed: its modules are not importable, and its version is not known either.
HIDE = """
import importlib.metadata as metadata, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

def from_name(name, original=metadata.Distribution.from_name):
    if name.replace("-", "_") in HIDDEN:
        raise metadata.PackageNotFoundError(name)
    return original(name)

sys.meta_path.insert(0, Finder())
metadata.Distribution.from_name = from_name
"""

GRAPHS = """
from gnn_space import AGNNSpace, EGNASSpace, GraphRegression
from gnn_space.data import FreesolvData

data = FreesolvData()
space = EGNASSpace(cells=1, nodes=2, node_channels=8, edge_channels=4)
module = GraphRegression(space.searchable(data.task), data.task)
fit(module, data)
architecture = AGNNSpace(layers=1).sample(torch.Generator().manual_seed(0))
"""

PIXELS = """
from seg_space import AutoDeepLabSpace, SemanticSegmentation, SmpSpace
from torch.utils.data import DataLoader

from automl_plugins import Task

task = Task("pixel", "classes", 3, 2)
space = AutoDeepLabSpace(layers=2, blocks=2, filters=4)
module = SemanticSegmentation(space.searchable(task), task)
images = [(torch.randn(3, 32, 32), torch.randint(2, (32, 32))) for _ in range(8)]
fit(module, DataLoader(images, 2), DataLoader(images, 2))
architecture = SmpSpace().sample(torch.Generator().manual_seed(0))
"""

SEARCH = """
import pytorch_lightning as pl
import torch

from automl_plugins.cli import main
from automl_plugins.search import ArchitectureSearch

def fit(module, *data):
    quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    few = dict(max_epochs=1, limit_train_batches=2, limit_val_batches=1)
    pl.Trainer(callbacks=[ArchitectureSearch("darts")], **few, **quiet).fit(module, *data)
    module.network = module.network.derive()
    print("derived", type(module.network).__name__)

"""

COMMANDS = """
assert main(["list"]) == 0
assert main(["study", *STUDY, "--print_config"]) == 0
assert main(["study", *OTHER, "--print_config"]) == 2
assert not HIDDEN & {name.partition(".")[0] for name in sys.modules}
print("done")
"""

SIDES = {
    "graphs": (
        {"segmentation_models_pytorch", "timm", "torchvision", "seg_space"},
        GRAPHS,
        ["--space", "agnn", "--data", "freesolv", "--trainer.max_epochs", "1"],
    ),
    "pixels": (
        {"torch_geometric", "gnn_space"},
        PIXELS,
        ["--space", "auto-deeplab", "--data", "brain", "--trainer.max_epochs", "1"],
    ),
}


@pytest.mark.parametrize("side", SIDES)
def test_one_side_searches_where_the_other_is_not_installed(side: str, tmp_path: Path) -> None:
    hidden, code, study = SIDES[side]
    (other,) = (SIDES[name][2] for name in SIDES if name != side)
    names = f"HIDDEN, STUDY, OTHER = {sorted(hidden)!r}, {study!r}, {other!r}\nHIDDEN = set(HIDDEN)\n"
    ran = subprocess.run(
        [sys.executable, "-Wignore", "-c", names + HIDE + SEARCH + code + COMMANDS],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "derived" in ran.stdout
    assert ran.stdout.endswith("done\n")
    assert "cannot be imported: ModuleNotFoundError" in ran.stderr
