"""One trial of a study: measure what its architecture costs, train it, tell what it came to."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from optuna.pruners import NopPruner
from torch import nn

from automl_plugins.errors import StudyError
from automl_plugins.measures.figures import Figures
from automl_plugins.objectives.contender import Contender
from automl_plugins.studies.deaths import Deaths
from automl_plugins.studies.plan import Plan
from automl_plugins.studies.pulse import Pulse
from automl_plugins.studies.sharing import ENOUGH, Layers, SharesWeights, WeightPool
from automl_plugins.studies.time_limit import time_limit
from automl_plugins.studies.trial_pruning import TrialPruning
from automl_plugins.studies.trial_queue import Claim, TrialQueue
from automl_plugins.system.interruption import interrupts_as_such
from automl_plugins.training.fit import TrainingResult, cpu_seconds, seeded
from automl_plugins.training.project import Project
from automl_plugins.training.tuned import TunedProjects


@dataclass(frozen=True)
class TrialRunner:
    """Runs the trials of a study.

    Args:
        projects: what is trained on what, with the settings of each trial.
        plan: of the study.
        figures: measures what architectures cost.
    """

    projects: TunedProjects
    plan: Plan
    figures: Figures

    @property
    def project(self) -> Project:
        """The project without a trial's settings."""
        return self.projects.project

    def run(self, queue: TrialQueue, claim: Claim, deaths: Deaths) -> None:
        """Train what was claimed and tell the queue what it came to, whatever that is.

        Args:
            queue: that the claim is of.
            claim: the trial.
            deaths: counts the trainings that kill their process.

        Raises:
            StudyError: the study itself cannot go on: the disk is full, say.
        """
        name = _name(queue, claim)
        pulse = Pulse(queue.folder, f"trial {claim.trial.number} of {queue.arm.name}", self.project.monitor)
        began, cpu_began = time.perf_counter(), cpu_seconds()
        try:
            with (
                deaths.attempt(name),
                time_limit(self.plan.trial_minutes, "trial_minutes", partial(deaths.give_up, name)),
                interrupts_as_such(),
            ):
                result, pruned, values = self._train(queue, claim, pulse)
        except StudyError:
            raise
        except Exception as error:  # noqa: BLE001 - a trial's failure is the study's to judge, whatever it is
            seconds, cpu = time.perf_counter() - began, cpu_seconds() - cpu_began
            took = {"steps": pulse.steps, "seconds": round(seconds, 3), "cpu_seconds": round(cpu, 3)}
            queue.fail(claim, error, took)
        else:
            queue.finish(claim, result, pruned, values)

    def _train(
        self, queue: TrialQueue, claim: Claim, pulse: Pulse
    ) -> tuple[TrainingResult, bool, Sequence[float] | None]:
        """The result, whether the pruner stopped it, and the values to tell."""
        project, goal, arm = self.project, self.plan.goal, queue.arm
        prunings = []
        if not isinstance(arm.pruner, NopPruner):
            prunings.append(TrialPruning(project.monitor, claim.trial, arm.storage, arm.pruner))
        contender = claim.contender
        build = partial(contender.network, project.space, project.task, project.data)
        known = contender.architecture
        figures = self.figures.of_network(build) if known is None else self.figures(known)
        goal.constrain(claim.trial, figures)
        claim.trial.set_user_attr("figures", figures)
        with seeded(seed_of(contender, project.seed)):
            network = build()
            pool = WeightPool(queue.folder.shared_weights(arm.study_name))
            layers, options = self._inherit(queue, claim, network, pool)
            tuned = self.projects(contender.settings)
            result = tuned.fit(
                tuned.make_module(network), options, [*prunings, pulse], self.plan.sharing, network=network
            )
        pruned = any(callback.pruned for callback in prunings)
        if pruned or result.best_epoch < 0:
            return result, pruned, None
        if layers:
            pool.keep(layers, claim.trial.number)
        return result, pruned, goal.values(result.score, figures)

    def _inherit(
        self, queue: TrialQueue, claim: Claim, network: nn.Module, pool: WeightPool
    ) -> tuple[Layers, dict[str, Any]]:
        """Start a network from what earlier trials have trained; what it shares itself, and how to train it."""
        short = self.project.options(self.plan.trial_epochs)
        architecture = claim.contender.architecture
        if architecture is None or not (self.plan.sharing and isinstance(self.project.space, SharesWeights)):
            return {}, short
        layers = self.project.space.shared_weights(network, architecture)
        share = pool.inherit(layers, queue.complete())
        claim.trial.set_user_attr("inherited", round(share, 4))
        return layers, short if share >= ENOUGH else self.project.options()


def seed_of(contender: Contender, seed: int) -> int:
    """The seed of a trial's training: each network and its settings have their own, whoever asks for them and when.

    With one seed for all trials a long search finds what that seed is lucky with: after 212 trials on Cora the best had
    a validation accuracy of .834, and .79 on other seeds (benchmarks/README.md, "The race").

    Args:
        contender: what is trained.
        seed: of the study.
    """
    content = f"{seed}/{contender.key}".encode()
    return int.from_bytes(hashlib.sha256(content).digest()[:4], "big")  # of 32 bits, as generators take


def _name(queue: TrialQueue, claim: Claim) -> str:
    content = json.dumps([queue.arm.study_name, claim.contender.key]).encode()
    return f"trial-{hashlib.sha256(content).hexdigest()[:16]}"
