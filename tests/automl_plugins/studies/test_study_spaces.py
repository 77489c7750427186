"""Studies over the spaces that there are: a trial, its costs and a final training, by one parameter."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from optuna.trial import FrozenTrial, TrialState

from automl_plugins import Architecture, SearchSpace
from automl_plugins.report.summary import Summary
from automl_plugins.studies.study import Study
from automl_plugins.training import fit as study_training
from gnn_space import AGNNSpace, EGNASSpace
from gnn_space.data import ClusterData
from seg_space import AutoDeepLabSpace, SmpSpace
from seg_space.data import DarcyFlowData


def nodes() -> ClusterData:
    return ClusterData(num_train=2, num_val=1, num_test=1, batch_size=2)


def pixels() -> DarcyFlowData:
    return DarcyFlowData(num_train=4, num_val=2, num_test=2, resolution=17, root=None, batch_size=2)


SPACES: dict[str, tuple[Callable[[], SearchSpace], Callable[[], pl.LightningDataModule]]] = {
    "agnn": (lambda: AGNNSpace(layers=1, max_parameters=20_000), nodes),
    "egnas": (lambda: EGNASSpace(1, 2, 2, False, 8, 4, 8, 4, max_parameters=4_000), nodes),
    "auto-deeplab": (lambda: AutoDeepLabSpace(layers=2, blocks=2, filters=2), pixels),
    "smp": (lambda: SmpSpace(("Linknet", "FPN"), ("mobilenet_v2",), (3,)), pixels),
}
COSTS = ("params", "macs", "latency_ms", "memory_mib")


def make(name: str, folder: Path) -> Study:
    space, data = SPACES[name]
    return Study(
        space(),
        data(),
        folder,
        trials=2,
        sampler="RandomSampler",
        costs=COSTS,
        trainer={"max_epochs": 1, "accelerator": "cpu"},
        random_search=False,
        references=[],
        finalists=1,
        seeds=1,
    )


@pytest.fixture(scope="module", params=SPACES)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Summary]:
    study = make(request.param, tmp_path_factory.mktemp("study"))
    return study, study.run()


def trained(study: Study) -> list[FrozenTrial]:
    """The trials whose networks keep the space's cap."""
    trials = study.arm_trials("search")
    assert all(trial.state is TrialState.COMPLETE for trial in trials if "refused" not in trial.user_attrs)
    return [trial for trial in trials if trial.state is TrialState.COMPLETE]


def test_a_trial_is_told_its_score_and_its_costs(finished: tuple[Study, Summary]) -> None:
    study, _ = finished
    trials = trained(study)
    assert trials
    for trial in trials:
        assert all(math.isfinite(value) for value in trial.values)
        assert dict(zip(COSTS, trial.values[1:], strict=True)) == trial.user_attrs["figures"]
        network = study.project.space.network(study.project.space.architecture(trial.params), study.project.task)
        assert trial.values[1] == sum(each.numel() for each in network.parameters() if each.requires_grad)
        assert min(trial.values[2:]) > 0


def test_macs_are_of_the_validation_batch_that_the_module_gives_its_network(finished: tuple[Study, Summary]) -> None:
    study, _ = finished
    trial = trained(study)[0]
    module = study.project.module(
        study.project.space.network(study.project.space.architecture(trial.params), study.project.task),
        study.project.task,
    )
    batch = next(iter(study.project.data.val_dataloader()))
    with torch.utils.flop_counter.FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval().requires_grad_(False).predict_step(batch, 0)
    assert trial.values[2] == counter.get_total_flops() // 2


def test_what_is_chosen_is_trained_tested_and_kept(finished: tuple[Study, Summary]) -> None:
    study, summary = finished
    (row,) = summary.rows
    assert math.isfinite(row.validation_mean)
    assert row.test
    assert all(math.isfinite(mean) for mean, _ in row.test.values())
    kept = Architecture.from_json(study.folder.architecture.read_text())
    assert kept in [study.project.space.architecture(trial.params) for trial in trained(study)]
    network = study.project.space.network(kept, study.project.task)
    network.load_state_dict(torch.load(study.folder.network, weights_only=True))
    assert row.params == sum(each.numel() for each in network.parameters() if each.requires_grad)


def test_a_study_that_is_run_again_trains_nothing_and_says_the_same(
    finished: tuple[Study, Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, summary = finished
    again = make(study.project.space.name, study.folder.path)
    monkeypatch.setattr(study_training, "train", lambda *_, **__: pytest.fail("trained again"))
    assert again.run().rows == summary.rows
