"""FreeFlow: the saliency of a supernet's gates in one pass (Zhang et al. 2021, arXiv 2106.11542; later FreeDARTS)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from automl_plugins.estimators.base import Estimate, Estimator
from automl_plugins.estimators.context import Candidate, Context
from automl_plugins.estimators.flow import WithoutNormalisation, as_flow, flow_inputs
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.probe import Inputs
from automl_plugins.supernets.gated_space import GatedSpace
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.system.arguments import at_least


class FreeflowEstimator(Estimator):
    """The saliencies of an architecture's gates in the untrained supernet of its space: see `gate_shares`.

    The score is the sum over gates of the share of the option that is taken, so that its best architecture is that
    of FreeNAS (`automl_plugins.procedures.freenas`). One pass judges all candidates, without data.

    Args:
        rounds: see `gate_shares`.

    Raises:
        ValueError: a number below 1.
    """

    def __init__(self, rounds: int = 1) -> None:
        self.rounds = at_least("rounds", rounds, 1)

    def check(self, context: Context) -> None:
        """Refuse a space without a supernet.

        Raises:
            ValueError: it has none.
        """
        if not isinstance(context.space, SupernetSpace):
            raise ValueError(f"freeflow reads the gates of a supernet; the space {context.space.name!r} has none")

    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        """The estimate of one architecture.

        Raises:
            TypeError: the candidate is no architecture.
            ValueError: the space has no supernet, the architecture is not of it, or nothing flows.
        """
        return _Shares(self._shares(context)).estimate(candidate, context)

    def estimate_all(self, candidates: Iterable[Candidate], context: Context | None) -> list[Estimate]:
        """See `Estimator.estimate_all`; the supernet runs once for all."""
        listed = list(candidates)
        if context is None:
            return super().estimate_all(listed, context)
        began = time.perf_counter()
        try:
            shares = self._shares(context)
        except (RuntimeError, TypeError, ValueError):
            return super().estimate_all(listed, context)
        seconds = (time.perf_counter() - began) / max(len(listed), 1)
        return [replace(each, cost_s=each.cost_s + seconds) for each in _Shares(shares).estimate_all(listed, context)]

    def _shares(self, context: Context) -> Tensor:
        self.check(context)
        with context.seeded():
            searchable = cast(SupernetSpace, context.space).searchable(context.task, joint=False).to(context.device)
        return gate_shares(searchable, flow_example(context), self.rounds)


class _Shares(Estimator):
    """Architectures by known shares of their gates' options."""

    def __init__(self, shares: Tensor) -> None:
        self.shares = shares

    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        if not isinstance(candidate, Architecture):
            raise TypeError(f"freeflow judges architectures by their gates; a {type(candidate).__name__} has none")
        gates = cast(GatedSpace, context.space.whole).gates(candidate, torch.float64).matrix
        return Estimate(float((gates * self.shares).sum()), figures={"gates": float(gates.sum())})


def flow_example(context: Context) -> Inputs:
    """A pair of made-up graphs or images of ones, on the context's device."""
    made_up = context.probe.positive(context.probe.example(2, context.generator()))
    return tuple(each.to(context.device) if isinstance(each, Tensor) else each for each in made_up)


def gate_shares(searchable: Searchable, inputs: Inputs, rounds: int = 1) -> Tensor:
    """The saliency of each open option of a supernet's gates, as a share of its gate's.

    With a constant gate alpha of 1 / n for each of a choice's n open options, the weights without their signs,
    features of ones, no normalisations, and R the sum of the outputs, all in float64, the saliency is
    `S = |alpha dR/dalpha|`. The authors' code draws gates at random; R is multilinear in them, so that a draw decides
    much of the result, which constants do not.

    In several rounds, our reading of the later, iterative form, options are closed in between, by their shares over all
    gates, until each gate has one left; those that are closed later are worth more.

    Args:
        searchable: of no further use afterwards; made with `joint=False`.
        inputs: see above.
        rounds: of looking; 1 closes nothing.

    Returns:
        float64 `[num_choices, most_options]`, from 0 to 1, on the CPU; closed options have 0.

    Raises:
        ValueError: nothing flows through the supernet, or more than float64 holds.
    """
    as_flow(searchable.supernet)
    mask = searchable.mask.clone()
    survived = torch.zeros(mask.shape, dtype=torch.float64)
    shares = survived
    for number in range(1, rounds + 1):
        shares = _one_round(searchable, mask, inputs)
        survived = torch.where(mask.cpu(), (number - 1 + shares) / rounds, survived)
        if number < rounds:
            mask = _closed(mask, shares.to(mask.device), number / rounds)
    return survived


def _one_round(searchable: Searchable, mask: Tensor, inputs: Inputs) -> Tensor:
    counts = mask.sum(1, keepdim=True).clamp(min=1)
    gates = (mask.double() / counts).requires_grad_()
    with WithoutNormalisation():
        outputs = searchable.supernet(*flow_inputs(inputs), gates=Gates(searchable.choices, gates))
    (gradient,) = torch.autograd.grad(outputs.sum(), gates)
    saliency = (gates.detach() * gradient).abs()
    if not saliency.isfinite().all():
        raise ValueError("the flow through the supernet is beyond what float64 holds")
    if not saliency.any():
        raise ValueError("nothing flows through the supernet: all derivatives with respect to its gates are 0")
    total = saliency.sum(1, keepdim=True)
    return torch.where(total > 0, saliency / total.clamp(min=math.ulp(0.0)), 0.0).cpu()


def _closed(mask: Tensor, shares: Tensor, progress: float) -> Tensor:
    """The mask with the weakest options closed, so many that at the end one is left of each gate."""
    best = torch.zeros_like(mask).scatter_(1, shares.masked_fill(~mask, -1.0).argmax(1, keepdim=True), True) & mask
    others = mask & ~best
    open_now, gates = int(mask.sum()), int(best.sum())
    keep = round(open_now * (gates / open_now) ** progress) - gates
    order = shares.masked_fill(~others, -1.0).flatten().argsort(descending=True)
    kept = torch.zeros(mask.numel(), dtype=torch.bool, device=mask.device)
    kept[order[: max(keep, 0)]] = True
    return best | (kept.view_as(mask) & others)
