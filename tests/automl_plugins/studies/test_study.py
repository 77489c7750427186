from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from optuna.trial import FrozenTrial, TrialState
from perceptron_space.data import WavesData
from perceptron_space.module import PixelRegression
from perceptron_space.space import PerceptronSpace
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from automl_plugins import Architecture, Task
from automl_plugins.errors import StudyError
from automl_plugins.report.summary import Summary
from automl_plugins.report.trials import outcome
from automl_plugins.samplers import ArchitectureSampler, Proposal, TrialLog
from automl_plugins.studies.study import Study
from gnn_space import AGNNSpace
from gnn_space.data import ClusterData

MakeStudy = Callable[..., Study]


class Watched(PixelRegression):
    """Counts the trainings and tests that are started, for all networks together."""

    fits: list[str] = []  # noqa: RUF012 - shared on purpose
    tests: list[str] = []  # noqa: RUF012

    def on_fit_start(self) -> None:
        if not self.trainer.fast_dev_run:  # the study's first try of everything on one batch
            self.fits.append(str(self.network))

    def on_test_start(self) -> None:
        if not self.trainer.fast_dev_run:
            self.tests.append(str(self.network))


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> type[Watched]:
    monkeypatch.setattr(Watched, "fits", [])
    monkeypatch.setattr(Watched, "tests", [])
    return Watched


def has_tanh(network: nn.Module) -> bool:
    return any(isinstance(part, nn.Tanh) for part in network.modules())


class TanhFails(PixelRegression):
    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        if has_tanh(self.network):
            raise ArithmeticError("tanh is broken")
        return super().training_step(batch, batch_index)


class AllFail(PixelRegression):
    """All is well with the first batch, which is what a study tries before it trains."""

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        if batch_index > 0:
            raise ArithmeticError("everything is broken")
        return super().training_step(batch, batch_index)


class TanhDiverges(PixelRegression):
    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        loss = super().training_step(batch, batch_index)
        return loss * math.nan if has_tanh(self.network) else loss


def outcomes(study: Study, arm: str = "search") -> list[tuple[Any, ...]]:
    return [(trial.number, trial.state, trial.value, trial.params) for trial in study.arm_trials(arm)]


def originals(study: Study, state: TrialState) -> list[FrozenTrial]:
    trials = study.arm_trials("search")
    return [trial for trial in trials if trial.state is state and "copied_from" not in trial.user_attrs]


# A whole study.


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Summary]:
    """AGNN's space on a few small graphs, with random search and two references beside it."""
    study = Study(
        AGNNSpace(layers=1, max_parameters=3_000),
        ClusterData(num_train=3, num_val=2, num_test=1, batch_size=3),
        tmp_path_factory.mktemp("study"),
        trials=4,
        trial_epochs=1,
        trainer={"max_epochs": 2, "accelerator": "cpu"},
        references=["gcn", "gin"],
        finalists=2,
        seeds=2,
    )
    return study, study.run()


def test_the_summary_holds_winners_and_references_over_the_same_seeds(finished: tuple[Study, Summary]) -> None:
    study, summary = finished
    assert [row.label for row in summary.rows] == ["search", "random", "gcn", "gin"]
    assert all(row.seeds == 2 for row in summary.rows)
    assert list(summary.seeds) == [1, 2]
    assert (summary.monitor, summary.direction) == ("val_accuracy", "maximize")
    assert {"test_accuracy", "test_loss"} == summary.rows[0].test.keys()
    assert summary.searches["search"]["trials"] == 4
    assert summary.searches["random"]["macs"] >= summary.searches["search"]["macs"] > 0
    assert Summary.from_json(study.folder.summary.read_text()) == summary


def test_the_two_searches_draw_different_architectures(finished: tuple[Study, Summary]) -> None:
    study, _ = finished
    search, random = ([trial.params for trial in study.arm_trials(arm)] for arm in study.plan.arms)
    assert search != random


