"""A short training as an estimate: the lowest of fidelities, and the yardstick of all other estimators."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

from automl_plugins.estimators.base import Estimate, Estimator
from automl_plugins.estimators.context import Candidate, Context
from automl_plugins.system.arguments import at_least


class TrainingEstimator(Estimator):
    """The validation metric, as the project judges by it, of a training of a few epochs in its module and Trainer.

    The score is the metric, or its negative where less is better. With several seeds it is the mean, and `std` the
    deviation between them; each seed has initial weights and an order of batches of its own.

    Args:
        epochs: of each training.
        seeds: the number of trainings.

    Raises:
        ValueError: a number below 1.
    """

    def __init__(self, epochs: int = 1, seeds: int = 1) -> None:
        self.epochs = at_least("epochs", epochs, 1)
        self.seeds = at_least("seeds", seeds, 1)

    def check(self, context: Context) -> None:
        _ = context.training

    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        """The mean score of the trainings; invalid where one of them diverges.

        Raises:
            ValueError: the context has no project.
        """
        project = context.training
        results = []
        for seed in range(context.seed, context.seed + self.seeds):
            network = replace(context, seed=seed).network(candidate).train()
            results.append(project.train(network, self.epochs, seed, keep_weights=False))
        scores = [project.sign * result.score for result in results]
        if not all(map(math.isfinite, scores)):
            return Estimate.invalid("a training diverged")
        deviation = statistics.stdev(scores) if len(scores) > 1 else math.nan
        steps = sum(result.steps for result in results)
        return Estimate(statistics.fmean(scores), deviation, figures={"steps": float(steps)})
