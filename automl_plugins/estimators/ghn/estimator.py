"""A graph hypernetwork as an estimator: the quality of networks whose parameters it predicts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from automl_plugins.errors import DivergedError
from automl_plugins.estimators.base import Estimate, Estimator
from automl_plugins.estimators.context import Candidate, Context
from automl_plugins.estimators.ghn.files import HypernetworkFolder
from automl_plugins.estimators.ghn.hypernetwork import GraphHypernetwork
from automl_plugins.estimators.ghn.predicted import PredictedNetwork, give_parameters
from automl_plugins.estimators.ghn.training import Budget, check_module, train_hypernetwork
from automl_plugins.system.arguments import at_least
from automl_plugins.system.waiting import patient_lock
from automl_plugins.training.description import describe
from automl_plugins.training.lightning import pl
from automl_plugins.training.recalibration import recalibrate

_NOISE = 6
"""The purpose of the generator of noise."""


class GhnEstimator(Estimator):
    """The validation metric of a network whose parameters a graph hypernetwork predicts, or its negative.

    GHN-2 (Knyazev, Drozdzal, Taylor and Romero-Soriano, NeurIPS 2021, arXiv 2110.13100; Zhang, Ren and Urtasun, ICLR
    2019): see `GraphHypernetwork`. It is trained once, at the first estimate, on random architectures of the context's
    space within the project's module; a candidate is not trained at all. Running statistics, which are not predicted,
    are measured on training batches. Candidates may be any networks for the task.

    Such scores rank weakly: on CIFAR-10 their tau with trained networks is .26, after days of training. The paper
    therefore ranks by a regression on embeddings, `GhnEmbeddingPredictor`. `network` starts a training.

    Args:
        folder: where the hypernetwork is kept, and its training goes on after a kill; where there is one, it is taken.
            None: it is trained in memory, for each context.
        steps: of its training.
        meta_batch: architectures of a step.
        architectures: that it is trained on.
        batches: training batches that running statistics are measured on, see `recalibrate`.

    Raises:
        ValueError: a number below 1; (in an estimate) the folder has a hypernetwork of another project, or the
            project's module optimizes manually or learns more than its network.
    """

    def __init__(
        self,
        folder: Path | str | None = None,
        steps: int = 400,
        meta_batch: int = 4,
        architectures: int = 200,
        batches: int = 4,
    ) -> None:
        self.folder = None if folder is None else HypernetworkFolder(folder)
        self.budget = Budget(
            at_least("steps", steps, 1),
            at_least("meta_batch", meta_batch, 1),
            at_least("architectures", architectures, 1),
        )
        self.batches = at_least("batches", batches, 1)
        self._trained: tuple[Mapping[str, Any], GraphHypernetwork | DivergedError] | None = None

    def check(self, context: Context) -> None:
        """Refuse what no hypernetwork can be trained on.

        Raises:
            ValueError: see the class.
        """
        with context.seeded():
            check_module(context.training, PredictedNetwork(GraphHypernetwork()))
        if self.folder is not None:
            self.folder.begin(self._settings(context))

    def hypernetwork(self, context: Context) -> GraphHypernetwork:
        """The hypernetwork of a context, in evaluation mode on its device; trained where there is none yet.

        Raises:
            ValueError: the context has no project; or see the class.
            DivergedError: its training has diverged.
        """
        project, settings = context.training, self._settings(context)
        if self._trained is None or self._trained[0] != settings:
            try:
                self._trained = settings, self._made(context, settings)
            except DivergedError as error:
                self._trained = settings, error  # no other candidate's would fare better
        made = self._trained[1]
        if isinstance(made, DivergedError):
            raise made
        return made.to(project.device)

    def _made(self, context: Context, settings: Mapping[str, Any]) -> GraphHypernetwork:
        project, folder = context.training, self.folder
        if folder is None:
            return train_hypernetwork(project, self.budget, context.seed)
        with patient_lock(folder.lock, "the training of a hypernetwork"):
            folder.begin(settings)
            if not folder.weights.is_file():
                trained = train_hypernetwork(project, self.budget, context.seed, folder.training)
                folder.keep(trained, project.task)
        return folder.read().hypernetwork

    def _settings(self, context: Context) -> dict[str, Any]:
        project = context.training
        return {
            **self.budget.to_dict(),
            "seed": context.seed,
            "space": {**describe(project.space), "version": project.space.version},
            "data": describe(project.data),
            "task": describe(project.task.to_dict()),
            "module": describe(partial(project.module)),
            "limits": dict(project.limits or {}),
        }

    def network(self, candidate: Candidate, context: Context) -> nn.Module:
        """A network with predicted parameters to begin a training with, and noise of 1e-5 on them.

        Args:
            candidate: an architecture, or a network, which stays as it is.
            context: see `estimate`.
        """
        return self._predicted(candidate, context, is_noisy=True)

    def _predicted(self, candidate: Candidate, context: Context, is_noisy: bool = False) -> nn.Module:
        noise = context.generator(_NOISE) if is_noisy else None
        network = context.network(candidate)
        return give_parameters(network, self.hypernetwork(context), context.task, noise)

    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        """The metric of the network with predicted parameters.

        Raises:
            ValueError: the context has no project; or see the class.
        """
        project = context.training
        network = self._predicted(candidate, context)
        module = project.make_module(network).to(context.device)
        has_forward = type(module).forward is not pl.LightningModule.forward
        recalibrate(module if has_forward else network, project.batches(self.batches))
        return Estimate(project.sign * project.score(network), figures={"steps": self.budget.steps})