def test_trials_have_their_own_epochs_and_the_final_trainings_all(finished: tuple[Study, Summary]) -> None:
    study, _ = finished
    assert {trial.user_attrs.get("steps", 1) for trial in study.arm_trials("search") if trial.value is not None} == {1}
    trained = [json.loads(path.read_text()) for path in study.folder.path.glob("contenders/*/*-train.json")]
    assert {result["steps"] for result in trained} == {2}


def test_only_winners_and_references_are_tested(finished: tuple[Study, Summary]) -> None:
    study, _ = finished
    tested = {path.parent.name for path in study.folder.path.glob("contenders/*/*-test.json")}
    assert tested == {contender.key for contender in study.finals.tested}
    assert tested < {path.parent.name for path in study.folder.path.glob("contenders/*/*-train.json")}


def test_the_finalist_that_goes_on_is_what_validated_best_on_other_seeds(finished: tuple[Study, Summary]) -> None:
    study, summary = finished
    means = {
        contender.key: sum(result.score for result in study.choosing.trained(contender)) / 2
        for contender in study.finals.finalists("search")
    }
    assert len(means) == 2
    assert summary.rows[0].folder == f"contenders/{max(means, key=lambda key: means[key])}"


def test_the_winner_is_what_validated_best(finished: tuple[Study, Summary]) -> None:
    study, summary = finished
    able = [row for row in summary.rows if not row.notes]  # GCN and GIN are above the cap
    best = max(able, key=lambda row: row.validation_mean)
    assert summary.winner == best.label
    judged = [study.comparison.trained_on(study.finals.winner.contender, seed).score for seed in (1, 2)]
    assert best.validation_mean == pytest.approx(sum(judged) / 2)


def test_the_winners_network_reproduces_its_test_metrics(finished: tuple[Study, Summary]) -> None:
    study, _ = finished
    architecture = Architecture.from_json(study.folder.architecture.read_text())
    network = study.project.space.network(architecture, study.project.task)
    network.load_state_dict(torch.load(study.folder.network, weights_only=True))
    module = study.project.module(network, study.project.task)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    (metrics,) = trainer.test(module, datamodule=study.project.data, verbose=False)
    assert study.finals.winner is not None
    winner = study.finals.winner.contender
    tested = study.comparison.tested(winner)[study.comparison.best_seed(winner)]
    assert metrics == pytest.approx(tested.metrics, rel=1e-6)


def test_the_trials_are_a_csv(finished: tuple[Study, Summary]) -> None:
    study, _ = finished
    with study.folder.trials.open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = [(arm, trial) for arm in study.plan.arms for trial in study.arm_trials(arm)]
    assert len(rows) == len(expected)
    for row, (arm, trial) in zip(rows, expected, strict=True):
        assert (row["arm"], int(row["number"]), row["state"]) == (arm, trial.number, outcome(trial))
        assert (row["value"] and float(row["value"])) == (trial.value if trial.value is not None else "")
        assert {name: row[name] for name in trial.params} == {name: str(value) for name, value in trial.params.items()}


def test_running_it_again_trains_nothing(finished: tuple[Study, Summary], monkeypatch: pytest.MonkeyPatch) -> None:
    study, summary = finished
    monkeypatch.setattr("automl_plugins.training.fit.train", lambda *arguments, **options: pytest.fail("it trains"))
    monkeypatch.setattr("automl_plugins.training.fit.test", lambda *arguments, **options: pytest.fail("it tests"))
    assert study.run() == summary


# What a small one does.


