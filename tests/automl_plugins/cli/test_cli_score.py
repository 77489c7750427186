"""`automl-plugins score`: the tables, what is kept, and refusals before anything runs."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from automl_plugins.cli import main
from automl_plugins.estimators.size import ParamsEstimator

PROJECT = [
    *("score", "--space=agnn", "--space.layers=2", "--space.hidden_channels=[4,8]", "--space.heads=[1,2]"),
    *("--data=cluster", "--data.num_train=2", "--data.num_val=1", "--data.num_test=1", "--trainer.accelerator=cpu"),
]


def scored(folder: Path, *further: str) -> dict[str, object]:
    assert main([*PROJECT, f"--folder={folder}", *further]) == 0
    return json.loads((folder / "scores.json").read_text())


def test_scores_stand_beside_size_and_chance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = scored(tmp_path, '--estimators=[naswot,"ranks:[swap,macs]"]', "--architectures=5", "--seed=3")
    names = ["naswot", "ranks:[swap,macs]", "params", "macs", "random"]
    assert list(kept["kendall_tau"]) == names
    assert len(kept["architectures"]) == 5
    for row in kept["architectures"]:
        assert list(row["estimates"]) == names
    for name in names:
        ranks = [row["estimates"][name]["rank"] for row in kept["architectures"]]
        assert sorted(ranks) == [1, 2, 3, 4, 5]
    shown = capsys.readouterr().out
    assert "the best by naswot: ranks" in shown
    assert shown.count("ranks:[swap,macs]") == 4, "as a column of both tables, a row, and when it has ended"
    assert "Kendall's tau" in shown
    assert "5 architectures: a tau within 0.82 of 0 may be chance" in shown


def test_what_is_done_stays_and_other_settings_need_another_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = scored(tmp_path, "--estimators=[params]", "--architectures=4")
    monkeypatch.setattr(ParamsEstimator, "estimate", lambda *_: 1 / 0)
    more = scored(tmp_path, "--estimators=[params,swap]", "--architectures=4")
    for before, after in zip(first["architectures"], more["architectures"], strict=True):
        assert before["estimates"]["params"] == after["estimates"]["params"]
    again = scored(tmp_path, "--estimators=[params]", "--architectures=3")
    assert [row["estimates"]["params"]["invalid"] for row in again["architectures"]] == [
        "ZeroDivisionError: division by zero"
    ] * 3
    assert main([*PROJECT, f"--folder={tmp_path}", "--estimators=[params]", "--seed=9"]) == 2
    assert "seed=9: the score in" in capsys.readouterr().err


def test_architectures_may_be_named(tmp_path: Path) -> None:
    (first, second) = scored(tmp_path / "a", "--estimators=[swap]", "--architectures=2")["architectures"]
    files = []
    for number, row in enumerate((first, second)):
        files.append(tmp_path / f"{number}.json")
        files[-1].write_text(json.dumps(row["architecture"]))
    again = scored(tmp_path / "b", "--estimators=[swap]", f"--architectures=[{files[1]},{files[0]}]")
    scores = [row["estimates"]["swap"]["score"] for row in again["architectures"]]
    assert scores == [row["estimates"]["swap"]["score"] for row in (second, first)]


@pytest.mark.parametrize(
    ("further", "message"),
    [
        (["--estimators=[nasswot]"], "estimator='nasswot' is unknown; did you mean 'naswot'?"),
        (["--estimators=[ridge]"], "'ridge' learns from trials"),
        (["--estimators=[swap,swap]"], "'swap' is there twice"),
        (["--estimators=swap"], "estimators='swap': a list of estimators, such as [naswot, jacov]"),
        (["--estimators=[swap]", "--architectures=1"], "architectures is at least 2; got 1"),
        (["--estimators=[swap]", "--architectures=[none.json]"], "architectures='none.json': "),
        (["--estimators=[{class_path: os.system}]"], "it is no Estimator"),
        (["--estimators=['ranks:[{class_path: os.system}]']"], "is one value or a list of values"),
        (["--estimators=[{class_path: naswot, init_args: {smples: 3}}]"], "did you mean 'samples'?"),
        ([], "estimators=None: a list of estimators"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(
    further: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*PROJECT, f"--folder={tmp_path / 'run'}", *further]) in (1, 2)
    assert re.search(re.escape(message), capsys.readouterr().err)
    assert not (tmp_path / "run" / "scores.json").exists()


def test_an_estimator_that_does_not_fit_the_space_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = ["score", "--space=smp", "--data=brain", f"--folder={tmp_path}", "--estimators=[freeflow]"]
    pytest.importorskip("nilearn")
    assert main([*images, "--trainer.accelerator=cpu"]) == 1
    told = "estimators: 'freeflow' does not fit here: freeflow reads the gates of a supernet; the space 'smp' has none"
    assert told in capsys.readouterr().err


STUDY = [
    *("study", *PROJECT[1:], "--trials=3", "--trainer.max_epochs=1", "--random_search=false", "--references=[]"),
    *("--finalists=1", "--seeds=1", "--references_first=false"),
]


def test_a_study_trains_the_best_of_what_its_sampler_proposes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    screening = ("--screen=params", "--screen-pool=6", "--sampler=reinforce", "--sampler.entropy=0.2")
    assert main([*STUDY, f"--folder={tmp_path / 'screened'}", *screening]) == 0
    assert main([*STUDY, f"--folder={tmp_path / 'plain'}", "--sampler=reinforce"]) == 0
    sizes = {}
    for name in ("screened", "plain"):
        rows = csv.DictReader((tmp_path / name / "trials.csv").read_text().splitlines())
        sizes[name] = [float(row["params"]) for row in rows]
    assert len(sizes["screened"]) == 3
    assert sum(sizes["screened"]) > sum(sizes["plain"])
    # The same command goes on, with other screening it does not.
    assert main([*STUDY, f"--folder={tmp_path / 'screened'}", *screening]) == 0
    assert main([*STUDY, f"--folder={tmp_path / 'screened'}", "--screen=macs", "--sampler=reinforce"]) == 2
    assert "sampler" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("further", "message"),
    [
        (["--screen=nasswot"], "did you mean 'naswot'"),
        (["--screen=ridge"], "RidgePredictor learns from trials"),
        (["--screen-pool=3"], "screen-pool=3: name an estimator, as in --screen naswot"),
        (["--screen=params", "--screen-pool=0"], "pool is at least 1"),
        (["--screen=params", "--sampler=TPESampler"], "screening asks one of the samplers controller, evolution"),
    ],
)
def test_screening_that_cannot_be_is_refused(
    further: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*STUDY, f"--folder={tmp_path}", *further]) == 2
    assert message in capsys.readouterr().err
