"""Regression on the embeddings of a graph hypernetwork."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from automl_plugins import Architecture, Project, SearchSpace, Task
from automl_plugins.estimators import Context
from automl_plugins.estimators.ghn import GhnEstimator
from automl_plugins.estimators.predictors.base import Predictor
from automl_plugins.estimators.predictors.embedded import GhnEmbeddingPredictor, _left_out, _squares
from automl_plugins.samplers import PredictorSampler
from automl_plugins.samplers.base import Observation, TrialLog
from automl_plugins.testing import PredictorContract
from gnn_space import AGNNSpace
from gnn_space.data import ClusterData
from seg_space import AutoDeepLabSpace

SPACE = AGNNSpace(layers=1, hidden_channels=(4, 8), heads=(1, 2))
ESTIMATOR: dict[str, Any] = {"steps": 2, "meta_batch": 2, "architectures": 4, "batches": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hypernetwork")
    data = ClusterData(2, 1, 1, batch_size=1)
    context = Context.of(Project(SPACE, data, trainer={"accelerator": "cpu", "max_epochs": 1}))
    GhnEstimator(path, **ESTIMATOR).hypernetwork(context)
    return path


def layers(architecture: Architecture) -> float:
    """The options that a graph shows, each with a worth of its own."""
    worth = {"const": 0.0, "relu": 1.0, "elu": 2.0, "gcn": 1.0, "gat": 3.0, "max": 2.0}
    return sum(worth.get(str(value), 0.0) for value in architecture.values()) + architecture["layer0.heads"]


class TestEmbedding(PredictorContract):
    least_correlation = 0.4
    known: dict[Architecture, np.ndarray] = {}  # noqa: RUF012 - of all tests, since an embedding is a call of a network

    @pytest.fixture(autouse=True)
    def in_folder(self, folder: Path) -> None:
        self.folder = folder

    def predictor(self, space: SearchSpace, seed: int) -> Predictor:
        predictor = GhnEmbeddingPredictor(space, self.folder, seed)
        predictor._known = self.known
        return predictor

    def space(self) -> SearchSpace:
        return SPACE

    def truth(self, architecture: Architecture) -> float:
        return layers(architecture)


def sampled(count: int) -> list[Architecture]:
    generator = np.random.default_rng(0)
    return list(dict.fromkeys(SPACE.sample(generator) for _ in range(count)))


def test_an_embedding_is_the_architectures_whatever_it_comes_with(folder: Path) -> None:
    architectures = sampled(10)
    together = GhnEmbeddingPredictor(SPACE, folder).embed(architectures)
    alone = np.concatenate([GhnEmbeddingPredictor(SPACE, folder).embed([each]) for each in architectures])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-4)
    assert together.shape == (len(architectures), 32)


def test_the_error_without_an_architecture_is_that_of_a_fit_without_it() -> None:
    generator = np.random.default_rng(0)
    rows, targets = generator.normal(size=(9, 3)), generator.normal(size=9)
    error, width, _ = _left_out(_squares(rows, rows), targets, 1.5, 0.1)
    errors = []
    for place in range(9):
        rest = np.delete(np.arange(9), place)
        kernel = np.exp(-_squares(rows[rest], rows[rest]) / (2 * width**2)) + 0.1 * np.eye(8)
        ours = np.exp(-_squares(rows[[place]], rows[rest]) / (2 * width**2))
        errors.append(float((ours @ np.linalg.solve(kernel, targets[rest]))[0] - targets[place]))
    assert error == pytest.approx(np.square(errors).mean())


def test_a_study_asks_it_which_architecture_is_next(folder: Path) -> None:
    path = "automl_plugins.estimators.predictors.embedded.GhnEmbeddingPredictor"
    predictor = {"class_path": path, "init_args": {"folder": folder}}
    sampler = PredictorSampler(SPACE, predictor=predictor, startup=4, candidates=2)
    tried = [Observation(number, each, (layers(each),)) for number, each in enumerate(sampled(6))]
    log = TrialLog(tried, len(tried), {one.architecture for one in tried}, 1, "a study")
    assert sampler.propose(log, np.random.default_rng(0)).architecture not in log.seen


@pytest.mark.parametrize(
    ("space", "where", "error", "reason"),
    [
        (
            lambda: AutoDeepLabSpace(layers=2),
            "",
            ValueError,
            "its hypernetwork is of AGNNSpace, the space is a AutoDeepL",
        ),
        (lambda: SPACE, "none", FileNotFoundError, "has no trained hypernetwork"),
    ],
)
def test_a_hypernetwork_of_another_space_or_none_is_refused(
    space: Callable[[], SearchSpace], where: str, error: type[Exception], reason: str, folder: Path
) -> None:
    with pytest.raises(error, match=reason):
        GhnEmbeddingPredictor(space(), folder / where)


def test_it_knows_the_task_that_it_was_trained_for(folder: Path) -> None:
    assert GhnEmbeddingPredictor(SPACE, folder).task == Task(**ClusterData(2, 1, 1).task.to_dict())
