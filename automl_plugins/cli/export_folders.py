"""Exported networks as folders: Hugging Face's layout, and that of segmentation_models_pytorch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from safetensors.torch import save_file
from torch import nn

from automl_plugins.cli.errors import UsageError
from automl_plugins.report.model_card import model_card
from automl_plugins.report.summary import Summary
from automl_plugins.spaces.plain_source import HasPlainSource
from automl_plugins.spaces.task import Task
from automl_plugins.system.files import write_whole
from automl_plugins.system.finite import strict_json
from automl_plugins.training.plain_file import write_plain
from automl_plugins.training.units import Units


@runtime_checkable
class _SavesSmp(Protocol):
    """A network around a model of smp."""

    def save_smp(self, folder: Path) -> None:
        """Write the model as `smp.from_pretrained` reads it."""


def write_huggingface(
    network: nn.Module,
    task: Task,
    units: Units,
    names: Sequence[str],
    summary: Summary | None,
    inputs: Sequence[tuple[Any, ...]],
    title: str,
    folder: Path,
) -> float | None:
    """Write a folder with config.json, model.safetensors, model.py and a model card.

    Args:
        network: with its weights; one without a plain source has no model.py.
        task: that it fits.
        units: of images and targets.
        names: of the outputs.
        summary: of its study, if there is one.
        inputs: of several calls, on which model.py is compared with the network.
        title: the first sentence of the files.
        folder: a new one.

    Returns:
        The difference of model.py from the network, see `write_plain`; None: there is no model.py.
    """
    difference: float | None = None
    needs: tuple[str, ...] = ()
    with _new(folder):
        if isinstance(network, HasPlainSource):
            source = network.plain_source()
            needs = source.needs
            difference = write_plain(network, source, inputs, folder / "model.py", title, units)
        else:
            state = {name: value.detach().contiguous().clone() for name, value in network.state_dict().items()}
            save_file(state, folder / "model.safetensors")
        made = "Predictor" if units.buffers else "Network"
        config = {
            "architectures": [made],
            "id2label": dict(enumerate(names)),
            "task": task.to_dict(),
            "libraries": ["torch", "safetensors", *needs],
        }
        write_whole(folder / "config.json", strict_json(config))
        card = model_card(title, task, names, summary, difference is not None, needs)
        write_whole(folder / "README.md", card)
    return difference


def write_smp(network: nn.Module, folder: Path) -> None:
    """Write a folder that `smp.from_pretrained` reads.

    Raises:
        UsageError: the network is no model of smp.
    """
    if not isinstance(network, _SavesSmp):
        told = "is no model of segmentation_models_pytorch; its formats are python, huggingface, torch and onnx"
        raise UsageError(f"format='smp': a {type(network).__name__} {told}", code=1)
    with _new(folder):
        network.save_smp(folder)


@contextmanager
def _new(folder: Path) -> Iterator[None]:
    """Make a folder, and remove it where what is in it cannot be made.

    Raises:
        UsageError: it is there.
    """
    if folder.exists():
        raise UsageError(f"out={str(folder)!r}: it exists; name another with --out, or remove it")
    folder.mkdir(parents=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder)
        raise
