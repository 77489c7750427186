"""`automl-plugins export`: a trained network for other runtimes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from automl_plugins.cli.checks import check_call, check_keys, shown
from automl_plugins.cli.configuration import make, make_space
from automl_plugins.cli.console import architecture_in, output, read_architecture
from automl_plugins.cli.errors import UsageError, told_briefly
from automl_plugins.cli.plugins import check_plugin
from automl_plugins.cli.settings import merge, plain, read, read_yaml
from automl_plugins.spaces.task import Task
from automl_plugins.studies.folder import RunFolder
from automl_plugins.system.files import write_whole
from automl_plugins.training.export import FORMATS, export_network
from automl_plugins.training.lightning import pl

_SUFFIXES = {".onnx": "onnx", ".pt2": "torch"}


def run(arguments: list[str], command: str = "export") -> int:
    """Run the command.

    Args:
        arguments: what follows it.
        command: its name.

    Returns:
        The exit code.

    Raises:
        UsageError: a mistake in the arguments, or a network that cannot be exported; the latter's code is 1.
    """
    given = read(arguments, targets=1)
    known = ("architecture", "weights", "size", "format", "space", "task")
    # A run's config.yaml may be given for what it says of these.
    check_keys(given.settings, [*known, *(given.settings if given.configs else ())], near=("config",))
    for key in ("architecture", "size"):
        if given.settings.get(key) is None:
            raise UsageError(f"{key} is missing; see `automl-plugins export --help`")
    if not given.targets:
        raise UsageError("name the file to write, such as model.onnx")
    written, size = Path(given.targets[0]), _size(str(given.settings["size"]))
    form = str(given.settings.get("format", _SUFFIXES.get(written.suffix)))
    if form not in FORMATS:
        raise UsageError(f"format={form!r}: it is one of {', '.join(FORMATS)}; an output .onnx or .pt2 says which")
    path = Path(str(given.settings["architecture"]))
    name = architecture_in(path).space
    beside = RunFolder(path.parent)
    settings = merge(read_yaml(beside.config) if beside.config.is_file() else {}, given.settings)
    space = make_space(merge({"space": name}, {"space": settings["space"]} if settings.get("space") else {})["space"])
    architecture = read_architecture(space, path)
    task, normalisation = _task(settings)
    if space.exported_input is None:
        raise UsageError(f"space={space.name!r}: its networks take more than one tensor, and are not exported")
    with told_briefly(str(path), 2, ValueError):
        network = space.network(architecture, task)
    _load(network, Path(str(given.settings.get("weights", beside.network))))
    images = torch.randn(1, task.in_channels, *size, generator=torch.Generator().manual_seed(0))
    with told_briefly("", 1, ImportError, OSError, RuntimeError):
        difference = export_network(
            network, images, written, "onnx" if form == "onnx" else "torch", space.exported_input
        )
    console = output()
    console.out(f"kept: {written}; it differs from the module by {difference:.1e} of the largest output")
    if normalisation is not None:
        beside_it = written.with_name(f"{written.name}.json")
        mean, deviation = ([float(value) for value in each] for each in normalisation)
        write_whole(beside_it, json.dumps({"size": size, "mean": mean, "deviation": deviation}, indent=2))
        console.out(f"it takes images less their channels' mean, over their deviation; both are kept in {beside_it}")
    return 0


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if match is None or "0" in match.groups():
        raise UsageError(f"size={text!r}: it is the images' height and width, such as 128x192")
    height, width = match.groups()
    return int(height), int(width or height)


def _task(settings: Mapping[str, Any]) -> tuple[Task, Any]:
    """The task that is given, or that of the run's data with what they normalise images by."""
    if settings.get("task"):
        if not isinstance(settings["task"], Mapping):
            raise UsageError(f"task={shown(settings['task'])}: it is a mapping of arguments, such as level: pixel")
        arguments = plain(check_call(Task, settings["task"], "task."))
        with told_briefly("task", 2, ValueError, TypeError):
            return Task(**arguments), None
    if settings.get("data") is None:
        raise UsageError("task is missing; it is that of the run's data, but there is no config.yaml that names them")
    data = make("data", pl.LightningDataModule, plain(check_plugin("data", "data", settings["data"])))
    with told_briefly("data", 1, OSError, ImportError, ValueError, RuntimeError):
        data.prepare_data()
        data.setup("fit")
        task: Task = data.task
        return task, getattr(data, "image_statistics", None)


def _load(network: torch.nn.Module, path: Path) -> None:
    """Read weights, of the network alone or of a checkpoint around it; nothing is unpickled from their file."""
    if not path.is_file():
        cure = "train it with `automl-plugins evaluate` or `fit`, and name the checkpoint with --weights"
        raise UsageError(f"weights={str(path)!r}: there is no such file; {cure}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        weights = weights_in(content, list(network.state_dict()))
    except Exception as error:  # torch raises nearly anything for a file of another kind
        raise UsageError(
            f"weights={str(path)!r}: it is no state_dict and no checkpoint, or holds objects, which are not unpickled"
        ) from error
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise UsageError(f"weights={str(path)!r}: they are not this network's: {str(error)[:200]}") from error


def weights_in(content: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The weights of a network in a file.

    Args:
        content: a `state_dict` of the network or of a module around it, or Lightning's checkpoint of such a module.
        names: of the network's weights.
    """
    state = content.get("state_dict", content)
    last = names[-1] if names else ""
    # The prefix under which the network lies in the module around it: `network.`, `model.net.`.
    for prefix in sorted((name.removesuffix(last) for name in state if name.endswith(last)), key=len):
        if all(prefix + name in state for name in names):
            return {name: state[prefix + name] for name in names}
    return dict(state)
