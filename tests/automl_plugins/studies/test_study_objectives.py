"""Studies that are after more than a metric: fronts, limits, rewards."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from perceptron_space.data import WavesData
from perceptron_space.module import PixelRegression
from torch import Tensor

from automl_plugins.cli import main
from automl_plugins.errors import StudyError
from automl_plugins.measures.energy import EnergyError, energy_meter
from automl_plugins.objectives.rewards import mnasnet_reward
from automl_plugins.report.summary import Summary
from automl_plugins.studies.study import Study

MakeStudy = Callable[..., Study]


class Rated(PixelRegression):
    """A network's score is between 0 and 1, and more of it is better."""

    monitor = "val_score"
    direction = "maximize"

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        self.log("val_score", (-self._loss(batch)).exp())

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        return self(batch[0])


@pytest.fixture
def rated(make_study: MakeStudy) -> MakeStudy:
    return lambda **given: make_study(**{"module": Rated, "sampler": "RandomSampler", "trials": 8, **given})


def dominates(one: list[float], other: list[float]) -> bool:
    """The first value is the better the higher it is, the others the lower they are."""
    no_worse = one[0] >= other[0] and all(mine <= theirs for mine, theirs in zip(one[1:], other[1:], strict=True))
    return no_worse and one != other


def test_a_study_with_costs_ends_with_the_front_of_each_search(rated: MakeStudy) -> None:
    study = rated(costs=["params", "macs"], random_search=True, finalists=2)
    summary = study.run()
    assert summary.fronts.keys() == {"search", "random"}
    for arm, front in summary.fronts.items():
        assert front.objectives == ("val_score", "params", "macs")
        values = {trial.number: trial.values for trial in study.arm_trials(arm)}
        beaten = {number for number, own in values.items() if any(dominates(other, own) for other in values.values())}
        on_front = set(front.trials)
        assert on_front
        assert not on_front & beaten
        # What is not there is beaten, or equal to something that is.
        assert all(number in beaten | on_front or values[number] in front.values for number in values)
        assert 0 < front.hypervolume <= 1
        assert f"front of {arm}: {len(front.trials)} trials, hypervolume {front.hypervolume:.4f}" == front.lines(arm)[0]
    assert Summary.from_json(summary.to_json()).fronts.keys() == summary.fronts.keys()


def test_what_is_taken_from_a_front_is_trained_over_seeds_and_tested(rated: MakeStudy) -> None:
    study = rated(costs=["params"], finalists=2)
    summary = study.run()
    labels = [row.label for row in summary.rows]
    ends = summary.fronts["search"].trials
    assert labels == [f"search, trial {ends[0]}", f"search, trial {ends[-1]}"]
    assert all(not math.isnan(row.test["test_loss"][0]) for row in summary.rows)


def test_macs_are_those_of_a_validation_batch(rated: MakeStudy) -> None:
    study = rated(costs=["macs"], trials=2)
    study.run()
    batch = len(next(iter(study.project.data.val_dataloader()))[0])
    for trial in study.arm_trials("search"):
        widths = [3, *(trial.params[f"layer{layer}.width"] for layer in range(trial.params["depth"])), 1]
        products = sum(one * other for one, other in itertools.pairwise(widths))
        assert trial.values[1] == products * 8 * 8 * batch


def test_measured_latencies_are_kept(rated: MakeStudy) -> None:
    study = rated(costs=["latency_ms"], trials=2)
    study.run()
    assert all(trial.values[1] > 0 for trial in study.arm_trials("search"))
    assert list(study.folder.latencies.glob("*.json"))


def test_what_breaks_a_limit_is_not_chosen(rated: MakeStudy) -> None:
    study = rated(limits={"memory_mib": 0.05}, finalists=8)
    study.run()
    trials = study.arm_trials("search")
    figures = {trial.number: trial.user_attrs["figures"]["memory_mib"] for trial in trials}
    assert min(figures.values()) <= 0.05 < max(figures.values())
    for trial in trials:
        assert trial.constraints == {"memory_mib": pytest.approx(figures[trial.number] / 0.05 - 1)}
    chosen = [each.architecture for each in study.finals.finalists("search")]
    kept = [trial.params for trial in trials if figures[trial.number] <= 0.05]
    assert chosen
    assert all(dict(each) in kept for each in chosen)
    with pytest.raises(StudyError, match=r"none of the 8 trials of search keeps the limits {'memory_mib': 1e-06}"):
        rated(limits={"memory_mib": 1e-6}, folder=study.folder.path / "other").run()


def test_what_is_beyond_a_limit_that_is_counted_is_not_trained(rated: MakeStudy) -> None:
    study = rated(limits={"params": 60, "macs": 20_000}, random_search=True, seeds=1)
    study.run()
    refused = []
    for arm in ("search", "random"):
        for trial in study.arm_trials(arm):
            if "refused" in trial.user_attrs:
                refused.append(trial)
                assert max(trial.constraints.values()) > 0
            else:
                assert trial.user_attrs["figures"]["params"] <= 60
                assert trial.user_attrs["figures"]["macs"] <= 20_000
    assert refused, "the limits refuse nothing, so this shows nothing"
    assert all("refused" not in trial.user_attrs for trial in study.arm_trials("random"))
    with pytest.raises(StudyError, match=r"limits.macs=7 admits no network .* multiply-accumulates; allow as many"):
        rated(limits={"macs": 7}, folder=study.folder.path / "other").run()


