"""Networks as files for other runtimes: torch.export and ONNX, compared with the module before they are kept."""

from __future__ import annotations

import importlib.util
import io
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

Format = Literal["torch", "onnx"]
FORMATS: tuple[Format, ...] = get_args(Format)
TOLERANCE = 1e-5
"""The largest difference from the module, in parts of the largest output."""

_BATCH = 2


def export_network(network: nn.Module, inputs: Tensor, path: Path, format: Format, name: str = "inputs") -> float:
    """Write a network in evaluation mode, for batches of any number of inputs of one size.

    The file is read again and run on the inputs and on a batch of another size; it is kept only if it agrees
    with the module.

    Args:
        network: one tensor in, one tensor out; what it is trained for does not matter.
        inputs: `[batch, ...]` with two dimensions or more behind the batch's; they fix all sizes but the batch's.
        path: the file to write, `.pt2` by custom for `torch` (`torch.export.load` reads it) and `.onnx` for `onnx`.
        format: `torch` or `onnx`; the latter needs the packages of `automl-plugins[onnx]`.
        name: of the input in an ONNX file; a space has one for its networks (`SearchSpace.exported_input`).

    Returns:
        The largest difference from the module's outputs, in parts of the largest of them.

    Raises:
        ValueError: an unknown format.
        ImportError: a package is missing.
        RuntimeError: torch cannot export the network, or the file computes something else.
    """
    # A batch of one would be taken for a constant.
    batches = [
        torch.cat([inputs[:1]] * _BATCH),
        torch.cat([inputs, inputs.flip(-1), inputs.flip(-2)]),
    ]
    return export_calls(network, [(batch,) for batch in batches], path, format, (name,))


def export_calls(
    network: nn.Module, calls: Sequence[tuple[Tensor, ...]], path: Path, format: Format, names: Sequence[str]
) -> float:
    """Write a network in evaluation mode, for inputs of all sizes that differ between two of its calls.

    The file is read again and run on the inputs of all calls; it is kept only if it agrees with the module.

    Args:
        network: tensors in, one tensor out.
        calls: the inputs of two calls at least; a size that differs in them may be any.
        path: see `export_network`.
        format: `torch` or `onnx`.
        names: of the inputs in an ONNX file; the output is `outputs`.

    Returns:
        The largest difference from the module's outputs, in parts of the largest of them.

    Raises:
        ValueError: an unknown format.
        ImportError: a package is missing.
        RuntimeError: torch cannot export the network, or the file computes something else.
    """
    if format not in FORMATS:
        raise ValueError(f"format is one of {', '.join(FORMATS)}; got {format!r}")
    if format == "onnx":
        missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if importlib.util.find_spec(name) is None]
        if missing:
            raise ImportError(f"ONNX needs {', '.join(missing)}: pip install 'automl-plugins[onnx]'")
    shapes = tuple(_differing(one, other) for one, other in zip(*calls[:2], strict=True))
    training = network.training
    network.eval()
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), torch.no_grad():
            # What torch's exporters say of their own parts.
            warnings.simplefilter("ignore")
            expected = [network(*call) for call in calls]
            program = torch.export.export(network, calls[0], dynamic_shapes=shapes)
            found = _torch(program, path, calls) if format == "torch" else _onnx(program, path, calls, names)
    except Exception as error:  # torch's exporters raise nearly anything for what they do not know
        path.unlink(missing_ok=True)
        reasons = [line for line in str(error).splitlines() if "No ONNX function found" in line or "Could not" in line]
        told = (reasons or str(error).splitlines() or [type(error).__name__])[0].rpartition("DispatchError'>: ")[2]
        raise RuntimeError(f"torch cannot export this network as {format}: {told[:200]}") from error
    finally:
        network.train(training)
    scale = max(1e-30, max(float(each.abs().max()) for each in expected))
    difference = max(float((one - other).abs().max()) for one, other in zip(expected, found, strict=True)) / scale
    if not difference <= TOLERANCE:
        path.unlink()
        raise RuntimeError(f"the exported network differs from the module by {difference:.1e} of its largest output")
    return difference


def _differing(one: Tensor, other: Tensor) -> dict[int, Any]:
    """The dimensions in which two tensors differ, which an exported network takes of any size."""
    sizes = enumerate(zip(one.shape, other.shape, strict=True))
    return {dimension: torch.export.Dim.AUTO for dimension, (size, another) in sizes if size != another}


def _torch(program: torch.export.ExportedProgram, path: Path, calls: Sequence[tuple[Tensor, ...]]) -> list[Tensor]:
    torch.export.save(program, path)
    module = torch.export.load(path).module()
    return [module(*call) for call in calls]


def _onnx(
    program: torch.export.ExportedProgram, path: Path, calls: Sequence[tuple[Tensor, ...]], names: Sequence[str]
) -> list[Tensor]:
    import onnxruntime

    torch.onnx.export(
        program,
        (),
        path,
        dynamo=True,
        external_data=False,
        verbose=False,
        input_names=list(names),
        output_names=["outputs"],
    )
    session: Any = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    read = {each.name for each in session.get_inputs()}
    found = []
    for call in calls:
        given = {name: value.cpu().numpy() for name, value in zip(names, call, strict=True) if name in read}
        found.append(torch.from_numpy(session.run(None, given)[0]).to(call[0].device))
    return found
