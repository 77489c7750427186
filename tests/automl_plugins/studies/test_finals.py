"""The end of a study, where trainings fail, diverge, or are won by somebody else."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from rich.console import Console
from torch import Tensor, nn

from automl_plugins import Architecture, Task, load_result, registry
from automl_plugins.report.summary import Summary
from automl_plugins.studies import workers
from automl_plugins.studies.conclusion import NothingFiniteError
from automl_plugins.studies.study import Study
from gnn_space import AGNNSpace, EGNASSpace, GraphRegression
from gnn_space.data import FreesolvData
from seg_space import AutoDeepLabSpace, SemanticSegmentation, SmpSpace

MakeStudy = Callable[..., Study]
DATA = FreesolvData(batch_size=16)


def parameters_of(network: nn.Module) -> int:
    return sum(each.numel() for each in network.parameters())


class Scored(GraphRegression):
    """Real trainings whose score is what a test says: by default, the smaller the network the better."""

    scores: dict[str, float] = {}  # noqa: RUF012 - tests set it
    broken: set[int] = set()  # noqa: RUF012
    """Networks of these many parameters fail in their last epoch of a final training."""

    @property
    def count(self) -> int:
        return parameters_of(self.network)

    @property
    def is_final(self) -> bool:
        return self.trainer.max_epochs == 2

    def on_train_epoch_end(self) -> None:
        if self.is_final and self.current_epoch == 1 and self.count in self.broken:
            raise RuntimeError("CUDA out of memory (say)")

    def on_validation_epoch_end(self) -> None:
        name = type(self.network).__name__
        self.log("val_score", torch.tensor(self.scores.get(name, 1 / self.count) + 1e-9 * float(torch.rand(()))))

    def on_test_epoch_end(self) -> None:
        self.log("test_score", torch.tensor(self.scores.get("test", 0.5)))


@pytest.fixture
def scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeStudy:
    """A study of AGNN's space on a few molecules, in two batches."""
    monkeypatch.setattr(Scored, "scores", {})
    monkeypatch.setattr(Scored, "broken", set())
    limits = {"limit_train_batches": 1, "limit_val_batches": 1}

    def make(**given: Any) -> Study:
        defaults = {
            "space": AGNNSpace(layers=1, max_parameters=100_000),
            "data": DATA,
            "folder": tmp_path / "run",
            "module": Scored,
            "monitor": "val_score",
            "direction": "maximize",
            "trials": 5,
            "trial_epochs": 1,
            "trainer": {"max_epochs": 2, "accelerator": "cpu", **limits},
            "random_search": False,
            "references": [],
            "references_first": False,
            "finalists": 2,
            "seeds": 2,
        }
        return Study(**{**defaults, **given})

    return make


def is_final() -> bool:
    """Whether this is a final training: what is tried before the first trial, and trials, have the study's own seed."""
    return torch.initial_seed() > 0


def ranked(study: Study) -> list[int]:
    """The numbers of parameters of the study's different architectures, the best of its trials first."""
    trials = study.arm_trials("search")
    return sorted({trial.user_attrs["params"] for trial in trials if trial.value is not None})


# What fails.


def test_the_next_best_takes_the_place_of_a_finalist_that_fails(scored: MakeStudy) -> None:
    study = scored()
    study.run()
    best, second, third = ranked(study)[:3]
    Scored.broken = {best}
    again = scored(folder=study.folder.path / "again")
    summary = again.run()
    rows = {row.params: row for row in summary.rows}
    assert rows.keys() == {second, best}, "the best that stands, and what failed"
    assert summary.winner == rows[second].label == "search"
    assert rows[best].completed == 0
    assert rows[best].validation_mean is None
    assert rows[best].notes[0].startswith("failed: RuntimeError: CUDA out of memory (say) (")
    trained = [parameters_of(again.comparison.build(each)) for each in again.finals.finalists("search")]
    assert trained == [second, third, best]
    assert (again.folder.path / rows[best].folder / "architecture.json").exists()


