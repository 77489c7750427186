"""A network as one file of ordinary Python with its weights beside it, compared with the network before it is kept."""

from __future__ import annotations

import ast
import copy
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from automl_plugins.spaces.plain_source import PlainSource
from automl_plugins.spaces.source_text import call
from automl_plugins.training.units import Units

TOLERANCE = 1e-10
"""The largest difference of a file from the network in float64, in parts of the largest output."""

_IMPORTS = """
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
"""
_LOAD = '''
def load(weights: Path | str | None = None) -> {name}:
    """The network in evaluation mode, with the weights of a file; where left out, of the one beside this file."""
    network = {name}()
    network.load_state_dict(load_file(weights or Path(__file__).with_suffix(".safetensors")))
    return network.eval()
'''
_PREDICTOR = '''
class Predictor(nn.Module):
    """{docstring}."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Network()
{buffers}

{signature}
{body}
'''


def write_plain(
    network: nn.Module,
    source: PlainSource,
    inputs: Sequence[tuple[Any, ...]],
    path: Path,
    title: str,
    units: Units | None = None,
) -> float:
    """Write a network as `path` and its weights beside it, if the file computes what the network does.

    Args:
        network: with the weights.
        source: of the network.
        inputs: of the network, those of several calls, on which both are compared, in float64.
        path: of the file, which ends in `.py`; the weights end in `.safetensors`.
        title: the first line of the file's docstring.
        units: of images and targets.

    Returns:
        The largest difference from the network's outputs, in parts of the largest of them.

    Raises:
        RuntimeError: the file computes something else, or cannot be run; nothing is kept.
    """
    units = units or Units()
    prefix = "network." if units.buffers else ""
    weights = {prefix + name: value for name, value in source.weights(network.state_dict()).items()} | units.buffers
    path.write_text(plain_file(source, title, units), encoding="utf-8")
    save_file({name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}, _beside(path))
    try:
        difference = _difference(network, load_plain(path), inputs, units)
        if not difference <= TOLERANCE:
            raise RuntimeError(f"the file's network differs from the module by {difference:.1e} of its largest output")
    except Exception as error:
        path.unlink()
        _beside(path).unlink()
        if isinstance(error, RuntimeError):
            raise
        raise RuntimeError(f"the file's network cannot be run: {type(error).__name__}: {error}") from error
    return difference


def plain_file(source: PlainSource, title: str, units: Units | None = None) -> str:
    """The text of a file that builds a network and loads its weights from the `.safetensors` beside it.

    Args:
        source: of the network.
        title: the first line of its docstring.
        units: of images and targets; the file then has a `Predictor` around the `Network`.
    """
    buffers = {} if units is None else units.buffers
    texts = [source.network.strip()]
    if buffers:
        texts.append(_predictor(texts[0], buffers))
    texts.append(_LOAD.format(name="Predictor" if buffers else "Network").strip())
    parts = _Parts(source.parts)
    copied = parts.used_by(texts)
    docstring = f'"""{title}"""'
    return "\n\n\n".join([f"{docstring}\n\n{parts.imports_of([*copied, *texts])}", *copied, *texts]) + "\n"


def load_plain(path: Path) -> nn.Module:
    """The network of a file that `write_plain` has written, with its weights; the file's code is run."""
    spec = importlib.util.spec_from_file_location(f"_plain_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no file of Python")
    module, writes = importlib.util.module_from_spec(spec), sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # nothing beside what was asked for
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = writes
    network: nn.Module = module.load()
    return network


def _beside(path: Path) -> Path:
    return path.with_suffix(".safetensors")


def _difference(network: nn.Module, other: nn.Module, inputs: Sequence[tuple[Any, ...]], units: Units) -> float:
    ours, theirs, units = copy.deepcopy(network).cpu().double().eval(), other.double(), units.double()
    largest, difference = 1e-30, 0.0
    with torch.no_grad():
        for given in inputs:
            first, *rest = (_double(each) for each in given)
            expected = units.restored(ours(units.normalised(first), *rest))
            found = theirs(**plain_arguments(ours, theirs, (first, *rest)))
            largest = max(largest, float(expected.abs().max()))
            difference = max(difference, float((expected - found).abs().max()))
    return difference / largest


