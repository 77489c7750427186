"""Ten projects as others write them, with no line changed: each is searched, trained with what was found, and reads its
checkpoints again."""

from __future__ import annotations

import json
import os
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from automl_plugins.cli import attached
from automl_plugins.scripts.pretrained import load_pretrained
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.training.adapted import Adapted

PROJECTS = Path(__file__).parents[2] / "third_party" / "projects"
EGNAS = {
    "class_path": "gnn_space.EGNASSpace",
    "init_args": {"cells": 1, "nodes": 1, "node_channels": 4, "edge_channels": 4},
}
DEEPLAB = {"class_path": "seg_space.AutoDeepLabSpace", "init_args": {"layers": 2, "blocks": 1, "filters": 4}}

CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "graph_batch": ("gnn", EGNAS, {"level": "graph", "target": "classes", "out_channels": 2}),
    "dict_batches": ("model", DEEPLAB, {"level": "pixel", "target": "binary", "out_channels": 1}),
    "lightning_cli": ("model", DEEPLAB, {"level": "pixel", "target": "classes", "out_channels": 4}),
    "hydra_factory": ("net", DEEPLAB, {"level": "pixel", "target": "binary", "out_channels": 1}),
    "configure_model": ("model", DEEPLAB, {"level": "image", "target": "classes", "out_channels": 3}),
    "two_networks": ("encoder", EGNAS, {"level": "node", "target": "regression", "out_channels": 8}),
    "reads_attributes": ("message_passing", EGNAS, {"level": "node", "in_channels": 5, "edge_channels": 2}),
    "saves_pretrained": ("model", DEEPLAB, {"level": "pixel", "target": "classes", "in_channels": 3}),
    "sampled_subgraphs": ("gnn", EGNAS, {"level": "node", "target": "classes", "out_channels": 3}),
    "library_trainer": ("backbone", DEEPLAB, {"level": "pixel", "target": "binary", "in_channels": 4}),
}
"""The target in each project, the space, and what is seen of the task."""

# What one training says of loggers, intervals and devices is not this file's subject.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train.py"])
    yield
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):  # Lightning leaves its seed there
        os.environ.pop(name, None)


def run(project: str, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> tuple[nn.Module, nn.Module, Any]:
    """The project's module, what it has loaded of its checkpoint, and its validation, as its script gives them."""
    monkeypatch.setenv(attached.VARIABLE, json.dumps({"task": {}, **settings}))
    result: tuple[nn.Module, nn.Module, Any] = runpy.run_path(str(PROJECTS / f"{project}.py"))["main"]()
    return result


def network_of(module: nn.Module, target: str) -> nn.Module:
    network = module.get_submodule(target)
    network = getattr(network, "_orig_mod", network)
    return network.network if isinstance(network, Adapted) else network


@pytest.mark.parametrize("project", CASES)
def test_a_project_is_searched_attached_loaded_and_evaluated_as_it_is(
    project: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    target, space, task = CASES[project]
    search = {"strategy": {"class_path": "automl_plugins.strategies.DARTS"}, "seed": 0, "path": "../architecture.json"}
    given = {"target": target, "space": space}
    for name in ("searched", "attached"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir("searched")
    module, loaded, scores = run(project, monkeypatch, **given, search=search, strategy="darts", summary="search.json")
    for each in (module, loaded):
        searchable = network_of(each, target)
        assert isinstance(searchable, Searchable)
        assert task.items() <= searchable.task.to_dict().items()
    assert scores

    monkeypatch.chdir(tmp_path / "attached")
    module, loaded, scores = run(project, monkeypatch, **given, architecture="../architecture.json")
    for each in (module, loaded):
        assert not any(isinstance(part, Searchable) for part in each.modules())
        assert type(network_of(each, target)).__module__.partition(".")[0] in ("gnn_space", "seg_space")
    assert scores
    if project == "saves_pretrained":
        for part in ("../searched/saved", "saved"):
            assert type(load_pretrained(part)) in (Searchable, type(module.model))
    (checkpoint,) = sorted(Path("checkpoints").glob("*.ckpt"))[-1:]
    content = torch.load(checkpoint, weights_only=True)
    found = json.loads(Path("../architecture.json").read_text())
    assert content["automl_plugins"]["networks"][target]["architecture"] == found
