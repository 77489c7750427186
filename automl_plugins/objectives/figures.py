"""The costs of an architecture's network, as a study measures them on a batch of its data."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from automl_plugins._lightning import pl
from automl_plugins.architecture import Architecture
from automl_plugins.objectives.costs import macs
from automl_plugins.objectives.energy import Meter, energy_meter, measure_energy
from automl_plugins.objectives.latency import LatencyCache
from automl_plugins.space import SearchSpace
from automl_plugins.task import Task
from automl_plugins.training import ModuleFactory, seeded

FIGURES = ("num_parameters", "macs", "latency_ms", "energy_mj")
"""What can be measured: trainable parameters; of one forward pass on a validation batch, multiply-accumulates,
milliseconds, millijoules."""


class Figures:
    """Measures the costs of architectures on the first validation batch, as `predict_step` takes it.

    Args:
        names: which of `FIGURES`.
        space: of the architectures.
        task: what the networks must fit.
        module: makes a LightningModule of a network.
        data: the datamodule.
        device: where to measure.
        folder: where latencies are kept.
    """

    def __init__(
        self,
        names: Collection[str],
        space: SearchSpace,
        task: Task,
        module: ModuleFactory,
        data: pl.LightningDataModule,
        device: torch.device,
        folder: Path,
    ) -> None:
        self.names = tuple(names)
        self.space = space
        self.task = task
        self.module = module
        self.data = data
        self.device = device
        self.latencies = LatencyCache(folder)

    def prepare(self) -> None:
        """Read the batch, and find the meter where energy is asked for.

        Raises:
            EnergyError: the machine does not tell what it uses.
        """
        if "energy_mj" in self.names:
            _ = self._meter
        if set(self.names) - {"num_parameters"}:
            _ = self._batch

    def __call__(self, architecture: Architecture) -> dict[str, float]:
        """The figures of an architecture, by name."""
        measured: dict[str, float] = {}
        if "num_parameters" in self.names:
            measured["num_parameters"] = self.space.num_parameters(architecture, self.task)
        if "macs" in self.names:
            measured["macs"] = macs(self._predictor(architecture), [self._batch])
        if "latency_ms" in self.names:
            latency = self.latencies(architecture, lambda: self._predictor(architecture), [self._batch])
            measured["latency_ms"] = latency.milliseconds
        if "energy_mj" in self.names:
            measured["energy_mj"] = measure_energy(self._predictor(architecture), [self._batch], self._meter)
        return measured

    def _predictor(self, architecture: Architecture) -> nn.Module:
        with seeded(0):
            return _Predictor(self.module(self.space.network(architecture, self.task), self.task)).to(self.device)

    @cached_property
    def _meter(self) -> Meter:
        return energy_meter(self.device)

    @cached_property
    def _batch(self) -> Any:
        self.data.prepare_data()
        self.data.setup("fit")
        loader: Any = self.data.val_dataloader()
        return self.data.transfer_batch_to_device(next(iter(loader)), self.device, 0)


class _Predictor(nn.Module):
    """A LightningModule as a function of a batch."""

    def __init__(self, module: pl.LightningModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: Any) -> Any:
        return self.module.predict_step(batch, 0)