def test_a_users_own_classes_need_nothing_of_ours(make_study: MakeStudy) -> None:
    """Plain Lightning classes that know neither `task` nor `monitor`: the study is told."""

    class Lit(pl.LightningModule):
        def __init__(self, net: nn.Module, task: Task) -> None:
            super().__init__()
            self.net = net

        def training_step(self, batch: Any, batch_index: int) -> Tensor:
            return functional.mse_loss(self.net(batch[0]), batch[1])

        def validation_step(self, batch: Any, batch_index: int) -> None:
            self.log("valid/mse", functional.mse_loss(self.net(batch[0]), batch[1]))

        def test_step(self, batch: Any, batch_index: int) -> None:
            self.log("test/mse", functional.mse_loss(self.net(batch[0]), batch[1]))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    class Images(pl.LightningDataModule):
        def train_dataloader(self) -> DataLoader[Any]:
            x = torch.linspace(0, 1, 4 * 3 * 16).view(4, 3, 4, 4)
            return DataLoader(TensorDataset(x, x.mean(1, keepdim=True)), batch_size=2)

        val_dataloader = test_dataloader = train_dataloader

    task = Task("pixel", "regression", 3, 1)
    study = make_study(module=Lit, data=Images(), task=task, monitor="valid/mse", direction="minimize")
    summary = study.run()
    assert summary.monitor == "valid/mse"
    assert summary.rows[0].test.keys() == {"test/mse"}
    with pytest.raises(StudyError, match=r"Lit does not say what to select by.*`monitor` and `direction`"):
        make_study(module=Lit, data=Images(), task=task, folder=study.folder.path / "other").run()
    with pytest.raises(StudyError, match="Images has no `task`"):
        make_study(module=Lit, data=Images(), folder=study.folder.path / "other").run()


def test_the_same_seed_is_the_same_study(make_study: MakeStudy, tmp_path: Path) -> None:
    first = make_study(folder=tmp_path / "first", trials=6)
    second = make_study(folder=tmp_path / "second", trials=6)
    other = make_study(folder=tmp_path / "other", trials=6, seed=1)
    summaries = [study.run() for study in (first, second, other)]
    assert outcomes(first) == outcomes(second) != outcomes(other)
    assert summaries[0].rows[0].test == summaries[1].rows[0].test


def test_more_trials_add_exactly_the_difference(make_study: MakeStudy, watched: type[Watched]) -> None:
    short = make_study(trials=3, module=watched, sampler="RandomSampler")
    short.run()
    before = outcomes(short)
    watched.fits.clear()
    longer = make_study(trials=5, module=watched, sampler="RandomSampler")
    longer.run()
    assert outcomes(longer)[:3] == before
    assert len(outcomes(longer)) == 5
    new = [trial for trial in longer.arm_trials("search")[3:] if "copied_from" not in trial.user_attrs]
    assert len(watched.fits) <= len(new) + 1  # a new winner is trained once more, over one seed


def test_equal_architectures_are_trained_once(make_study: MakeStudy, watched: type[Watched]) -> None:
    study = make_study(space=PerceptronSpace(widest=2), trials=12, module=watched)  # four architectures
    study.run()
    different = {tuple(trial.params.items()) for trial in study.arm_trials("search")}
    assert len(study.arm_trials("search")) == 12
    assert len(watched.fits) == len(different) + 1  # and the final training
    assert len(watched.tests) == 1


def test_without_trials_the_references_alone_are_trained(make_study: MakeStudy) -> None:
    data = ClusterData(num_train=2, num_val=1, num_test=1, batch_size=2)
    study = make_study(space=AGNNSpace(), data=data, module=None, trials=0, references=["gcn"])
    assert [row.label for row in study.run().rows] == ["gcn"]


# Failures.


