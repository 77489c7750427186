from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from automl_plugins import Architecture
from automl_plugins.objectives.contender import Contender, Trained
from automl_plugins.studies.comparison import Comparison
from automl_plugins.studies.study import Study
from automl_plugins.system.files import write_whole

SMALL = Contender("small", Architecture("perceptron", 1, {"depth": 1, "layer0.width": 2, "activation": "relu"}))
LARGE = Contender("large", Architecture("perceptron", 1, {"depth": 1, "layer0.width": 8, "activation": "tanh"}))


@pytest.fixture
def comparison(make_study: Callable[..., Study]) -> Comparison:
    """Over two seeds, of networks of plain torch."""
    return make_study(seeds=2, seed=10).comparison


def record(comparison: Comparison, contender: Contender, *scores: float | None) -> None:
    """Write down trainings that were never run."""
    for seed, score in zip(comparison.seeds, scores, strict=True):
        result = Trained(score, 0, 1, 0.1, 0.1, 10, "" if score is not None else "diverged: no finite score")
        write_whole(comparison.folder.result(contender.key, seed, "train"), json.dumps(vars(result)))


def test_a_contender_is_trained_and_tested_over_the_seeds(comparison: Comparison) -> None:
    assert comparison.seeds == (11, 12)
    assert comparison.train([SMALL])
    assert comparison.test([SMALL])
    row = comparison.row(SMALL)
    scores = [result.score for result in comparison.trained(SMALL)]
    assert row.validation_mean == pytest.approx(sum(scores) / 2)
    assert row.validation_deviation == pytest.approx(abs(scores[0] - scores[1]) / math.sqrt(2))
    assert row.params == comparison.project.space.num_parameters(SMALL.architecture, comparison.project.task)
    assert scores[0] != scores[1]


def test_equal_architectures_share_their_trainings(comparison: Comparison) -> None:
    reordered = dict(reversed(list(SMALL.architecture.items())))
    assert Contender("other", Architecture("perceptron", 1, reordered)).key == SMALL.key
    assert Contender("other", Architecture("perceptron", 1, {**reordered, "layer0.width": 4})).key != SMALL.key


def test_what_another_worker_trains_is_left_to_it(comparison: Comparison) -> None:
    path = comparison.folder.result(SMALL.key, 11, "train")
    path.parent.mkdir(parents=True)
    with FileLock(path.with_suffix(".lock")):
        assert not comparison.train([SMALL])
        assert not path.exists()
        assert comparison.folder.result(SMALL.key, 12, "train").exists()
    assert comparison.train([SMALL])
    assert path.exists()


def test_the_best_seed_is_that_of_the_best_finite_score(comparison: Comparison) -> None:
    record(comparison, SMALL, 0.1, 0.9)
    record(comparison, LARGE, None, 0.4)
    assert comparison.best_seed(SMALL) == 11
    assert comparison.best_seed(LARGE) == 12
    comparison.project = comparison.project.replace(direction="maximize")
    assert comparison.best_seed(SMALL) == 12
    assert comparison.best_seed(LARGE) == 12
    record(comparison, LARGE, None, None)
    with pytest.raises(ValueError, match="no training of large ended with a finite"):
        comparison.best_seed(LARGE)


def test_half_a_file_is_never_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    write_whole(path, "whole")
    with monkeypatch.context() as context:
        context.setattr(Path, "replace", lambda self, target: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            write_whole(path, "half")
    assert path.read_text() == "whole"