def test_a_final_training_that_hangs_is_ended_and_gives_its_place_to_the_next(
    scored: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hangs(self: Scored) -> None:
        if type(self.network).__name__ == "GIN" and is_final():
            time.sleep(60)

    monkeypatch.setattr(Scored, "on_train_start", hangs)
    monkeypatch.setattr(workers, "can_start_workers", lambda: False)  # the patched class is of this process
    summary = scored(references=["gin"], trials=1, finalists=1, seeds=1, final_minutes=0.02).run()
    search, gin = summary.rows
    assert (summary.winner, search.completed, gin.completed) == ("search", 1, 0)
    assert gin.notes[0].startswith("failed: TimeLimitError: it took longer than final_minutes=0.02")


def test_a_seed_that_fails_is_said_and_the_others_are_the_mean(
    scored: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_on_the_second_seed(self: Scored) -> None:
        if type(self.network).__name__ == "GIN" and torch.initial_seed() == 2:
            raise ArithmeticError("unlucky")

    monkeypatch.setattr(Scored, "on_train_start", fails_on_the_second_seed)
    Scored.scores = {"GIN": 0.9, "GCN": 0.8}
    summary = scored(references=["gin", "gcn"], trials=1, finalists=2).run()
    gin, gcn = summary.rows[1:]
    assert (gin.completed, gin.seeds) == (1, 2)
    assert gin.validation_mean == pytest.approx(0.9)
    assert gin.validation_deviation is None
    assert gin.notes[0].startswith("failed: ArithmeticError: unlucky")
    assert gin.notes[0].endswith("(seed 2 of 2 seeds)")
    assert summary.winner == "gcn", "a mean over the seeds that went well is no fair comparison"
    shown = printed(summary)
    assert "0.9000 (1 of 2 seeds)" in shown
    assert gcn.completed == 2


@pytest.mark.parametrize("place", ["constructor", "validation", "test", "checkpoint"])
def test_a_reference_may_fail_anywhere(scored: MakeStudy, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    class Mine(nn.Module):
        levels = ("graph",)

        def __init__(self, task: Task) -> None:
            super().__init__()
            if place == "constructor" and is_final():
                raise RuntimeError("no such network")
            self.mean = nn.Parameter(torch.zeros(1, task.out_channels))

        def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, batch: Tensor, size: int) -> Tensor:
            return self.mean.expand(size, -1)

    def hook(name: str) -> None:
        def raises(self: pl.LightningModule, *arguments: Any) -> None:
            if type(self.network).__name__ == "Mine" and is_final():
                raise RuntimeError(f"broken in {place}")

        monkeypatch.setattr(Scored, name, raises)

    load = registry.load
    monkeypatch.setattr(registry, "load", lambda group, name: Mine if name == "gin" else load(group, name))
    if place != "constructor":
        hook({"validation": "on_validation_start", "test": "on_test_start", "checkpoint": "on_save_checkpoint"}[place])
    torch.manual_seed(1)  # of this process, whose checkpoints are those of the final trainings; see `is_final`
    study = scored(references=["gin"], trials=2)
    summary = study.run()
    row = next(row for row in summary.rows if row.label == "gin")
    worked = place in ("test", "checkpoint")
    assert (row.completed, row.validation_mean is not None) == ((2, True) if worked else (0, False))
    words = {
        "constructor": "failed: RuntimeError: no such network",
        "validation": "failed: RuntimeError: broken in validation",
        "test": "test failed: RuntimeError: broken in test",
        "checkpoint": "which failed: RuntimeError: broken in checkpoint",
    }
    assert words[place] in row.notes[0]
    assert "gin: " + row.notes[0] in summary.lines()
    assert Summary.from_json(study.folder.summary.read_text()) == summary
    assert study.folder.trials.exists()


def test_a_diverged_reference_is_a_row_and_no_seed_of_it_wins(scored: MakeStudy) -> None:
    Scored.scores = {"GIN": math.nan, "GCN": 0.1}
    summary = scored(references=["gin", "gcn"], trials=1).run()
    gin = next(row for row in summary.rows if row.label == "gin")
    assert gin.validation_mean is None
    assert gin.notes == ["diverged: the last validation gave no finite val_score"]
    assert "diverged" in printed(summary)
    assert summary.winner != "gin"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_test_metric_that_is_undefined_is_said_to_be_so(scored: MakeStudy, value: float) -> None:
    Scored.scores = {"test": value}
    study = scored(trials=1, finalists=1)
    summary = study.run()
    assert summary.rows[0].test["test_score"] == (None, None)
    assert summary.rows[0].notes == ["test_score is undefined (not a number) on 2 of 2 seeds"]
    assert "undefined" in printed(summary)
    content = study.folder.summary.read_text()
    json.loads(content, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert Summary.from_json(content) == summary


def test_where_nothing_is_left_all_that_there_is_is_written(scored: MakeStudy) -> None:
    study = scored(trials=4)
    study.run()
    Scored.broken = set(ranked(study))
    again = scored(folder=study.folder.path / "again", trials=4, max_equal_failures=2)
    with pytest.raises(
        NothingFiniteError, match=r"there is no winner, .* failed: RuntimeError: CUDA out of memory"
    ) as told:
        again.run()
    assert again.folder.trials.exists()
    assert again.folder.summary.exists()
    assert not again.folder.architecture.exists()
    assert not again.folder.network.exists()
    failed = [row for row in told.value.summary.rows if row.completed == 0]
    assert len(failed) == 2, "what fails each time is not mended by trying on"
    found = told.value.summary.rows[0].folder
    assert str(told.value).endswith(f"the architecture of the best trial is in {found}")
    Architecture.from_json((again.folder.path / found / "architecture.json").read_text())


def test_what_failed_is_tried_again_three_times_in_all(scored: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[int] = []
    monkeypatch.setattr(Scored, "on_fit_start", lambda self: fits.append(self.count) if self.is_final else None)
    study = scored(trials=1, finalists=1, seeds=1)
    study.run()
    Scored.broken = set(ranked(study))
    fits.clear()
    for expected in (1, 2, 3, 3):
        with pytest.raises(NothingFiniteError):
            scored(trials=1, finalists=1, seeds=1, folder=study.folder.path / "again").run()
        assert len(fits) == expected
    Scored.broken = set()
    path = study.folder.path / "again"
    for leftover in path.glob("contenders/*/*-train.*"):
        leftover.unlink()
    assert scored(trials=1, finalists=1, seeds=1, folder=path).run().winner == "search"


def test_a_search_without_a_value_does_not_lose_what_others_found(
    scored: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Scored, batch: Any, index: int) -> Tensor:
        if type(self.network).__module__.startswith("gnn_space.agnn") and not self.trainer.fast_dev_run:
            raise ArithmeticError("no architecture can be trained")
        return GraphRegression.training_step(self, batch, index)

    monkeypatch.setattr(Scored, "training_step", fails)
    study = scored(trials=2, references=["gcn"], max_equal_failures=5)
    summary = study.run()
    assert summary.winner == "gcn"
    assert any("none of the 2 trials of search ended with a value" in line for line in summary.verdict)


# Who wins.


def test_the_best_wins_whoever_found_it(scored: MakeStudy) -> None:
    Scored.scores = {"GIN": 0.9, "GCN": 0.1}
    study = scored(references=["gcn", "gin"], trials=2)
    summary = study.run()
    assert summary.winner == "gin"
    folder = study.folder
    winner = json.loads(folder.winner.read_text())
    assert (winner["reference"], winner["found_by"]) == ("gin", "hand")
    assert not folder.architecture.exists(), "of two winners' files, none is taken for the other's"
    network = registry.load("references", "gin")(study.project.task)
    network.load_state_dict(torch.load(folder.network, weights_only=True))
    found = Architecture.from_json(folder.found.architecture.read_text())
    study.project.space.network(found, study.project.task).load_state_dict(
        torch.load(folder.found.network, weights_only=True)
    )
    lines = "\n".join(summary.verdict)
    assert "the winner by mean validation is gin, made by hand: val_score 0.9000" in lines
    assert "the search was not worth its cost" in lines


def test_a_finalist_is_chosen_on_other_seeds_than_it_is_judged_by(
    scored: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = scored(references=["gin", "gcn"])
    study.run()
    best, second = ranked(study)[:2]
    choosing, judging = set(study.choosing.seeds), set(study.comparison.seeds)
    assert choosing.isdisjoint(judging)

    def scores(self: Scored) -> None:
        # Lucky where it is judged, and there alone.
        lucky = self.is_final and self.count == best and torch.initial_seed() in judging
        self.log("val_score", torch.tensor(1.0 if lucky else self.count == second).float())

    monkeypatch.setattr(Scored, "on_validation_epoch_end", scores)
    again = scored(folder=study.folder.path / "again", references=["gin", "gcn"])
    summary = again.run()
    search = summary.rows[0]
    assert {row.label for row in summary.rows} == {"search", "gin", "gcn"}
    assert search.params == second, "the one that the choosing seeds prefer"
    assert list(summary.seeds) == [1, 2]
    finals = again.finals
    trained = {contender.label for contender in finals.chosen_among}
    assert len(trained) == 4, "two finalists and two hand-made networks"
    on_disk = list(again.folder.path.glob("contenders/*/*-train.json"))
    assert len(on_disk) == again.plan.final_trainings(references=2) == 4 * 2 + 3 * 2
    assert {"hand"} == summary.tests["val_score"].keys()
    assert summary.tests["val_score"]["hand"].pairs == 2
    assert summary.tests["test_score"].keys() == {"hand"}


def test_a_hand_made_network_above_the_cap_is_shown_and_never_wins(
    scored: MakeStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    Scored.scores = {"GIN": 0.9}
    cap = parameters_of(registry.load("references", "gin")(scored().project.task)) - 1
    study = scored(space=AGNNSpace(layers=1, max_parameters=cap), references=["gin"], trials=2)
    study.prepare()
    assert (
        f"all hand-made networks are beyond the limits: gin (params {cap + 1:,}); they are trained as a comparison"
        in capsys.readouterr().err
    )
    summary = study.run()
    search, gin = summary.rows
    assert summary.winner == "search"
    assert gin.validation_mean == pytest.approx(0.9)
    assert gin.notes == ["breaks the limit of max_parameters, so it is not chosen"]
    assert search.validation_mean < gin.validation_mean
    assert study.folder.architecture.exists()


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


def test_the_economical_one_wins_where_it_is_preferred(scored: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    def scores(self: Scored) -> None:
        given = {"GIN": (0.90, 0.80), "GCN": (0.84, 0.84)}.get(type(self.network).__name__, (0.1, 0.1))
        self.log("val_score", given[torch.initial_seed() % 2])

    monkeypatch.setattr(Scored, "on_validation_epoch_end", scores)
    study = scored(references=["gin", "gcn"], trials=1)
    assert study.run().winner == "gin"
    trained = {path: path.stat().st_mtime_ns for path in study.folder.path.glob("contenders/*/*.json")}
    for prefer, winner in (("economical", "gcn"), ("best", "gin")):
        summary = scored(references=["gin", "gcn"], trials=1, prefer=prefer).run()
        assert (summary.winner, summary.economical) == (winner, "gcn")
        assert json.loads(study.folder.winner.read_text())["reference"] == winner
        registry.load("references", winner)(study.project.task).load_state_dict(
            torch.load(study.folder.network, weights_only=True)
        )
        first, second, *_ = summary.verdict
        if prefer == "economical":
            assert first.startswith("the winner, the economical one, is gcn, made by hand: val_score 0.8400")
            assert second.startswith("the best by mean validation is gin: val_score 0.8500 ± 0.0707, params ")
    assert trained == {path: path.stat().st_mtime_ns for path in study.folder.path.glob("contenders/*/*.json")}


def test_an_ensemble_may_be_better_and_does_not_win(scored: MakeStudy) -> None:
    Scored.scores = {"GIN": 0.9, "GCN": 0.8, "GAT": 0.7, "Ensemble": 0.95}
    given = {"references": ["gcn", "gat", "gin"], "trials": 1, "finalists": 3}
    study = scored(ensemble=3, **given)
    summary = study.run()
    rows = {row.label: row for row in summary.rows}
    assert summary.winner == "gin"
    assert rows["ensemble of 3"].validation_mean == pytest.approx(0.95)
    assert [member.label for member in study.finals.members] == ["gin", "gcn", "gat"]
    assert rows["ensemble of 3"].params == sum(rows[label].params for label in ("gin", "gcn", "gat"))
    trained = rows["gin"].cpu_seconds + rows["gcn"].cpu_seconds + rows["gat"].cpu_seconds
    assert rows["ensemble of 3"].cpu_seconds == pytest.approx(trained), "its training is theirs"
    assert "test_score" in rows["ensemble of 3"].test
    load_result(study.folder.path).ensemble(study.project.task)
    few = scored(ensemble=5, **given).run()
    assert "an ensemble of 5 was asked for; 4 networks can be chosen for it" in few.verdict
    without = scored(**given).run()
    assert [row.label for row in without.rows] == ["search", "gcn", "gat", "gin"]
    assert not study.folder.ensemble.network.exists()


class WithAHead(Scored):
    def __init__(self, network: nn.Module, task: Task) -> None:
        super().__init__(network, task)
        self.head = nn.Parameter(torch.zeros(1))


def test_no_mean_is_taken_of_networks_whose_modules_learn_beside_them(scored: MakeStudy) -> None:
    summary = scored(module=WithAHead, references=["gcn", "gin"], trials=1, ensemble=2).run()
    row = summary.rows[-1]
    assert (row.label, row.completed) == ("ensemble of 2", 0)
    assert row.notes[0].startswith("failed: ValueError: WithAHead learns more than its network, head")
    assert any(line.startswith("there is no ensemble") for line in summary.verdict)
    assert summary.winner is not None


def test_random_search_may_win(scored: MakeStudy) -> None:
    study = scored(random_search=True, trials=4)
    summary = study.run()
    rows = {row.label: row for row in summary.rows}
    assert summary.winner == max(("search", "random"), key=lambda label: rows[label].validation_mean or 0.0)
    counts = {label: rows[label].params for label in ("search", "random")}
    assert counts[summary.winner] == min(counts.values())
    architecture = Architecture.from_json(study.folder.architecture.read_text())
    assert study.project.space.num_parameters(architecture, study.project.task) == counts[summary.winner]


def test_hand_made_networks_keep_limits_too(scored: MakeStudy) -> None:
    Scored.scores = {"GIN": 0.9, "GCN": 0.8}
    study = scored(references=["gin", "gcn"], trials=3, limits={"params": 45_000})
    summary = study.run()
    rows = {row.label: row for row in summary.rows}
    assert rows["gin"].params > 45_000 > rows["gcn"].params
    assert summary.winner == "gcn"
    assert rows["gin"].notes == ["breaks the limit of params, so it is not chosen"]


def test_a_reward_judges_hand_made_networks_too(scored: MakeStudy) -> None:
    Scored.scores = {"GIN": 0.90, "GCN": 0.89}
    reward = {"class_path": "mnasnet", "cost": "params", "target": 1000, "below": 0, "above": -1}
    summary = scored(references=["gin", "gcn"], trials=1, reward=reward).run()
    rows = {row.label: row for row in summary.rows}
    assert rows["gcn"].figures == {"params": rows["gcn"].params}
    assert 0.89 / rows["gcn"].params > 0.9 / rows["gin"].params
    assert summary.winner in ("gcn", "search")


def test_one_seed_has_no_deviation_and_tells_of_no_worth(scored: MakeStudy) -> None:
    summary = scored(references=["gcn"], trials=1, seeds=1).run()
    assert "±" not in printed(summary).replace("mean ± deviation", "")
    assert summary.verdict[-1].startswith("one seed cannot tell whether the search was worth its cost")
    assert summary.economical is None


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


def printed(summary: Summary) -> str:
    console = Console(width=220, file=io.StringIO())
    console.print(summary.table())
    return console.file.getvalue()  # type: ignore[attr-defined]
