"""Write a trained network for use without this package, and compare it with the module before it is kept.

usage: automl-plugins export RUN [--format FORMAT] [--out PATH] [--key value]

RUN is the folder that `study`, `evaluate` or `fit` leaves (such as lightning_logs/version_0), or an architecture.json.
Of a search, train what was found first, with `evaluate` or `fit`.

formats:
  python                   one readable file, PATH.py, that builds the network with torch alone (those of smp and of the
                           space smp-decoder with segmentation_models_pytorch), and its weights beside it; where the
                           run's module normalises images or standardises targets, the file does so too
  huggingface              a folder: config.json, model.safetensors, the same file as model.py, and a model card
  smp                      a folder that `smp.from_pretrained` loads, of networks of pixels of the space smp
  torch                    what torch.export.load reads, PATH.pt2
  onnx                     ONNX, PATH.onnx; needs the packages of automl-plugins[onnx]

Networks of graphs take any numbers of nodes, edges and graphs in all formats, as inputs by the names x, edge_index,
edge_attr, batch and graph_attr, as far as they read them; those of images any number of images of one size in torch and
onnx, and of any sizes in python.

options:
  --out PATH               what to write; exported.py and the like in the run's folder where left out
  --architecture FILE      in place of RUN; PATH is then the argument without a key
  --weights FILE           the network's state_dict, or a checkpoint of `fit` or `evaluate`; those of the run where left
                           out
  --size HEIGHTxWIDTH      of images, for torch and onnx: 128x192, or 128 for both
  --format FORMAT          python where neither it nor the ending of PATH says another
  --space NAME             the architecture's space, with arguments as --space.filters 20
  --task.KEY VALUE         what the network fits: --task.level pixel --task.target classes --task.in_channels 3
                           --task.out_channels 11; that of the run's data where left out
  --config FILE            YAML with any of these keys

The config.yaml of the run gives what is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from automl_plugins.cli.commands import over_run
from automl_plugins.cli.console import output
from automl_plugins.cli.errors import UsageError, told_briefly
from automl_plugins.cli.export_folders import write_huggingface, write_smp
from automl_plugins.cli.exported import exported_at
from automl_plugins.cli.parser import Settings
from automl_plugins.cli.settings import Given
from automl_plugins.spaces.plain_source import HasPlainSource
from automl_plugins.spaces.probe import probe_of
from automl_plugins.spaces.task import Task
from automl_plugins.system.files import write_whole
from automl_plugins.system.nearest import did_you_mean
from automl_plugins.system.to_be_loaded import to_be_loaded
from automl_plugins.training.export import Format, export_calls, export_network
from automl_plugins.training.plain_file import load_plain, plain_arguments, write_plain
from automl_plugins.training.preprocessing import Preprocessing
from automl_plugins.training.units import Units

_SUFFIXES = {".py": "python", ".onnx": "onnx", ".pt2": "torch"}
_NAMES = {
    "python": "exported.py",
    "huggingface": "huggingface",
    "smp": "smp",
    "torch": "exported.pt2",
    "onnx": "exported.onnx",
}
"""The names in the folder of a run of what is written where no other is given."""
FORMATS = tuple(_NAMES)


def run(given: Given, command: str) -> int:
    """Run the command, see `automl_plugins.cli.commands.Command`."""
    (target,), named, out = given.targets, given.get("architecture"), given.get("out")
    exported = exported_at(*((target, "") if named is None else (str(named), "architecture")))
    given = exported.found.under(over_run(command, given, exported.config))
    kinds: dict[str, Any] = dict.fromkeys(("architecture", "size", "format", "weights", "out"), str | None)
    settings = Settings(given.without("module"), ("space", "data", "task"), **kinds)
    written = Path(target) if named is not None else None if out is None else Path(settings["out"])
    form = _form(settings["format"], written)
    if written is None:
        written = exported.folder / _NAMES[form]
    needs_size = form in ("torch", "onnx")
    space = settings.make("space")
    is_sized = needs_size and space.exported_input is not None
    size = _size(settings["size"]) if is_sized and settings["size"] is not None else None
    contender = exported.found.contender(space)
    kept = exported.preprocessing()
    task, data = _task(settings, None if contender.reference is not None else kept)
    if is_sized and size is None:
        raise UsageError("size is missing; it is the images' height and width, such as 128x192")
    with told_briefly(str(exported.found.path), 2, ValueError), to_be_loaded():
        network = contender.network(space, task, data)
    weights = exported.weights if settings["weights"] is None else Path(settings["weights"])
    _load(network, weights)
    module = weights if settings["weights"] is not None or exported.module is None else exported.module
    if kept is not None and settings["weights"] is None:
        units = units_of(kept)
    else:
        units = units_in(module, task) if exported.is_registered(given) else Units()
    difference: float | None
    with told_briefly("", 1, ImportError, OSError, RuntimeError, ValueError):
        if form == "python":
            difference = _as_python(network, task, units, written)
        elif form == "huggingface":
            names = tuple(map(str, range(task.out_channels))) if kept is None else kept.names
            told = exported.summary(), examples(task), title_of(task)
            difference = write_huggingface(network, task, units, names, *told, written)
        elif form == "smp":
            difference = None
            write_smp(network, written)
        else:
            program: Format = "onnx" if form == "onnx" else "torch"
            difference = _as_program(network, task, units, size, written, program, space.exported_input or "images")
    console = output()
    differs = "" if difference is None else f"; it differs from the module by {difference:.1e} of the largest output"
    console.out(f"kept: {written}{differs}")
    if form == "python":
        console.out(f"its weights: {written.with_suffix('.safetensors')}; `load()` in the file reads them")
    normalisation = getattr(data, "image_statistics", None)
    if normalisation is None and units.image_mean is not None:
        normalisation = units.image_mean, units.image_deviation
    if form in ("torch", "onnx") and normalisation is not None:
        beside_it = written.with_name(f"{written.name}.json")
        mean, deviation = ([float(value) for value in each] for each in normalisation)
        write_whole(beside_it, json.dumps({"size": size, "mean": mean, "deviation": deviation}, indent=2))
        console.out(f"it takes images less their channels' mean, over their deviation; both are kept in {beside_it}")
    return 0


def _form(format: str | None, written: Path | None) -> str:
    """The format that is asked for, or that the name of the file has."""
    if format is not None and format not in FORMATS:
        raise UsageError(f"format={format!r}: there is no such format; {did_you_mean(format, FORMATS)}")
    if format is None and written is not None and written.suffix not in _SUFFIXES:
        raise UsageError(f"{str(written)!r} ends in none of {', '.join(_SUFFIXES)}; name such a file, or give --format")
    form = format or ("python" if written is None else _SUFFIXES[written.suffix])
    if form in ("huggingface", "smp"):
        return form
    if form == "python" and written is not None and written.suffix != ".py":
        raise UsageError(f"{str(written)!r} does not end in .py, as a file of Python does")
    return form


def _as_python(network: nn.Module, task: Task, units: Units, written: Path) -> float:
    """Write a file of Python, and give its difference from the network."""
    if not isinstance(network, HasPlainSource):
        raise UsageError(_without_source(network), code=1)
    written.parent.mkdir(parents=True, exist_ok=True)
    return write_plain(network, network.plain_source(), examples(task), written, title_of(task), units)


def _as_program(
    network: nn.Module, task: Task, units: Units, size: tuple[int, int] | None, written: Path, form: Format, name: str
) -> float:
    """Write what torch or ONNX's runtimes read, and give its difference from the network."""
    written.parent.mkdir(parents=True, exist_ok=True)
    if size is not None:
        images = torch.randn(1, task.in_channels, *size, generator=torch.Generator().manual_seed(0))
        return export_network(network, images, written, form, name)
    if not isinstance(network, HasPlainSource):
        raise UsageError(_without_source(network), code=1)
    with TemporaryDirectory() as folder:
        # The plain network has nothing but gathers and scatters, which torch and ONNX know.
        path = Path(folder) / "plain.py"
        write_plain(network, network.plain_source(), examples(task), path, title_of(task), units)
        plain = load_plain(path)
    calls = [plain_arguments(network, plain, each) for each in examples(task)]
    tensors = [{key: value for key, value in call.items() if isinstance(value, torch.Tensor)} for call in calls]
    return export_calls(plain, [tuple(call.values()) for call in tensors], written, form, list(tensors[0]))


