"""Train contenders over the same seeds with the same budget, choose by validation, test once."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import nn

from automl_plugins import registry, training
from automl_plugins._lightning import pl
from automl_plugins.architecture import Architecture
from automl_plugins.run_folder import RunFolder, save_whole, write_whole
from automl_plugins.space import SearchSpace
from automl_plugins.task import Task
from automl_plugins.training import Direction, ModuleFactory


@dataclass(frozen=True)
class Contender:
    """A network to train over seeds: an architecture of the space, or a registered hand-made reference.

    Args:
        label: what the tables call it.
        architecture: what was found; None for a reference.
        reference: the registered name; None for an architecture.
    """

    label: str
    architecture: Architecture | None = None
    reference: str | None = None

    @property
    def key(self) -> str:
        """A folder name; equal architectures share one, and so their trainings."""
        if self.architecture is None:
            return f"reference-{self.reference}"
        content = json.dumps(sorted(self.architecture.items())).encode()
        return f"architecture-{hashlib.sha256(content).hexdigest()[:12]}"


@dataclass(frozen=True)
class Trained:
    """One training of a contender: the best validation score, and what it cost (seconds, processor seconds)."""

    score: float
    best_epoch: int
    steps: int
    seconds: float
    cpu_seconds: float
    num_parameters: int


@dataclass(frozen=True)
class Row:
    """A contender's line of the final table; means and standard deviations (of the sample) over seeds."""

    label: str
    num_parameters: int
    seeds: int
    validation_mean: float
    validation_deviation: float
    test: dict[str, tuple[float, float]]
    cpu_seconds: float


class Comparison:
    """Trainings of contenders, kept as files, so that workers share them and a kill loses at most one.

    Args:
        folder: the run's folder.
        space: the space that the architectures are of.
        task: what the networks must fit.
        data: the datamodule.
        module: makes a LightningModule of a network.
        monitor: the validation metric that counts.
        direction: whether it is better when lower or higher.
        options: arguments of Lightning's Trainer.
        seeds: the seeds, the same for all contenders.
    """

    def __init__(
        self,
        folder: RunFolder,
        space: SearchSpace,
        task: Task,
        data: pl.LightningDataModule,
        module: ModuleFactory,
        monitor: str,
        direction: Direction,
        options: dict[str, Any],
        seeds: Sequence[int],
    ) -> None:
        self.folder = folder
        self.space = space
        self.task = task
        self.data = data
        self.module = module
        self.monitor = monitor
        self.direction = direction
        self.options = options
        self.seeds = tuple(seeds)

    def over(self, seeds: Sequence[int]) -> Comparison:
        """The same comparison on other seeds; trainings on seeds that they share are shared."""
        other = copy.copy(self)
        other.seeds = tuple(seeds)
        return other

    def build(self, contender: Contender) -> nn.Module:
        """A contender's network, freshly initialised."""
        if contender.architecture is not None:
            return self.space.network(contender.architecture, self.task)
        network: nn.Module = registry.load("references", str(contender.reference))(self.task)
        return network

    def train(self, contenders: Iterable[Contender]) -> bool:
        """Train what no worker has trained or is training; False where others are still at it."""
        return self._share(contenders, "train")

    def test(self, contenders: Iterable[Contender]) -> bool:
        """Test what no worker has tested or is testing; False where others are still at it."""
        return self._share(contenders, "test")

    def _share(self, contenders: Iterable[Contender], stage: str) -> bool:
        complete = True
        for contender in contenders:
            for seed in self.seeds:
                path = self.folder.result(contender.key, seed, stage)
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    with FileLock(path.with_suffix(".lock"), timeout=0):
                        if not path.exists():
                            run = self._train if stage == "train" else self._test
                            write_whole(path, json.dumps(run(contender, seed), indent=2))
                except Timeout:
                    complete = False
        return complete

    def _train(self, contender: Contender, seed: int) -> dict[str, Any]:
        with training.seeded(seed):
            network = self.build(contender)
            module = self.module(network, self.task)
            result = training.train(module, self.data, self.monitor, self.direction, self.options, keep_weights=True)
        weights = {"network": network.state_dict(), "module": module.state_dict()}
        save_whole(self.folder.weights(contender.key, seed), weights)
        count = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
        return asdict(Trained(**asdict(result), num_parameters=count))

    def _test(self, contender: Contender, seed: int) -> dict[str, float]:
        with training.seeded(seed):
            module = self.module(self.build(contender), self.task)
            module.load_state_dict(self.weights(contender, seed)["module"])
            return training.test(module, self.data, self.options)

    def weights(self, contender: Contender, seed: int) -> dict[str, dict[str, torch.Tensor]]:
        """The `state_dict` of a trained contender's `network` and of the `module` around it."""
        weights: dict[str, dict[str, torch.Tensor]] = torch.load(
            self.folder.weights(contender.key, seed), weights_only=True, map_location="cpu"
        )
        return weights

    def trained(self, contender: Contender) -> list[Trained]:
        """What each seed's training came to."""
        return [Trained(**self._read(contender, seed, "train")) for seed in self.seeds]

    def _read(self, contender: Contender, seed: int, stage: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.folder.result(contender.key, seed, stage).read_text("utf-8"))
        return content

    def best(self, contenders: Sequence[Contender]) -> Contender:
        """The contender with the best mean validation score; one that diverged comes last."""
        return min(contenders, key=self._rank)

    def _rank(self, contender: Contender) -> float:
        mean = statistics.fmean(result.score for result in self.trained(contender))
        return math.inf if math.isnan(mean) else mean if self.direction == "minimize" else -mean

    def best_seed(self, contender: Contender) -> int:
        """The seed that validated best."""
        sign = 1 if self.direction == "minimize" else -1
        scores = {seed: sign * result.score for seed, result in zip(self.seeds, self.trained(contender), strict=True)}
        return min(scores, key=lambda seed: math.inf if math.isnan(scores[seed]) else scores[seed])

    def row(self, contender: Contender) -> Row:
        """A contender's line of the table."""
        results = self.trained(contender)
        tests = [self._read(contender, seed, "test") for seed in self.seeds]
        mean, deviation = _summary([result.score for result in results])
        return Row(
            label=contender.label,
            num_parameters=results[0].num_parameters,
            seeds=len(self.seeds),
            validation_mean=mean,
            validation_deviation=deviation,
            test={name: _summary([test[name] for test in tests]) for name in tests[0]},
            cpu_seconds=statistics.fmean(result.cpu_seconds for result in results),
        )

    def mean_row(self, label: str, contenders: Sequence[Contender]) -> Row:
        """The line of several contenders together: means and deviations are over them, of each the mean over seeds.

        Args:
            label: what the tables call them.
            contenders: at least one, trained and tested.
        """
        rows = [self.row(contender) for contender in contenders]
        mean, deviation = _summary([row.validation_mean for row in rows])
        return Row(
            label=label,
            num_parameters=round(statistics.fmean(row.num_parameters for row in rows)),
            seeds=len(self.seeds),
            validation_mean=mean,
            validation_deviation=deviation,
            test={name: _summary([row.test[name][0] for row in rows]) for name in rows[0].test},
            cpu_seconds=statistics.fmean(row.cpu_seconds for row in rows),
        )


def _summary(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation of the sample; the latter is 0 for one value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0
