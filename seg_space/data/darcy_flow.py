"""Darcy flow as dense regression: from the permeability of every point to the pressure there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from automl_plugins.spaces.task import Task
from automl_plugins.system.arguments import at_least
from seg_space.data.base import ImageDataModule
from seg_space.data.darcy_equation import HIGH, LOW, permeability, pressure
from seg_space.data.sources import Statistics, TensorSource

CHUNK_NUMBERS = 1 << 24
"""Numbers in memory while samples are solved together."""


class DarcyFlowData(ImageDataModule):
    """Flow through a porous square, generated: predict the pressure from the permeability (Li et al. 2021).

    The equation is -div(a grad u) = 1 with u = 0 on the boundary; a is 12 or 3, where a Gaussian random field is
    positive or not (see `darcy_equation`). Samples of 85 x 85 points, 1000 of them for training and validation and
    100 for test, are the task of NAS-Bench-360 (Tu et al. 2022, arXiv 2110.05668): its data are solutions on a grid of
    421 points of which every fifth is kept; ours are solved on the grid itself, whose solutions are 0.6 to 1.1 % off
    (relative l2 of three samples, against a grid four times as fine). Scores are close to published ones, not equal.

    Generated once (about a minute of one core for the defaults), then kept in `<root>/darcy_flow_*.npz`. The i-th
    sample of a split depends on the seed, the split and i alone.

    Images have one channel, a, or three, with the two coordinates; all are normalised. Targets are u,
    `[batch, 1, resolution, resolution]`.

    Args:
        num_train: training samples.
        num_val: validation samples.
        num_test: test samples.
        resolution: points a side, with the boundary.
        coordinates: give each point's coordinates as two more channels.
        root: folder of the generated file; None: it is kept in memory alone.
        batch_size: samples of a batch.
        seed: of the samples, and of the order of training batches.

    Raises:
        ValueError: an argument is out of range; (in `setup`) the file is not what was written.
    """

    def __init__(
        self,
        num_train: int = 900,
        num_val: int = 100,
        num_test: int = 100,
        resolution: int = 85,
        coordinates: bool = True,
        root: str | Path | None = "data",
        batch_size: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, 0, seed)
        self.num_train = at_least("num_train", num_train, 1)
        self.num_val = at_least("num_val", num_val, 1)
        self.num_test = at_least("num_test", num_test, 1)
        self.resolution = at_least("resolution", resolution, 4)
        self.coordinates = coordinates
        self.root = None if root is None else Path(root).expanduser()

    @property
    def task(self) -> Task:
        """The task that a network must fit; nothing is generated for it."""
        return Task("pixel", "regression", in_channels=3 if self.coordinates else 1, out_channels=1)

    @property
    def target_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the training samples' pressures, each `[1]`."""
        source = self.loaded.train.source
        if not isinstance(source, TensorSource):
            raise TypeError("the samples of Darcy flow are tensors")
        return Statistics.of(TensorSource(source.targets, source.targets))

    @property
    def file(self) -> Path | None:
        """The file in which the samples are kept."""
        if self.root is None:
            return None
        counts = f"{self.num_train}_{self.num_val}_{self.num_test}"
        return self.root / f"darcy_flow_{self.resolution}_{counts}_{self.seed}.npz"

    def _download(self) -> None:
        if self.file is not None and not self.file.exists():
            _write(self.file, self._generated())

    def _sources(self) -> tuple[TensorSource, TensorSource, TensorSource]:
        counts = [self.num_train, self.num_val, self.num_test]
        if self.file is None or not self.file.exists():
            samples = self._generated()
        else:
            samples = _read(self.file, (sum(counts), self.resolution, self.resolution))
        channels = [torch.from_numpy(np.where(samples.high, HIGH, LOW).astype(np.float32))]
        if self.coordinates:
            axis = torch.linspace(0, 1, self.resolution)
            channels += [grid.expand_as(channels[0]) for grid in torch.meshgrid(axis, axis, indexing="ij")]
        images = torch.stack(channels, dim=1)
        targets = torch.from_numpy(samples.pressure).unsqueeze(1)
        parts = zip(images.split(counts), targets.split(counts), strict=True)
        train, val, test = (TensorSource(*part) for part in parts)
        return train, val, test

    def _generated(self) -> Samples:
        seeds = [
            [self.seed, split, index]
            for split, count in enumerate((self.num_train, self.num_val, self.num_test))
            for index in range(count)
        ]
        high = np.stack([permeability(self.resolution, np.random.default_rng(seed)) for seed in seeds])
        chunk = max(CHUNK_NUMBERS // self.resolution**3, 1)
        solved = [
            pressure(np.where(high[start : start + chunk], HIGH, LOW)).astype(np.float32)
            for start in range(0, len(high), chunk)
        ]
        return Samples(high, np.concatenate(solved))


class Samples(NamedTuple):
    """The places of high permeability, and the pressures, `[samples, resolution, resolution]`."""

    high: npt.NDArray[np.bool_]
    pressure: npt.NDArray[np.float32]


def _write(file: Path, samples: Samples) -> None:
    """Write a file whole or not at all: several processes may want it at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=file.parent, suffix=".npz.part")
    with os.fdopen(descriptor, "wb") as stream:
        np.savez_compressed(stream, **samples._asdict())
    Path(name).replace(file)


def _read(file: Path, shape: tuple[int, ...]) -> Samples:
    with np.load(file, allow_pickle=False) as content:
        arrays = {name: content[name] for name in content.files}
    for name, dtype in (("high", np.bool_), ("pressure", np.float32)):
        array = arrays.get(name)
        if array is None or array.shape != shape or array.dtype != dtype:
            described = "nothing" if array is None else f"{array.dtype} of shape {array.shape}"
            raise ValueError(
                f"{file} holds {described} as {name!r}, not {np.dtype(dtype)} of shape {shape}; delete the file, and "
                "it is generated anew"
            )
    return Samples(arrays["high"], arrays["pressure"])
