"""Screening: of several proposals of a sampler, the best by an estimator is trained."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from automl_plugins import registry
from automl_plugins.estimators.base import Estimator, rank
from automl_plugins.estimators.make import EstimatorConfig, make_estimator
from automl_plugins.samplers.base import ArchitectureSampler, Proposal, TrialLog
from automl_plugins.samplers.judge import Judge, LazyContext
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.system.arguments import at_least


class ScreenSampler(ArchitectureSampler):
    """Asks another sampler for several architectures, and proposes the best of them by an estimator.

    The others are asked for again as if they had not been; those that the estimator fails for come last. Many estimates
    must cost less than the trainings that they replace, and rank better than chance: `automl-plugins score` shows both.

    Args:
        space: see `ArchitectureSampler`.
        seed: see `ArchitectureSampler`.
        estimator: a registered name, or a mapping with its `init_args`, that needs no fit.
        pool: how many architectures the other sampler is asked for at each trial.
        sampler: the other sampler, one of ours (`ArchitectureSampler`): its name, or a mapping with its `init_args`.
        context: see `EvolutionSampler`.

    Raises:
        ValueError: a number out of range, no estimator or sampler of that name, or one that learns from trials.
    """

    max_objectives = 1_000

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        estimator: EstimatorConfig | Estimator = "naswot",
        pool: int = 20,
        sampler: str | Mapping[str, Any] | ArchitectureSampler = "evolution",
        context: LazyContext | None = None,
    ) -> None:
        super().__init__(space, seed)
        self.judge = Judge(make_estimator(estimator, space, seed), context)
        if self.judge.estimator.learns:
            name = type(self.judge.estimator).__name__
            raise ValueError(f"estimator: {name} learns from trials; take the predictor sampler, or one that does not")
        self.pool = at_least("pool", pool, 1)
        self.sampler = sampler if isinstance(sampler, ArchitectureSampler) else _made(sampler, space, seed)

    def propose(self, log: TrialLog, generator: np.random.Generator) -> Proposal:
        proposals: list[Proposal] = []
        seen = set(log.seen)
        for _ in range(self.pool):
            proposal = self.sampler.propose(replace(log, seen=seen), generator)
            if proposals and proposal.architecture in seen:
                break  # there is nothing else that is new
            proposals.append(proposal)
            seen.add(proposal.architecture)
        return proposals[rank(self.judge.scores([each.architecture for each in proposals]))[0]]


def _made(config: str | Mapping[str, Any], space: SearchSpace, seed: int) -> ArchitectureSampler:
    spec: Mapping[str, Any] = {"class_path": config} if isinstance(config, str) else config
    path = str(spec.get("class_path", ""))
    if "." in path:
        module, _, name = path.rpartition(".")
        found = getattr(importlib.import_module(module), name, None)
    else:
        found = registry.load("samplers", path)
    if not (isinstance(found, type) and issubclass(found, ArchitectureSampler)):
        ours = ", ".join(name for name in registry.names("samplers") if name != "screen")
        raise ValueError(f"sampler={path!r}: screening asks one of the samplers {ours}, which propose architectures")
    made: ArchitectureSampler = found(space, seed, **(spec.get("init_args") or {}))
    return made