def _without_source(network: nn.Module) -> str:
    name = type(network).__name__
    return f"{name} has no method plain_source, which the export of its networks needs; keep its state_dict instead"


def examples(task: Task) -> list[tuple[Any, ...]]:
    """Made-up inputs of two sizes, on which what is written is compared with the network."""
    generator = torch.Generator().manual_seed(0)
    return [probe_of(task).example(count, generator) for count in (3, 5)]


def title_of(task: Task) -> str:
    """The outputs of a network, in words."""
    several = "s" if task.out_channels > 1 else ""
    given = {
        "classes": f"the logits of {task.out_channels} classes",
        "binary": "the logit of yes",
        "multilabel": f"the logits of {task.out_channels} label{several}",
        "regression": f"{task.out_channels} value{several}",
    }[task.target]
    owner = {"node": "node of a graph", "edge": "edge of a graph", "pixel": "pixel of an image"}.get(
        task.level, task.level
    )
    return f"A network that gives {given} for each {owner}; `load()` gives it trained."


def units_of(kept: Preprocessing) -> Units:
    """The units that a run has kept beside its network."""
    tensors = {name: torch.tensor(values) for name, values in kept.statistics.items()}
    return Units(**tensors, dimensions=2 if kept.task.level == "pixel" else 0)


def units_in(path: Path, task: Task) -> Units:
    """The units that a checkpoint of a registered module keeps beside its network.

    Args:
        path: of the checkpoint; one of a network alone has none.
        task: what the network fits.
    """
    content = torch.load(path, map_location="cpu", weights_only=True)
    state = content.get("state_dict", {})
    found: dict[str, torch.Tensor] = {}
    mean, deviation = state.get("image_mean"), state.get("image_deviation")
    if mean is not None and deviation is not None and (mean.any() or (deviation != 1).any()):
        found |= {"image_mean": mean, "image_deviation": deviation}
    if task.target == "regression" and "mean" in state and "scale" in state:
        found |= {"target_mean": state["mean"], "target_scale": state["scale"]}
    return Units(**found, dimensions=2 if task.level == "pixel" else 0)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if match is None or "0" in match.groups():
        raise UsageError(f"size={text!r}: it is the images' height and width, such as 128x192")
    height, width = match.groups()
    return int(height), int(width or height)


def _task(settings: Settings, kept: Preprocessing | None) -> tuple[Task, Any]:
    """The task that is given, that which the run has kept, or that of the run's data with these."""
    task = settings.make("task")
    if task is not None or kept is not None:
        return task if kept is None or task is not None else kept.task, None
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
