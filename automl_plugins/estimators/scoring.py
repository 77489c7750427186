"""Several estimators over the same architectures: who agrees with whom, and what each costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from automl_plugins.estimators.base import Estimate, Estimator, rank
from automl_plugins.estimators.context import Context
from automl_plugins.estimators.make import EstimatorConfig, make_estimator
from automl_plugins.spaces.architecture import Architecture

BESIDE = ("params", "macs", "random")
"""The scores that every other one is shown beside."""


@dataclass(frozen=True)
class Scores:
    """Estimates of the same architectures by several estimators.

    Args:
        architectures: that were judged.
        estimates: name of an estimator -> an estimate for each of them.
    """

    architectures: Sequence[Architecture]
    estimates: Mapping[str, list[Estimate]]

    def ranks(self, name: str) -> list[int]:
        """The place of each architecture by an estimator, 1 for the best, invalid ones last."""
        places = [0] * len(self.architectures)
        for place, position in enumerate(rank(self.estimates[name]), start=1):
            places[position] = place
        return places

    def seconds(self, name: str) -> float:
        """The mean wall time of an estimate."""
        return float(np.mean([estimate.cost_s for estimate in self.estimates[name]]))

    @cached_property
    def tau(self) -> dict[str, dict[str, float]]:
        """Kendall's tau-b of each two estimators, over what both have an estimate for; nan where that says nothing."""
        scores = {name: np.array([each.score for each in column]) for name, column in self.estimates.items()}
        return {one: {other: kendall(scores[one], scores[other]) for other in self.estimates} for one in self.estimates}

    @classmethod
    def known(cls, content: Mapping[str, Any], architectures: Sequence[Architecture]) -> dict[str, list[Estimate]]:
        """The estimates of these architectures in what `to_dict` gave; none where it is of others, or broken."""
        found: dict[str, list[Estimate]] = {}
        try:
            rows = content["architectures"]
            if [row["architecture"] for row in rows] != [each.to_dict() for each in architectures]:
                return {}
            for row in rows:
                for name, kept in row["estimates"].items():
                    score, std = (math.nan if kept[key] is None else kept[key] for key in ("score", "std"))
                    reason = kept.get("invalid", "")
                    estimate = Estimate(score, std, kept["seconds"], kept["score"] is not None, reason=reason)
                    found.setdefault(name, []).append(estimate)
        except (KeyError, TypeError, AttributeError, ValueError):
            return {}
        return {name: column for name, column in found.items() if len(column) == len(architectures)}

    def to_dict(self) -> dict[str, Any]:
        """Plain data: the architectures with score, rank, seconds and reason by each estimator, and the taus."""
        ranks = {name: self.ranks(name) for name in self.estimates}
        return {
            "architectures": [
                {
                    "architecture": architecture.to_dict(),
                    "estimates": {
                        name: {
                            "score": column[place].score,
                            "std": column[place].std,
                            "rank": ranks[name][place],
                            "seconds": column[place].cost_s,
                            **({} if column[place].valid else {"invalid": column[place].reason}),
                        }
                        for name, column in self.estimates.items()
                    },
                }
                for place, architecture in enumerate(self.architectures)
            ],
            "kendall_tau": self.tau,
        }


def named_estimators(configs: Sequence[EstimatorConfig], context: Context) -> dict[str, Estimator]:
    """The estimators of a list, by what they are called in it, and those that they stand beside.

    Args:
        configs: see `make_estimator`.
        context: that they are to judge in.

    Raises:
        ValueError: there is none of a name, one is named twice, has to be fitted first, or does not fit the context.
    """
    made: dict[str, Estimator] = {}
    for config in [*configs, *(name for name in BESIDE if name not in configs)]:
        label = config if isinstance(config, str) else str(config.get("class_path", config)).rpartition(".")[2]
        if label in made:
            raise ValueError(f"estimators: {label!r} is there twice")
        made[label] = make_estimator(config, context.space, context.seed)
        if made[label].learns:
            raise ValueError(f"estimators: {label!r} learns from trials, so it scores nothing before there are any")
        try:
            made[label].check(context)
        except ValueError as error:
            raise ValueError(f"estimators: {label!r} does not fit here: {error}") from error
    return made


def score(
    estimators: Mapping[str, Estimator],
    architectures: Sequence[Architecture],
    context: Context,
    done: Mapping[str, list[Estimate]] | None = None,
    ended: Callable[[Scores, str], None] | None = None,
) -> Scores:
    """Judge architectures by several estimators.

    Args:
        estimators: by name.
        architectures: that are judged.
        context: that they are judged in.
        done: estimates of these architectures that are there already, by name.
        ended: is told the scores so far after each estimator, and in one line what became of it.
    """
    scores = Scores(architectures, {})
    for name, estimator in estimators.items():
        known = (done or {}).get(name)
        estimates = estimator.estimate_all(architectures, context) if known is None else known
        scores = Scores(architectures, {**scores.estimates, name: estimates})
        if ended is not None:
            ended(scores, _ended(name, estimates))
    return scores


def _ended(name: str, estimates: Sequence[Estimate]) -> str:
    seconds = sum(estimate.cost_s for estimate in estimates)
    failed = [estimate.reason for estimate in estimates if not estimate.valid]
    told = f"; {len(failed)} are invalid, the first: {failed[0]}" if failed else ""
    return f"{name}: {len(estimates)} architectures, {seconds:.1f} s{told}"


def kendall(first: np.ndarray, second: np.ndarray) -> float:
    """Kendall's tau-b over the pairs of finite scores; nan where there are fewer than two, or all are equal."""
    both = np.isfinite(first) & np.isfinite(second)
    signs = [np.sign(np.subtract.outer(each[both], each[both])) for each in (first, second)]
    scale = math.sqrt(float((signs[0] ** 2).sum()) * float((signs[1] ** 2).sum()))
    return float((signs[0] * signs[1]).sum()) / scale if scale > 0 else math.nan


def kendall_error(count: int) -> float:
    """The standard error of tau where two orders of so many have nothing to do with each other."""
    return math.sqrt(2 * (2 * count + 5) / (9 * count * (count - 1))) if count > 1 else math.inf
