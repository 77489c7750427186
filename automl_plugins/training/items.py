"""Standard errors of a metric over the items that it is computed on: the bootstrap of what each adds to its state."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

RESAMPLES = 200
"""Enough for a standard error (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, section 6.4)."""
FEWEST = 10
"""The bootstrap's error of n items is too low by the factor sqrt((n - 1) / n), which is a twentieth here."""

State = dict[str, Tensor | list[Tensor]]


@dataclass(frozen=True)
class ItemError:
    """The standard error of a score over the items that it was computed on.

    Args:
        error: in the score's units.
        items: how many there are.
    """

    error: float
    items: int


def state_of(metric: Metric) -> State:
    """A copy of a metric's state."""
    return {
        name: [each.detach().cpu() for each in value] if isinstance(value, list) else value.detach().cpu().clone()
        for name, value in metric.metric_state.items()
    }


class ItemStates:
    """States of metrics for each item alone, which add up to those of any resample of the items.

    A state is a sum over items, or a list of what they have; other metrics are told by their value of all items, which
    is then not that of the validation.

    Args:
        metrics: updated at least once, so that they may compute; their states are replaced.
    """

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self.metrics = list(metrics)
        self.states: list[list[State]] = []
        self.items = 0

    def add(self, states: Sequence[State], items: int = 1) -> None:
        """Count an item.

        Args:
            states: of each metric, when it has seen that item alone.
            items: how many it is, where several are taken as one.
        """
        self.states.append(list(states))
        self.items += items

    def error(self, value: Callable[[], float], score: float) -> ItemError | None:
        """The deviation of a value over resamples of the items, always the same ones.

        Args:
            value: computes it from the metrics.
            score: its value over all items; no error is told where that is another one, or of fewer than `FEWEST`
                items.
        """
        count = len(self.states)
        if count < FEWEST:
            return None
        self._set(np.ones(count, dtype=np.int64))
        if not math.isclose(value(), score, rel_tol=1e-3, abs_tol=1e-6):
            return None
        generator, values = np.random.default_rng(0), []
        for _ in range(RESAMPLES):
            self._set(generator.multinomial(count, np.full(count, 1 / count)))
            values.append(value())
        # A resample of one class alone has no AUROC.
        defined = [each for each in values if math.isfinite(each)]
        return ItemError(float(np.std(defined, ddof=1)), self.items) if len(defined) > RESAMPLES / 2 else None

    def _set(self, counts: np.ndarray) -> None:
        """Give the metrics the states of a resample that has each item so many times."""
        weights = torch.from_numpy(counts).double()
        picked = np.repeat(np.arange(len(counts)), counts)
        for metric, states in zip(self.metrics, self._by_metric, strict=True):
            for name, each in states.items():
                if isinstance(each, Tensor):
                    summed = torch.tensordot(weights, each.double(), dims=1)
                    setattr(metric, name, summed.to(metric.device, each.dtype))
                else:
                    setattr(metric, name, [part.to(metric.device) for item in picked for part in each[item]])
            metric._computed = None

    @cached_property
    def _by_metric(self) -> list[dict[str, Tensor | list[list[Tensor]]]]:
        """Of each metric, each of its states for all items: `[items, ...]`, or the lists of each item."""
        told: list[dict[str, Tensor | list[list[Tensor]]]] = []
        for place in range(len(self.metrics)):
            every: dict[str, list[Any]] = {}
            for states in self.states:
                for name, value in states[place].items():
                    every.setdefault(name, []).append(value)
            told.append({name: torch.stack(v) if isinstance(v[0], Tensor) else v for name, v in every.items()})
        return told
