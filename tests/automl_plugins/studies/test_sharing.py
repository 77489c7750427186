"""Trials that start from weights that earlier trials have trained."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from optuna.trial import TrialState
from perceptron_space.module import PixelRegression
from perceptron_space.space import PerceptronSpace
from torch import Tensor, nn

from automl_plugins import Architecture
from automl_plugins.studies.sharing import SharesWeights, WeightPool
from automl_plugins.studies.study import Study
from automl_plugins.studies.trial_queue import TrialQueue

MakeStudy = Callable[..., Study]
MIB = 2**18  # numbers of a float32 tensor


class SharingPerceptrons(PerceptronSpace):
    def shared_weights(self, network: nn.Module, architecture: Architecture) -> Mapping[str, Mapping[str, Tensor]]:
        maps = [part for part in network if isinstance(part, nn.Conv2d)]
        return {f"map{number} {architecture['activation']}": part.state_dict() for number, part in enumerate(maps)}


class Starts(PixelRegression):
    """Remembers the weights that each training starts and ends with."""

    started: list[dict[str, Tensor]] = []  # noqa: RUF012 - shared on purpose
    ended: list[dict[str, Tensor]] = []  # noqa: RUF012

    def on_fit_start(self) -> None:
        if not self.trainer.fast_dev_run:  # the study's first try of everything on one batch
            self.started.append({name: tensor.clone() for name, tensor in self.network.state_dict().items()})

    def on_fit_end(self) -> None:
        if not self.trainer.fast_dev_run:  # the study's first try of everything on one batch
            self.ended.append({name: tensor.clone() for name, tensor in self.network.state_dict().items()})


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> type[Starts]:
    monkeypatch.setattr(Starts, "started", [])
    monkeypatch.setattr(Starts, "ended", [])
    return Starts


def layers(value: float, size: int = 3) -> dict[str, dict[str, Tensor]]:
    return {"layer": {"weight": torch.full((size,), value)}}


def inherited(pool: WeightPool, complete: set[int], size: int = 3) -> float:
    fresh = layers(0.0, size)
    pool.inherit(fresh, complete)
    return float(fresh["layer"]["weight"][0])


# The pool.


def test_a_layer_inherits_from_the_complete_trial_with_the_highest_number(tmp_path: Path) -> None:
    pool = WeightPool(tmp_path)
    for number in (2, 9, 4, 11):
        pool.keep(layers(float(number)), number)
    # 11 still runs: its worker may be killed before it is complete.
    assert inherited(pool, {2, 4, 9}) == 9.0
    assert inherited(pool, {2, 4, 9, 11}) == 11.0


def test_nothing_is_inherited_by_another_key_name_shape_or_type(tmp_path: Path) -> None:
    pool = WeightPool(tmp_path)
    pool.keep(layers(1.0), 0)
    for key, name, tensor in (
        ("other", "weight", torch.zeros(3)),
        ("layer", "bias", torch.zeros(3)),
        ("layer", "weight", torch.zeros(3, 1)),
        ("layer", "weight", torch.zeros(3, dtype=torch.float64)),
    ):
        assert pool.inherit({key: {name: tensor}}, {0}) == 0.0
        assert not tensor.any()


def test_the_share_that_was_inherited_is_told(tmp_path: Path) -> None:
    pool = WeightPool(tmp_path)
    pool.keep(layers(1.0), 0)
    assert pool.inherit({**layers(0.0), "new": {"weight": torch.zeros(9)}}, {0}) == 0.25
    assert pool.inherit({}, {0}) == 0.0


def test_superseded_weights_are_removed(tmp_path: Path) -> None:
    pool = WeightPool(tmp_path)
    for number in range(5):
        pool.keep(layers(float(number)), number)
    inherited(pool, set(range(5)))
    assert len(list(tmp_path.glob("*.pt"))) == 1


def test_the_oldest_weights_go_where_the_folder_grows_too_large(tmp_path: Path) -> None:
    pool = WeightPool(tmp_path, max_mib=2)
    for number in range(5):
        pool.keep(layers(float(number), MIB // 2 + number), number)  # half a MiB each, of different shapes
    assert [inherited(pool, set(range(5)), MIB // 2 + number) for number in range(5)] == [0.0, 0.0, 2.0, 3.0, 4.0]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2 * 2**20


def test_a_bound_below_one_mib_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="max_mib is at least 1; got 0"):
        WeightPool(tmp_path, max_mib=0)


def keep_until_killed(folder: Path) -> None:
    pool = WeightPool(folder)
    number = 0
    while True:
        pool.keep(layers(float(number), MIB), number)
        pool.inherit(layers(0.0, MIB), set(range(number + 1)))
        number += 1


def test_a_kill_while_weights_are_written_leaves_whole_files_and_a_free_lock(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=keep_until_killed, args=(tmp_path,))
    process.start()
    while not list(tmp_path.glob("*-3.pt")) and process.is_alive():
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)
    newest = max(int(path.stem.partition("-")[2]) for path in tmp_path.glob("*.pt"))
    assert newest >= 3
    assert inherited(WeightPool(tmp_path), set(range(newest + 1)), MIB) == newest
    assert not list(tmp_path.glob("*.part"))


def test_weights_are_kept_while_nobody_else_reads_or_writes_any(tmp_path: Path) -> None:
    keeps = threading.Thread(target=WeightPool(tmp_path).keep, args=(layers(1.0), 0))
    with FileLock(tmp_path / "pool.lock"):
        keeps.start()
        keeps.join(0.3)
        assert keeps.is_alive()
        assert not list(tmp_path.glob("*.pt"))
    keeps.join(20)
    assert inherited(WeightPool(tmp_path), {0}) == 1.0


# In a study.


def test_a_trial_starts_with_what_an_earlier_one_has_trained(make_study: MakeStudy, starts: type[Starts]) -> None:
    study = make_study(
        space=SharingPerceptrons(widest=4), module=starts, sharing=True, trials=8, sampler="RandomSampler"
    )
    study.run()
    trials = [trial for trial in study.arm_trials("search") if "inherited" in trial.user_attrs]
    shares = [trial.user_attrs["inherited"] for trial in trials]
    assert shares[0] == 0.0
    assert max(shares) > 0.0
    checked = 0
    for later, trial in enumerate(trials):
        values = trial.params
        # The first map has three inputs, so only its width and its activation must agree.
        alike = [
            earlier
            for earlier in range(later)
            if all(trials[earlier].params[name] == values[name] for name in ("layer0.width", "activation"))
        ]
        if alike:
            assert torch.equal(starts.started[later]["0.weight"], starts.ended[alike[-1]]["0.weight"])
            checked += 1
        elif later > 0:
            assert not any(
                torch.equal(starts.started[later]["0.weight"], end["0.weight"]) for end in starts.ended[:later]
            )
    assert checked


def test_final_trainings_start_anew(make_study: MakeStudy, starts: type[Starts]) -> None:
    space = SharingPerceptrons(widest=2)
    study = make_study(space=space, module=starts, sharing=True, trials=4, sampler="RandomSampler")
    study.run()
    torch.manual_seed(study.project.seed + 1)
    architecture = study.finals.winners[0].architecture
    assert architecture is not None
    fresh = space.network(architecture, study.project.task)
    assert torch.equal(starts.started[-1]["0.weight"], fresh.state_dict()["0.weight"])


def test_each_search_shares_among_its_own_trials(make_study: MakeStudy) -> None:
    study = make_study(space=SharingPerceptrons(), sharing=True, trials=2, random_search=True)
    study.run()
    for arm in ("search", "random"):
        first = study.arm_trials(arm)[0]
        assert first.user_attrs["inherited"] == 0.0


def test_a_study_cut_off_after_the_weights_were_kept_goes_on_as_if_it_was_not(
    make_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(folder: str) -> Study:
        space = SharingPerceptrons(widest=4)
        return make_study(
            space=space, folder=tmp_path / folder, sharing=True, trials=8, sampler="RandomSampler", references=[]
        )

    whole = make("whole")
    whole.run()
    finish = TrialQueue.finish
    ended: list[int] = []

    def cut_off(queue: TrialQueue, claim: Any, *outcome: Any) -> None:
        ended.append(claim.trial.number)
        if len(ended) == 5:
            raise KeyboardInterrupt
        finish(queue, claim, *outcome)

    monkeypatch.setattr(TrialQueue, "finish", cut_off)
    with pytest.raises(KeyboardInterrupt):
        make("cut").run()
    cut = make("cut")
    cut.run()

    def course(study: Study) -> list[tuple[Any, ...]]:
        trials = [trial for trial in study.arm_trials("search") if "interrupted" not in trial.user_attrs]
        return [(trial.params, trial.value, trial.user_attrs.get("inherited")) for trial in trials]

    assert course(cut) == course(whole)
    assert any(share for _, _, share in course(whole)[5:])
    assert sum(trial.state is TrialState.FAIL for trial in cut.arm_trials("search")) == 1


def test_a_space_that_says_nothing_of_sharing_is_refused_before_data_are_read(make_study: MakeStudy) -> None:
    assert not isinstance(PerceptronSpace(), SharesWeights)
    with pytest.raises(ValueError, match=r"sharing: PerceptronSpace does not say which weights .* `shared_weights`"):
        make_study(sharing=True)


def test_a_study_begun_without_sharing_does_not_go_on_with_it(make_study: MakeStudy) -> None:
    make_study(space=SharingPerceptrons(), trials=1).run()
    with pytest.raises(RuntimeError, match="was begun with sharing=False, this one has True"):
        make_study(space=SharingPerceptrons(), trials=1, sharing=True).run()


def test_only_a_trial_that_inherits_enough_is_trained_briefly(make_study: MakeStudy) -> None:
    study = make_study(space=SharingPerceptrons(widest=4), sharing=True, trials=8, trial_epochs=1, references=[])
    study.run()
    trials = [trial for trial in study.arm_trials("search") if "inherited" in trial.user_attrs]
    steps = {trial.user_attrs["inherited"] >= 0.5: trial.user_attrs["steps"] for trial in trials}
    assert steps[False] == 2 * steps[True]
    assert all(trial.user_attrs["steps"] == steps[trial.user_attrs["inherited"] >= 0.5] for trial in trials)
