"""Decoders that read architectures off by an estimator: evolution by its scores, and a fit to shared estimates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import torch

from automl_plugins.decoders.base import Evaluation, Found
from automl_plugins.decoders.evolution import Evolution
from automl_plugins.errors import DivergedError
from automl_plugins.estimators.base import Estimator
from automl_plugins.estimators.context import Context
from automl_plugins.estimators.make import EstimatorConfig, make_estimator
from automl_plugins.estimators.rank_sum import mean_ranks
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.system.arguments import at_least


class Estimated(Evolution):
    """Evolution (see `Evolution`) by the scores of an estimator, in place of losses with shared weights.

    Networks are made anew and judged on made-up inputs of the task's level, so neither the search's weights nor its
    data count; the search settles which options are open.

    Args:
        estimator: a name, a mapping with its `init_args`, or an estimator that needs no fit and no training, or is
            fitted.
        population, generations, parents, mutation, seed: see `Evolution`.
    """

    figure: ClassVar[str] = "score"
    judged: ClassVar[str] = "score"
    cure: ClassVar[str] = "the estimator fails for all of them; take another one"

    def __init__(
        self,
        estimator: EstimatorConfig | Estimator = "naswot",
        population: int = 20,
        generations: int = 10,
        parents: int = 5,
        mutation: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__(population, generations, parents, mutation, seed)
        self.estimator = estimator

    def check(self, searchable: Searchable) -> None:
        """Refuse an estimator that could not judge a searchable's architectures, before anything is trained.

        Raises:
            ValueError: it could not; the message says why.
        """
        self._made(searchable)

    def _made(self, searchable: Searchable) -> tuple[Estimator, Context]:
        context = Context(searchable.space, searchable.task, self.seed, searchable.logits.device)
        estimator = make_estimator(self.estimator, searchable.space, self.seed)
        name = type(estimator).__name__
        if estimator.relative:
            raise ValueError(f"estimator: {name} compares what it is asked for together; evolution asks one by one")
        if estimator.learns and estimator is not self.estimator:
            raise ValueError(f"estimator: {name} learns from scores and has seen none; the decoder `fitted` fits one")
        try:
            estimator.check(context)
        except ValueError as error:
            raise ValueError(f"estimator: {name} does not fit here: {error}") from error
        return estimator, context

    def _judge(self, searchable: Searchable, evaluate: Callable[[], float]) -> Callable[[Architecture], float]:
        estimator, context = self._made(searchable)
        return lambda architecture: -estimator.estimate_all([architecture], context)[0].score

    def _figure(self, loss: float) -> float:
        return -loss


class Fitted:
    """The best by a model that is fitted to the losses of many architectures with shared weights (Chen et al. 2021).

    See arXiv 2004.08423: the loss of an architecture with shared weights is its quality and an error that depends on
    the architecture at random; a graph network fitted to many of them (`DenoiserPredictor`) averages the error out.
    Then evolution finds the architectures that it takes for the best, those that were never evaluated among them. The
    `finalists` best are in `found.json`, the best by the fit first, to be trained.

    The model is fitted to ranks, since losses of architectures that hardly work have no bound. Below about 500
    evaluations the fit loses more than it mends. Departure from the paper: one fit over the whole space, not one for
    each segment of a chain.

    Args:
        evaluations: architectures that are drawn and evaluated.
        finalists: how many are found.
        predictor: a predictor's name, or a mapping with its `init_args`.
        seed: of all draws.

    Raises:
        ValueError: a number out of range.
    """

    def __init__(
        self, evaluations: int = 500, finalists: int = 10, predictor: EstimatorConfig = "denoiser", seed: int = 0
    ) -> None:
        self.evaluations = at_least("evaluations", evaluations, 2)
        self.finalists = at_least("finalists", finalists, 1)
        self.predictor = predictor
        self.seed = at_least("seed", seed, 0)

    def check(self, searchable: Searchable) -> None:
        """Refuse what is no predictor, before anything is trained.

        Raises:
            ValueError: there is none of its name, or it does not learn.
        """
        self._made(searchable)

    def _made(self, searchable: Searchable) -> Estimator:
        predictor = make_estimator(self.predictor, searchable.space, self.seed)
        if not predictor.learns or predictor.needs_context:
            raise ValueError(f"predictor: {type(predictor).__name__} is fitted to no scores; take denoiser or ranker")
        return predictor

    def __call__(self, searchable: Searchable, evaluate: Callable[[], float]) -> Sequence[Found]:
        predictor, losses = self._made(searchable), self._evaluated(searchable, evaluate)
        known = list(losses)
        if len(known) < 2:
            reason = f"{len(known)} of the architectures that were drawn has a finite loss on the search data"
            raise DivergedError(
                reason, f"{reason}: the shared weights have diverged; a lower learning rate may keep them from it"
            )
        predictor.fit(known, -mean_ranks(np.array([losses[each] for each in known])) / len(known))
        evolved = Estimated(predictor, population=50, generations=10, parents=10, seed=self.seed)(searchable, evaluate)
        candidates = list(dict.fromkeys([*known, *(one.architecture for one in evolved)]))
        scores = np.array([each.score for each in predictor.estimate_all(candidates, None)])
        order = np.argsort(-scores, kind="stable")[: self.finalists]
        best = [(candidates[place], float(scores[place])) for place in order]
        figures = [self._loss(architecture, losses, searchable, evaluate) for architecture, _ in best]
        return [Found(each, {"fitted_score": score, **own}) for (each, score), own in zip(best, figures, strict=True)]

    def _evaluated(self, searchable: Searchable, evaluate: Callable[[], float]) -> dict[Architecture, float]:
        """The finite losses of architectures that are drawn."""
        generator = torch.Generator().manual_seed(self.seed)
        drawn = dict.fromkeys(searchable.sample(generator) for _ in range(self.evaluations))
        tell, losses = evaluate.tell if isinstance(evaluate, Evaluation) else None, {}
        for number, architecture in enumerate(drawn):
            if tell is not None:
                tell(f"fitting to shared weights: {number} of {len(drawn)} architectures were evaluated")
            with searchable.hold(architecture):
                losses[architecture] = evaluate()
        return {architecture: loss for architecture, loss in losses.items() if math.isfinite(loss)}

    def _loss(
        self,
        architecture: Architecture,
        losses: dict[Architecture, float],
        searchable: Searchable,
        evaluate: Callable[[], float],
    ) -> dict[str, float]:
        """The loss of a finalist, as a figure; none where it is not finite."""
        if architecture not in losses:
            with searchable.hold(architecture):
                losses[architecture] = evaluate()
        loss = losses[architecture]
        return {"search_loss": loss} if math.isfinite(loss) else {}
