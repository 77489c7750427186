"""The estimator: a score for an architecture without a full training of it."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, cast

from numpy.typing import ArrayLike

from automl_plugins.estimators.context import Candidate, Context


@dataclass(frozen=True)
class Estimate:
    """The estimated quality of a candidate.

    Args:
        score: the higher the better, in a unit that the estimator names; nan where the estimate is invalid. A score
            that is infinite is no estimate either, and becomes nan.
        std: the standard deviation of the score, over seeds, batches or a posterior; nan where it is not known.
        cost_s: seconds of wall time that it took; nan where nobody looked.
        valid: the score says something; invalid estimates rank behind all others.
        figures: numbers that were found out on the way, by name.
        reason: of an invalid estimate, in one line.
    """

    score: float
    std: float = math.nan
    cost_s: float = math.nan
    valid: bool = True
    figures: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""

    def __post_init__(self) -> None:
        # A tensor or a NumPy number of the user's is a number here; what is none is told at once.
        score = float(self.score)
        for name in ("std", "cost_s"):
            object.__setattr__(self, name, float(getattr(self, name)))
        object.__setattr__(self, "figures", {name: float(value) for name, value in self.figures.items()})
        if not self.valid or not math.isfinite(score):
            reason = self.reason or ("" if not self.valid else f"the score is {score}")
            for name, value in (("valid", False), ("score", math.nan), ("reason", reason)):
                object.__setattr__(self, name, value)
        else:
            object.__setattr__(self, "score", score)

    @classmethod
    def invalid(cls, reason: str) -> Estimate:
        """An estimate that says nothing, and why."""
        return cls(math.nan, valid=False, reason=reason)


class Estimator(ABC):
    """Scores candidates: architectures of the context's space, or any module that fits its task.

    A subclass is one method: `estimate`. It leaves the candidate as it is (`Context.network` gives a network of its
    own), draws from nothing but the seeded global generators and the context's `seed`, and depends on nothing else, so
    that equal candidates in equal contexts have equal scores. It may raise: `estimate_all`, which everything here
    calls, makes an invalid estimate of what it raised. The contract is `automl_plugins.testing.EstimatorContract`; an
    entry point in the group `automl_plugins.estimators` gives an estimator a name.

    An estimator that learns from scored candidates has `learns = True`, and a method `fit`.
    """

    learns: ClassVar[bool] = False
    """`fit` comes before `estimate`."""
    needs_context: ClassVar[bool] = True
    """False: scores depend on the architecture alone, so there may be no context to estimate in."""
    relative: ClassVar[bool] = False
    """True: scores compare the candidates of one `estimate_all` with one another, and mean nothing beyond it."""

    @abstractmethod
    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        """The estimate of one candidate.

        Args:
            candidate: an architecture of the context's space, or a network for its task.
            context: the ground that candidates are judged on.
        """

    def check(self, context: Context) -> None:  # noqa: B027 - most refuse none
        """Refuse a context in which no candidate could be judged; who asks for many estimates calls it first.

        Args:
            context: the ground that candidates are to be judged on.

        Raises:
            ValueError: it lacks what the estimator needs.
        """

    def fit(self, candidates: Sequence[Any], scores: ArrayLike) -> None:
        """Learn anew from candidates whose scores are known.

        Args:
            candidates: architectures, or modules where the estimator takes them.
            scores: `[num_candidates]`, finite, the higher the better.

        Raises:
            TypeError: the estimator does not learn.
        """
        raise TypeError(f"{type(self).__name__} learns nothing from scores, so there is no `fit`")

    def estimate_all(self, candidates: Iterable[Candidate], context: Context | None) -> list[Estimate]:
        """Estimates of several candidates, each timed and under the context's seed.

        A candidate for which `estimate` raises has an invalid estimate that says why; the others are not concerned,
        nor are the process's random generators.

        Args:
            candidates: see `estimate`.
            context: see `estimate`; None where `needs_context` is False.

        Raises:
            ValueError: there is no context, and the estimator needs one.
        """
        if context is None and self.needs_context:
            raise ValueError(f"{type(self).__name__} judges candidates in a context; give it Context.of(project)")
        return [self._one(candidate, context) for candidate in candidates]

    def _one(self, candidate: Candidate, context: Context | None) -> Estimate:
        began = time.perf_counter()
        try:
            with nullcontext() if context is None else context.seeded():
                estimate = _checked(self.estimate(candidate, cast(Context, context)))
        except Exception as error:  # noqa: BLE001 - whatever an estimator of the user's raises, its candidate is last
            estimate = Estimate.invalid(f"{type(error).__name__}: {error}".splitlines()[0])
        seconds = time.perf_counter() - began
        return replace(estimate, cost_s=seconds) if math.isnan(estimate.cost_s) else estimate


def _checked(estimate: object) -> Estimate:
    if not isinstance(estimate, Estimate):
        raise TypeError(f"estimate gave a {type(estimate).__name__}; it gives an Estimate")
    return estimate


def rank(estimates: Iterable[Estimate | float]) -> list[int]:
    """The positions of estimates or scores, the best first.

    Equal ones keep their order; invalid ones, and scores that are nan or infinite, come last in theirs.
    """
    scores = [float(one.score if isinstance(one, Estimate) else one) for one in estimates]
    return sorted(range(len(scores)), key=lambda place: -scores[place] if math.isfinite(scores[place]) else math.inf)
