"""Write a trained network of images for other runtimes, and compare it with the module.

usage: automl-plugins export --architecture FILE --size HEIGHTxWIDTH [--weights FILE] [--key value] <output>

The file takes any number of images of one size.

output:
  model.onnx               ONNX; needs the packages of automl-plugins[onnx]
  model.pt2                what torch.export.load reads

options:
  --architecture FILE      an architecture.json
  --weights FILE           the network's state_dict (network.pt beside the architecture, where a study leaves it), or
                           a checkpoint of `fit` or `evaluate`
  --size HEIGHTxWIDTH      of the images: 128x192, or 128 for both
  --format torch|onnx      where the output's name does not say it
  --space NAME             the architecture's space, with arguments as --space.filters 20
  --task.KEY VALUE         what the network fits: --task.level pixel --task.target classes --task.in_channels 3
                           --task.out_channels 11; that of the run's data where left out
  --config FILE            YAML with any of these keys

The config.yaml beside the architecture, which a study or a search leaves there, gives what is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from automl_plugins.cli.commands import over_run
from automl_plugins.cli.console import output
from automl_plugins.cli.errors import UsageError, told_briefly
from automl_plugins.cli.network_file import network_at
from automl_plugins.cli.parser import Settings
from automl_plugins.cli.settings import Given
from automl_plugins.spaces.task import Task
from automl_plugins.system.files import write_whole
from automl_plugins.system.to_be_loaded import to_be_loaded
from automl_plugins.training.export import FORMATS, export_network

_SUFFIXES = {".onnx": "onnx", ".pt2": "torch"}


def run(given: Given, command: str) -> int:
    """Run the command, see `automl_plugins.cli.commands.Command`."""
    for key in ("architecture", "size"):
        if given.get(key) is None:
            raise UsageError(f"{key} is missing; see `automl-plugins export --help`")
    found = network_at(str(given.get("architecture")))
    given = found.under(over_run(command, given, found.run.config))
    kinds: dict[str, Any] = dict.fromkeys(("architecture", "size", "format", "weights"), str | None)
    settings = Settings(given, ("space", "data", "task"), **kinds)
    written, size = Path(given.targets[0]), _size(settings["size"])
    form = settings["format"] or _SUFFIXES.get(written.suffix)
    if form is None:
        raise UsageError(f"{str(written)!r} ends in none of {', '.join(_SUFFIXES)}; name such a file, or give --format")
    if form not in FORMATS:
        raise UsageError(f"format={form!r}: it is one of {', '.join(FORMATS)}")
    space = settings.make("space")
    contender = found.contender(space)
    task, data = _task(settings)
    if space.exported_input is None:
        raise UsageError(f"space={space.name!r}: its networks take more than one tensor, and are not exported")
    with told_briefly(str(found.path), 2, ValueError), to_be_loaded():
        network = contender.network(space, task, data)
    _load(network, Path(settings["weights"] or found.run.network))
    images = torch.randn(1, task.in_channels, *size, generator=torch.Generator().manual_seed(0))
    with told_briefly("", 1, ImportError, OSError, RuntimeError):
        difference = export_network(
            network, images, written, "onnx" if form == "onnx" else "torch", space.exported_input
        )
    console = output()
    console.out(f"kept: {written}; it differs from the module by {difference:.1e} of the largest output")
    normalisation = getattr(data, "image_statistics", None)
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


def _task(settings: Settings) -> tuple[Task, Any]:
    """The task that is given, or that of the run's data with these."""
    task = settings.make("task")
    if task is not None:
        return task, None
    data = settings.make("data")
    if data is None:
        raise UsageError("task is missing; it is that of the run's data, but there is no config.yaml that names them")
    with told_briefly("data", 1, OSError, ImportError, ValueError, RuntimeError):
        data.prepare_data()
        data.setup("fit")
        return data.task, data


def _load(network: torch.nn.Module, path: Path) -> None:
    """Read weights, of the network alone or of a checkpoint around it; nothing is unpickled from their file."""
    if not path.is_file():
        cure = "train it with `automl-plugins fit`, which says at its end what to name with --weights"
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
