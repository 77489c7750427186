"""A trained hypernetwork in a folder: weights that nothing is unpickled from, and how they were made, beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch

from automl_plugins.estimators.ghn.hypernetwork import GraphHypernetwork
from automl_plugins.spaces.task import Task
from automl_plugins.system.files import read_object, whole_file, write_whole
from automl_plugins.training.description import first_difference

_FORMAT = 1


class Kept(NamedTuple):
    """A hypernetwork as it is read from a folder.

    Args:
        hypernetwork: in evaluation mode, on the CPU.
        task: that its networks fit.
        settings: that it was trained with.
    """

    hypernetwork: GraphHypernetwork
    task: Task
    settings: Mapping[str, Any]


class HypernetworkFolder:
    """The files of one hypernetwork.

    Args:
        path: of the folder; it need not be there.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).expanduser()

    @property
    def weights(self) -> Path:
        """The trained weights."""
        return self.path / "hypernetwork.safetensors"

    @property
    def description(self) -> Path:
        """The settings that they were, or are being, made with."""
        return self.path / "hypernetwork.json"

    @property
    def training(self) -> Path:
        """The state that a training goes on from."""
        return self.path / "training.ckpt"

    @property
    def lock(self) -> Path:
        """The lock that its training is done under."""
        return self.path / "training.lock"

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Note what is trained here.

        Raises:
            ValueError: another hypernetwork is in the folder.
        """
        before = read_object(self.description)
        if before is not None and (other := first_difference(before["settings"], settings)) is not None:
            name, old, new = other
            raise ValueError(f"{self.path} has a hypernetwork of {name}={old!r}; {new!r} needs another folder")
        write_whole(self.description, json.dumps({"format": _FORMAT, **(before or {}), "settings": settings}, indent=1))

    def keep(self, hypernetwork: GraphHypernetwork, task: Task) -> None:
        """Write a trained hypernetwork; the state of its training goes."""
        content = read_object(self.description) or {}
        sizes = {"width": hypernetwork.width, "kernel": hypernetwork.kernel, "task": task.to_dict()}
        write_whole(self.description, json.dumps({**content, **sizes}, indent=1))
        state = {name: value.detach().cpu().contiguous() for name, value in hypernetwork.state_dict().items()}
        with whole_file(self.weights) as file:
            file.write(safetensors.torch.save(state))
        self.training.unlink(missing_ok=True)

    def read(self) -> Kept:
        """The trained hypernetwork.

        Raises:
            FileNotFoundError: there is none (yet).
            ValueError: a file is broken, or is of something else.
        """
        if not self.weights.is_file():
            raise FileNotFoundError(
                f"{self.path} has no trained hypernetwork; the estimator ghn with folder={str(self.path)!r} trains one"
            )
        content = read_object(self.description) or {}
        try:
            with torch.random.fork_rng(devices=[]):
                hypernetwork = GraphHypernetwork(content["width"], content["kernel"])
            hypernetwork.load_state_dict(safetensors.torch.load(self.weights.read_bytes()))
            task = Task(**content["task"])
        except (KeyError, TypeError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(f"{self.weights} is no hypernetwork of {self.description.name} ({reason})") from error
        return Kept(hypernetwork.eval().requires_grad_(False), task, content["settings"])