def test_with_a_reward_trials_are_told_the_reward(rated: MakeStudy) -> None:
    reward = {"class_path": "mnasnet", "cost": "params", "target": 30, "below": 0, "above": -1}
    study = rated(reward=reward, finalists=3)
    study.run()
    for trial in study.arm_trials("search"):
        count = trial.user_attrs["figures"]["params"]
        score = trial.value if count <= 30 else trial.value * count / 30
        assert 0 < score < 1
        assert trial.value == pytest.approx(mnasnet_reward(score, count, 30, 0, -1))
    rewarded = {
        contender.key: mnasnet_reward(
            study.comparison.trained(contender)[0].score,
            study.project.space.num_parameters(contender.architecture, study.project.task),
            30,
            0,
            -1,
        )
        for contender in study.finals.finalists("search")
    }
    assert study.finals.winners[0].key == max(rewarded, key=lambda key: rewarded[key])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"costs": ["latency"]}, "costs: there is no figure 'latency'; did you mean 'latency_ms'"),
        ({"costs": ["num_parameters"]}, "costs: the figure 'num_parameters' is called 'params' now"),
        ({"limits": {"num_parameters": 3}}, "limits: the figure 'num_parameters' is called 'params' now"),
        ({"costs": ["peak_memory_mib"]}, "costs: the figure 'peak_memory_mib' is called 'memory_mib' now"),
        (
            {"reward": {"class_path": "monas-floor", "cost": "num_parameters", "most": 1, "floor": 0.5}},
            "reward.cost: the figure 'num_parameters' is called 'params' now",
        ),
        (
            {"reward": {"class_path": "monas-floor", "cost": "macs", "most": 1, "floor": math.nan}},
            "reward.floor is a number; got nan",
        ),
        ({"costs": ["macs", "macs"]}, "costs: one comes twice in macs, macs"),
        ({"limits": {"mac": 3}}, "limits: there is no figure 'mac'; did you mean 'macs'"),
        ({"limits": {"macs": 0}}, "limits.macs is above 0; got 0"),
        ({"limits": {"macs": math.nan}}, "limits.macs is above 0; got nan"),
        ({"limits": {"macs": -1}}, "limits.macs is above 0; got -1"),
        ({"limits": {"macs": "5M"}}, "limits.macs is above 0; got '5M'"),
        ({"limits": 5}, "limits says of figures .*; got 5"),
        ({"costs": "macs"}, r"costs is a list of names; got 'macs'; write \[macs\]"),
        ({"reward": 3}, "reward is a name or a mapping"),
        (
            {"reward": {"class_path": "mnasnet", "cost": "macs", "target": 1, "below": 0.07}},
            "reward.below is at most 0; got 0.07",
        ),
        (
            {"reward": {"class_path": "mnasnet", "cost": "macs", "target": math.nan}},
            "reward.target is above 0; got nan",
        ),
        (
            {"reward": {"class_path": "monas-mixed", "cost": "macs", "most": 1, "weight": 1.5}},
            "reward.weight is between 0 and 1; got 1.5",
        ),
        ({"reward": "mnas"}, "reward: there is no 'mnas'; did you mean 'mnasnet'"),
        ({"reward": {"class_path": "mnasnet", "cost": "macs"}}, "reward.target is missing"),
        ({"reward": {"class_path": "mnasnet", "cost": "macs", "target": 0}}, "reward.target is above 0; got 0"),
        ({"reward": {"class_path": "mnasnet", "cost": "mac", "target": 1}}, "reward.cost: there is no figure 'mac'"),
        ({"reward": {"class_path": "monas-limit", "costs": "macs"}}, "reward.costs is no argument .* mean 'cost'"),
        (
            {"costs": ["macs"], "reward": {"class_path": "monas-mixed", "cost": "macs", "most": 1}},
            "either a reward or costs",
        ),
        ({"costs": ["macs"], "pruner": "MedianPruner"}, "pruner: Optuna's pruners know one value"),
    ],
    ids=str,
)
def test_mistakes_are_named_when_the_study_is_made(make_study: MakeStudy, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_study(**given)


def test_a_reward_of_a_loss_is_refused_before_training(make_study: MakeStudy) -> None:
    reward = {"class_path": "mnasnet", "cost": "macs", "target": 10}
    with pytest.raises(StudyError, match="reward: it takes a metric of which more is better"):
        make_study(reward=reward).run()


def test_energy_is_refused_before_training_where_the_machine_cannot_tell(
    rated: MakeStudy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def none(device: Any) -> Any:
        return energy_meter(device, powercap=tmp_path / "nothing")

    monkeypatch.setattr("automl_plugins.measures.figures.energy_meter", none)
    with pytest.raises(StudyError, match="energy cannot be measured on this CPU: Linux shows no RAPL counters"):
        rated(costs=["energy_mj"]).run()
    with pytest.raises(EnergyError, match="no RAPL counters"):
        none(next(PixelRegression(*_tiny()).parameters()).device)


def _tiny() -> tuple[Any, Any]:
    from torch import nn

    return nn.Conv2d(3, 1, 1), WavesData().task


def test_costs_limits_and_rewards_come_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["study", "--space", "agnn", "--space.layers=1", "--space.max_parameters=3000", "--data", "cluster"]
    common += ["--data.num_train=2", "--data.num_val=1", "--data.num_test=1", "--data.batch_size=2", "--trials=3"]
    common += ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--random_search=false", "--seeds=1"]
    common += ["--references=[]", "--finalists=2"]
    assert main([*common, "--costs=[params]", f"--folder={tmp_path}/front"]) == 0
    assert "front of search: " in capsys.readouterr().out
    assert main(["show", f"{tmp_path}/front"]) == 0
    rewarded = ["--reward=mnasnet", "--reward.cost=params", "--reward.target=1000"]
    assert main([*common, *rewarded, "--limits.params=2900", f"--folder={tmp_path}/reward"]) == 0
