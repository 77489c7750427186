"""The files of a winner."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from scored_study import Scored

from automl_plugins import Architecture, Task
from automl_plugins.studies.study import Study
from gnn_space import AGNNSpace, EGNASSpace, GraphRegression
from seg_space import AutoDeepLabSpace, SemanticSegmentation, SmpSpace

MakeStudy = Callable[..., Study]


def test_what_a_winner_before_has_left_is_removed(scored: MakeStudy) -> None:
    Scored.scores = {"GIN": 0.9}
    scored(references=["gin"], trials=2).run()
    study = scored(references=[], trials=2)
    assert study.run().winner == "search"
    network = study.project.space.network(
        Architecture.from_json(study.folder.architecture.read_text()), study.project.task
    )
    network.load_state_dict(torch.load(study.folder.network, weights_only=True))
    assert json.loads(study.folder.winner.read_text())["found_by"] == "search"
    assert not any(study.folder.found.path.glob("*.json"))


class Images(pl.LightningDataModule):
    """A few squares, lit in their left half."""

    task = Task("pixel", "binary", in_channels=3, out_channels=1)

    def train_dataloader(self) -> Any:
        images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        masks = (torch.arange(32) < 16).float().expand(2, 1, 32, 32)
        return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, masks), batch_size=2)

    val_dataloader = test_dataloader = train_dataloader


@pytest.mark.parametrize("name", ["agnn", "egnas", "auto-deeplab", "smp"])
def test_what_is_kept_is_what_was_trained(scored: MakeStudy, name: str) -> None:
    spaces = {
        "agnn": lambda: AGNNSpace(layers=1),
        "egnas": lambda: EGNASSpace(cells=1, nodes=1, node_channels=4, edge_channels=2),
        "auto-deeplab": lambda: AutoDeepLabSpace(layers=1, blocks=1, filters=2, stem=(2, 2)),
        "smp": lambda: SmpSpace(encoders=["mobilenet_v2"]),
    }
    pixels = name in ("auto-deeplab", "smp")
    given = {"data": Images(), "module": SemanticSegmentation} if pixels else {"module": GraphRegression}
    study = scored(space=spaces[name](), trials=1, seeds=1, monitor=None, direction=None, **given)
    summary = study.run()
    folder, row = study.folder, summary.rows[0]
    network = study.project.space.network(Architecture.from_json(folder.architecture.read_text()), study.project.task)
    module = study.project.module(network, study.project.task)
    # From Lightning's own checkpoint, and from the network's weights alone.
    options = {"accelerator": "cpu", "enable_model_summary": False}
    trainer = pl.Trainer(logger=False, enable_progress_bar=False, **options)
    with torch.no_grad():
        (metrics,) = trainer.test(module, datamodule=study.project.data, ckpt_path=str(folder.module), verbose=False)
    assert {name: (pytest.approx(value, rel=1e-4), None) for name, value in metrics.items()} == dict(row.test)
    for name_, tensor in torch.load(folder.network, weights_only=True).items():
        assert torch.equal(tensor, network.state_dict()[name_])
