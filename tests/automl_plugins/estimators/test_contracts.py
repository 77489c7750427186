"""Our own estimators keep the contract that third parties' are proven by."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import nn

from automl_plugins import Task
from automl_plugins.estimators import Context, Estimator
from automl_plugins.estimators.inherited import InheritedEstimator
from automl_plugins.estimators.predictors.ridge import RidgePredictor
from automl_plugins.estimators.training import TrainingEstimator
from automl_plugins.testing import EstimatorContract
from automl_plugins.training.project import Project
from gnn_space import EGNASSpace
from gnn_space.data import EdgeCommunityData

TASK = Task("node", "classes", in_channels=4, out_channels=3)


SPACE = EGNASSpace(cells=1, nodes=1, node_channels=4, edge_channels=2)
LEAN: dict[str, Any] = {"accelerator": "cpu", "max_epochs": 1}


@cache
def project() -> Project:
    return Project(SPACE, EdgeCommunityData(4, 4, 4, batch_size=4), trainer=LEAN)


@cache
def trained() -> nn.Module:
    torch.manual_seed(0)
    searchable = project().space.searchable(project().task)
    project().train(searchable, 1)
    return searchable


class TestTraining(EstimatorContract):
    def estimator(self) -> Estimator:
        return TrainingEstimator()

    def context(self) -> Context:
        return Context.of(project())


class TestInherited(EstimatorContract):
    judges_modules = False

    def estimator(self) -> Estimator:
        return InheritedEstimator(trained(), batches=1)

    def context(self) -> Context:
        return Context.of(project())


class TestPredictor(EstimatorContract):
    judges_modules = False

    def estimator(self) -> Estimator:
        predictor = RidgePredictor(SPACE)
        architectures = self.architectures()
        predictor.fit(architectures, range(len(architectures)))
        return predictor

    def context(self) -> Context:
        return Context(SPACE, TASK)