def test_a_failing_trial_is_kept_with_its_traceback_shown_and_counted(
    make_study: MakeStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_study(module=TanhFails, trials=6, max_equal_failures=7, sampler="RandomSampler")
    summary = study.run()
    failed = originals(study, TrialState.FAIL)
    assert failed
    for trial in failed:
        assert trial.params["activation"] == "tanh"
        assert trial.user_attrs["failure"].startswith("ArithmeticError: tanh is broken")
        assert "in training_step" in trial.user_attrs["traceback"]
    assert summary.searches["search"]["trials"] == 6
    assert summary.searches["search"]["failed"] == len(failed)
    shown = capsys.readouterr().err
    assert f"trial {failed[0].number} of search failed:" in shown
    assert "ArithmeticError: tanh is broken" in shown


def test_equal_failures_end_the_study_and_a_restart_forgives_them(make_study: MakeStudy) -> None:
    broken = make_study(module=AllFail, trials=9, max_equal_failures=2, sampler="RandomSampler")
    with pytest.raises(StudyError, match="2 trials failed in the same way: ArithmeticError: everything is broken"):
        broken.run()
    assert len(broken.arm_trials("search")) == 2
    again = make_study(module=AllFail, trials=9, max_equal_failures=2, sampler="RandomSampler")
    with pytest.raises(StudyError, match="2 trials failed in the same way"):
        again.run()
    assert len(again.arm_trials("search")) == 4


@pytest.fixture
def careless() -> type[ArchitectureSampler]:
    class Careless(ArchitectureSampler):
        proposal: Any = None

        def propose(self, log: TrialLog, generator: np.random.Generator) -> Any:
            if log.observations and self.proposal is not None:
                if isinstance(self.proposal, Exception):
                    raise self.proposal
                return self.proposal
            return Proposal(self.unseen_at_random(log, generator))

    return Careless


@pytest.mark.parametrize(
    ("proposal", "told"),
    [
        (ArithmeticError("singular\nmatrix"), "ArithmeticError: singular"),
        (3, r"TypeError: Careless\.propose gave a int; it gives a Proposal\(architecture\)"),
        (Proposal({"depth": 1}), "TypeError: Careless.propose gave a dict"),  # type: ignore[arg-type]
        (Proposal(Architecture("egnas", 1, {})), "ValueError: the architecture is of the space 'egnas'"),
        (Proposal(Architecture("perceptron", 1, {})), "ValueError: choice '.*' is missing"),
    ],
)
def test_a_sampler_that_proposes_nothing_is_named_and_the_study_goes_on_with_a_mended_one(
    make_study: MakeStudy, careless: type[ArchitectureSampler], proposal: object, told: str
) -> None:
    careless.proposal = proposal
    with pytest.raises(StudyError, match=f"the sampler Careless proposed no architecture of the space: {told}"):
        make_study(sampler=careless).run()
    careless.proposal = None
    study = make_study(sampler=careless)
    study.run()
    assert sum(trial.state is TrialState.COMPLETE for trial in study.arm_trials("search")) == 3


def test_a_study_without_a_single_value_says_so(make_study: MakeStudy) -> None:
    with pytest.raises(StudyError, match="none of the 2 trials of search ended with a value"):
        make_study(module=AllFail, trials=2, max_equal_failures=5, sampler="RandomSampler").run()


def test_a_diverging_training_is_pruned_and_marked(make_study: MakeStudy) -> None:
    study = make_study(module=TanhDiverges, trials=6, sampler="RandomSampler")
    study.run()
    diverged = originals(study, TrialState.PRUNED)
    assert diverged
    assert all(trial.params["activation"] == "tanh" and trial.user_attrs["diverged"] for trial in diverged)
    assert all(trial.params["activation"] == "relu" for trial in originals(study, TrialState.COMPLETE))


# What is refused before anything is read.


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"trials": -1}, "trials is at least 0; got -1"),
        ({"seeds": 0}, "seeds is at least 1; got 0"),
        ({"workers": 0}, "workers is at least 1"),
        ({"direction": "up"}, "direction is minimize or maximize; got 'up'"),
        ({"sampler": "TPESample"}, "sampler='TPESample' is unknown; did you mean 'TPESampler'"),
        ({"pruner": "Median"}, "pruner='Median' is unknown; did you mean 'MedianPruner'"),
        ({"references": ["gcnn"]}, "references: there is no 'gcnn'; did you mean 'gcn'"),
        ({"trainer": {"max_epoch": 1}}, "trainer.max_epoch is no argument .* did you mean 'max_epochs'"),
        ({"trainer": {"strategy": "ddp"}}, "starts the whole script again on every rank"),
        ({"trials": math.nan}, "trials is a whole number of at least 0; got nan"),
        ({"trials": 3.0}, "trials is a whole number of at least 0; got 3.0"),
        ({"trials": True}, "trials is a whole number of at least 0; got True"),
        ({"trials": "3"}, "trials is a whole number of at least 0; got '3'"),
        ({"finalists": math.inf}, "finalists is a whole number of at least 1; got inf"),
        ({"trial_epochs": 0}, "trial_epochs is at least 1; got 0"),
        ({"seed": 2**32}, "seed is at most 4,293,967,294; got 4,294,967,296"),
        ({"seed": -1}, "seed is at least 0; got -1"),
        ({"sharing": "false"}, "sharing is true or false; got 'false'"),
        ({"random_search": 0}, "random_search is true or false; got 0"),
        ({"references": "gcn"}, "references is a list of names, classes or functions; got 'gcn'"),
        ({"costs": "macs"}, "costs is a list of names; got 'macs'"),
        ({"limits": {"macs": math.nan}}, "limits.macs"),
        ({"limits": {"macs": -1}}, "limits.macs"),
        ({"reward": "mnasnett"}, "there is no 'mnasnett'; did you mean 'mnasnet'"),
        ({"trainer": None}, "trainer.max_epochs is missing, and Lightning would train 1,000 epochs each time"),
        ({"trainer": {"accelerator": "cpu"}, "trial_epochs": 1}, "trainer.max_epochs is missing"),
        ({"trainer": {"max_epochs": -1}}, "trainer.max_epochs=-1 never ends"),
        ({"prefer": "cheap"}, "prefer is one of best, economical; got 'cheap'"),
        ({"prefer": "economical"}, "prefer='economical' is within a standard error, and one seed has none"),
        ({"trainer": {"max_epochs": 0}}, "trainer.max_epochs is a whole number of at least 1; got 0"),
        ({"trainer": {"max_epochs": 1.5}}, "trainer.max_epochs is a whole number of at least 1; got 1.5"),
    ],
    ids=str,
)
def test_mistakes_are_named_before_data_are_read(make_study: MakeStudy, given: dict[str, Any], message: str) -> None:
    class Unread(WavesData):
        def setup(self, stage: str | None = None) -> None:
            pytest.fail("the data were read")

    with pytest.raises(ValueError, match=message):
        make_study(data=Unread(), **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"space": PerceptronSpace}, r"space is .*AGNNSpace\(layers=2\)"),
        ({"data": WavesData}, "data is a LightningDataModule; got <class"),
        ({"data": [1, 2]}, r"data is a LightningDataModule; got \[1, 2\]"),
        ({"task": "graph"}, "task is an automl_plugins.Task; got 'graph'"),
        ({"trainer": 5}, "trainer is a mapping of arguments of Lightning's Trainer"),
        ({"module": 5}, "module is a class or function of a network and its task; got 5"),
        ({"module": nn.Identity()}, "got one that is made, Identity"),
    ],
    ids=str,
)
def test_things_of_another_kind_are_named(make_study: MakeStudy, given: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make_study(**given)


@pytest.mark.parametrize("length", [{"max_steps": 5}, {"max_time": "00:00:01:00"}, {"fast_dev_run": True}], ids=str)
def test_a_training_may_end_by_steps_or_time(make_study: MakeStudy, length: dict[str, Any]) -> None:
    make_study(trainer=length)


def test_home_is_where_a_tilde_says(make_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    study = make_study(folder="~/run", storage="~/studies/a.journal", trials=1)
    assert study.folder.path == tmp_path / "run"
    study.run()
    assert (tmp_path / "studies" / "a.journal").exists()
    assert (tmp_path / "run" / "summary.json").exists()
    assert make_study(storage="sqlite:///~/a.db").plan.storage == f"sqlite:///{tmp_path}/a.db"


def test_a_datamodule_of_the_other_lightning_is_refused(make_study: MakeStudy) -> None:
    base = type("LightningDataModule", (), {"__module__": "lightning.pytorch.core"})
    theirs = type("Theirs", (base,), {"__module__": "project"})()
    with pytest.raises(TypeError, match=r"Theirs is built on `lightning.pytorch`"):
        make_study(data=theirs)
