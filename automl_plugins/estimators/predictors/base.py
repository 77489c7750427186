"""The predictor: an estimator that learns from architectures whose scores are known."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from automl_plugins.estimators.base import Estimate, Estimator, rank
from automl_plugins.estimators.context import Candidate, Context
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace

_MOST = 1e100
"""Scores from here on count as infinite: their squares are."""


class Predictor(Estimator):
    """An estimator of architectures that learns from others which ones are better.

    It is an `Estimator` whose estimates of many architectures are one `predict`; of modules that are no architectures
    it knows nothing. Its contract is `automl_plugins.testing.PredictorContract`.

    Args:
        space: the space of the architectures.
        seed: of whatever is random in it.
    """

    learns: ClassVar[bool] = True
    needs_context: ClassVar[bool] = False

    def __init__(self, space: SearchSpace, seed: int = 0) -> None:
        self.space = space
        self.seed = seed

    @abstractmethod
    def fit(self, architectures: Sequence[Architecture], scores: ArrayLike) -> None:
        """Learn anew from these; what was learned before is forgotten.

        Args:
            architectures: at least two.
            scores: `[num_architectures]`, finite (and smaller than 1e100), larger is better.

        Raises:
            ValueError: too few of them, another number of scores, or a score that is not finite.
        """

    @abstractmethod
    def predict(self, architectures: Sequence[Architecture]) -> np.ndarray:
        """A number for each, the higher the better; the predictor names its unit.

        Returns:
            float64 `[num_architectures]`.

        Raises:
            RuntimeError: nothing was fitted.
        """

    def rank(self, architectures: Sequence[Architecture]) -> list[int]:
        """The positions of the architectures, the best first; those without a finite prediction last."""
        return rank(self.predict(architectures))

    def estimate(self, candidate: Candidate, context: Context | None = None) -> Estimate:
        """The prediction for an architecture.

        Raises:
            RuntimeError: nothing was fitted.
            TypeError: the candidate is a module.
        """
        if not isinstance(candidate, Architecture):
            raise TypeError(f"{type(self).__name__} knows architectures alone; got a {type(candidate).__name__}")
        return Estimate(float(self.predict([candidate])[0]))

    def estimate_all(self, candidates: Iterable[Candidate], context: Context | None = None) -> list[Estimate]:
        """The predictions, in one go where all candidates are architectures of the space.

        Raises:
            Exception: what `predict` raises for each of them.
        """
        listed = list(candidates)
        architectures = [candidate for candidate in listed if isinstance(candidate, Architecture)]
        if len(architectures) < len(listed):
            return super().estimate_all(listed, context)
        began = time.perf_counter()
        try:
            scores = self.predict(architectures)
        except Exception:
            estimates = super().estimate_all(listed, context)
            if not any(estimate.valid for estimate in estimates):
                raise
            return estimates
        seconds = (time.perf_counter() - began) / max(len(listed), 1)
        return [Estimate(float(score), cost_s=seconds) for score in scores]

    def _checked(self, architectures: Sequence[Architecture], scores: ArrayLike) -> np.ndarray:
        checked = np.asarray(scores, dtype=np.float64)
        if len(architectures) < 2:
            raise ValueError(f"a predictor is fitted to at least two architectures; got {len(architectures)}")
        if checked.shape != (len(architectures),):
            raise ValueError(f"{len(architectures)} architectures need as many scores; got the shape {checked.shape}")
        useless = ~(np.abs(checked) < _MOST)
        if useless.any():
            raise ValueError(
                f"a score is not finite, {checked[useless][0]:g} of architecture {int(useless.argmax())}; leave "
                "out the architectures that have none"
            )
        return checked


def not_fitted(predictor: Predictor) -> RuntimeError:
    """The error of a prediction before `fit`."""
    return RuntimeError(f"{type(predictor).__name__} predicts after `fit`")


def standardised(scores: np.ndarray) -> np.ndarray:
    """Scores with mean 0 and deviation 1; all 0 where they are equal."""
    # Of equal scores the deviation need not be 0: their mean is rounded.
    if np.ptp(scores) == 0:
        return np.zeros_like(scores)
    deviation = scores.std()
    return (scores - scores.mean()) / (deviation if deviation > 0 else 1.0)
