"""The making of a run's inputs and the meaning of its outputs, kept beside its trained networks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from automl_plugins.spaces.task import Task
from automl_plugins.system.failure import failure_of
from automl_plugins.system.files import save_whole, write_whole
from automl_plugins.system.finite import strict_json
from automl_plugins.system.formats import stamp, unstamped
from automl_plugins.training.description import import_path
from automl_plugins.training.lightning import pl
from automl_plugins.training.regression import RegressionModule

Statistics = Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Preprocessing:
    """The reading of new inputs, and the meaning of the outputs for them, as in the training.

    Args:
        task: that the networks fit.
        names: of the classes, labels or targets, in the order of the outputs; of a binary target one name, or those of
            no and yes.
        data: the import path of the datamodule's class.
        reading: what its `unlabelled` reads new inputs with, plain JSON values and tensors; empty where it has no such
            method.
        statistics: `image_mean` and `image_deviation` of each channel that images were normalised with, and
            `target_mean` and `target_scale` of each target that the network has learned standardised.
    """

    task: Task
    names: tuple[str, ...]
    data: str
    reading: Mapping[str, Any] = field(default_factory=dict)
    statistics: Statistics = field(default_factory=dict)

    @classmethod
    def of(cls, data: pl.LightningDataModule, task: Task, module: nn.Module) -> Preprocessing:
        """That of a training.

        Args:
            data: which have been read. They may have `classes` or `target_columns`, `image_statistics`, and a method
                `reading`.
            task: that the module was trained for.
            module: trained.
        """
        statistics = {}
        normalised = getattr(data, "image_statistics", None)
        if normalised is not None:
            statistics = dict(zip(("image_mean", "image_deviation"), map(_numbers, normalised), strict=True))
        if isinstance(module, RegressionModule):
            statistics |= {"target_mean": _numbers(module.mean), "target_scale": _numbers(module.scale)}
        return cls(task, _names(data, task), import_path(type(data)), _reading(data), statistics)

    def save(self, path: Path) -> None:
        """Write it as JSON, and tensors into a file of the same name that ends in `.pt`.

        Raises:
            WriteError: they cannot be written.
        """
        tensors = {name: value for name, value in self.reading.items() if isinstance(value, Tensor)}
        plain = {name: value for name, value in self.reading.items() if name not in tensors}
        if tensors:
            save_whole(path.with_suffix(".pt"), tensors)
        content = {
            **stamp(),
            "task": self.task.to_dict(),
            "names": self.names,
            "data": self.data,
            "reading": plain,
            "tensors": sorted(tensors),
            "statistics": self.statistics,
        }
        write_whole(path, strict_json(content))

    @classmethod
    def load(cls, path: Path) -> Preprocessing:
        """Read it from a file that `save` has written; nothing is unpickled.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it cannot be read.
            FormatError: another version wrote it.
        """
        if not path.is_file():
            raise FileNotFoundError(f"{path}: there is no such file")
        content = json.loads(path.read_text("utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no object")
        kept = unstamped(content, path)
        reading = dict(kept["reading"])
        if kept["tensors"]:
            tensors = torch.load(path.with_suffix(".pt"), weights_only=True, map_location="cpu")
            reading |= {name: tensors[name] for name in kept["tensors"]}
        statistics = {str(name): tuple(map(float, values)) for name, values in kept["statistics"].items()}
        return cls(Task(**kept["task"]), tuple(map(str, kept["names"])), str(kept["data"]), reading, statistics)


def _reading(data: Any) -> dict[str, Any]:
    """The arguments that new inputs are read with; a failure of somebody's own method is told, and all else kept."""
    try:
        found = dict(data.reading()) if callable(getattr(data, "reading", None)) else {}
        strict_json({name: value for name, value in found.items() if not isinstance(value, Tensor)})
    except Exception as error:  # noqa: BLE001 - what was trained is worth keeping without it
        name = type(data).__name__
        pl.utilities.rank_zero_warn(f"{name}.reading failed, so new inputs cannot be read: {failure_of(error)}")
        return {}
    return found


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(torch.as_tensor(values).detach().flatten().tolist())


def _names(data: Any, task: Task) -> tuple[str, ...]:
    """The names of the outputs that the datamodule has, or their numbers."""
    counts = (1, 2) if task.target == "binary" else (task.out_channels,)
    for attribute in ("classes", "target_columns"):
        names = getattr(data, attribute, None)
        if isinstance(names, list | tuple) and len(names) in counts:  # some keep the number of classes
            return tuple(map(str, names))
    return tuple(str(number) for number in range(task.out_channels))