def plain_arguments(network: nn.Module, other: nn.Module, inputs: Sequence[Any]) -> dict[str, Any]:
    """The arguments, by name, of the network of a file: those of the same names of the network that it was made of.

    Args:
        network: that it was made of.
        other: the file's.
        inputs: of the former, in order.
    """
    names = list(inspect.signature(network.forward).parameters)
    taken = inspect.signature(other.forward).parameters
    return {name: value for name, value in zip(names, inputs, strict=False) if name in taken}


def _double(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def _predictor(network: str, buffers: Mapping[str, Tensor]) -> str:
    """The text of the class that has the units of images and targets around a network."""
    (made,) = (each for each in ast.parse(network).body if isinstance(each, ast.ClassDef) and each.name == "Network")
    forward = next(each for each in made.body if isinstance(each, ast.FunctionDef) and each.name == "forward")
    parameters = [each.replace("=", " = ") for each in ast.unparse(forward.args).split(", ")]
    names = [each.arg for each in forward.args.args[1:]]
    has = {kind for kind in ("image", "target") if f"{kind}_mean" in buffers}
    outputs = f"self.network({', '.join(names)})"
    lines = [f"{names[0]} = ({names[0]} - self.image_mean) / self.image_deviation"] if "image" in has else []
    lines.append(f"return {outputs} * self.target_scale + self.target_mean" if "target" in has else f"return {outputs}")
    told = {"image": "takes images in the units of their files", "target": "gives values in the targets' units"}
    shapes = {name: "".join(f"{size}, " for size in value.shape).rstrip(", ") for name, value in buffers.items()}
    return _PREDICTOR.format(
        docstring=f"The network, which {' and '.join(told[kind] for kind in told if kind in has)}",
        buffers="\n".join(
            f"        self.register_buffer({name!r}, torch.zeros({shape}))".replace("'", '"')
            for name, shape in shapes.items()
        ),
        signature=call("def forward(", parameters, ") -> Tensor:", 4),
        body="\n".join(f"        {line}" for line in lines),
    ).strip()


class _Parts:
    """The classes, functions and constants of modules, as source.

    Args:
        modules: those that others use first.
    """

    def __init__(self, modules: Sequence[ModuleType]) -> None:
        self._texts: dict[str, str] = {}
        self._imports = list(ast.parse(_IMPORTS).body)
        for module in modules:
            text = inspect.getsource(module)
            for node in ast.parse(text).body:
                if isinstance(node, ast.ClassDef | ast.FunctionDef):
                    self._texts[node.name] = ast.get_source_segment(text, node) or ""
                elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    self._texts[node.targets[0].id] = ast.get_source_segment(text, node) or ""
                elif isinstance(node, ast.Import | ast.ImportFrom):
                    self._imports.append(node)

    def used_by(self, texts: Sequence[str]) -> list[str]:
        """The source of all that some texts use, and of what that uses, in the order of the modules."""
        used, left = set[str](), _names(texts)
        while left:
            name = left.pop()
            if name in self._texts and name not in used:
                used.add(name)
                left |= _names([self._texts[name]])
        return [text for name, text in self._texts.items() if name in used]

    def imports_of(self, texts: Sequence[str]) -> str:
        """The statements that import what some texts use, sorted."""
        used = _names(texts)
        plain, members = set[str](), dict[str, set[str]]()
        for node in self._imports:
            for alias in node.names:  # type: ignore[attr-defined]
                name = alias.asname or alias.name.partition(".")[0]
                if name not in used or name in self._texts:
                    continue
                told = f"{alias.name} as {alias.asname}" if alias.asname else alias.name
                if isinstance(node, ast.ImportFrom):
                    members.setdefault(node.module or "", set()).add(told)
                else:
                    plain.add(told)
        groups: dict[bool, list[str]] = {True: [], False: []}
        for told in sorted(plain):
            groups[_is_standard(told)].append(f"import {told}")
        for module, names in sorted(members.items()):
            groups[_is_standard(module)].append(f"from {module} import {', '.join(sorted(names))}")
        return "\n\n".join("\n".join(lines) for lines in groups.values() if lines)


def _is_standard(module: str) -> bool:
    return module.split()[0].partition(".")[0] in sys.stdlib_module_names


def _names(texts: Iterable[str]) -> set[str]:
    """The names that are read in texts."""
    return {node.id for text in texts for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
