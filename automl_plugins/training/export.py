"""Networks as files for other runtimes: torch.export and ONNX, compared with the module before they are kept."""

from __future__ import annotations

import importlib.util
import io
import warnings
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


def export_network(network: nn.Module, images: Tensor, path: Path, format: Format) -> float:
    """Write a network in evaluation mode, for batches of any number of images of one size.

    The file is read again and run on the images and on a batch of another size; it is kept only if it agrees
    with the module.

    Args:
        network: an image in, one tensor out; what it is trained for does not matter.
        images: `[batch, in_channels, height, width]`; fixes the number of channels, the height and the width.
        path: the file to write, `.pt2` by custom for `torch` (`torch.export.load` reads it) and `.onnx` for `onnx`.
        format: `torch` or `onnx`; the latter needs the packages of `automl-plugins[onnx]`.

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
    # A batch of one would be taken for a constant.
    batches = [
        images[:1].expand(_BATCH, -1, -1, -1).contiguous(),
        torch.cat([images, images.flip(-1), images.flip(-2)]),
    ]
    training = network.training
    network.eval()
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), torch.no_grad():
            # What torch's exporters say of their own parts.
            warnings.simplefilter("ignore")
            expected = [network(batch) for batch in batches]
            program = torch.export.export(network, (batches[0],), dynamic_shapes=({0: torch.export.Dim("batch")},))
            found = (_torch if format == "torch" else _onnx)(program, path, batches)
    finally:
        network.train(training)
    scale = max(1e-30, max(float(each.abs().max()) for each in expected))
    difference = max(float((one - other).abs().max()) for one, other in zip(expected, found, strict=True)) / scale
    if not difference <= TOLERANCE:
        path.unlink()
        raise RuntimeError(f"the exported network differs from the module by {difference:.1e} of its largest output")
    return difference


def _torch(program: torch.export.ExportedProgram, path: Path, batches: list[Tensor]) -> list[Tensor]:
    torch.export.save(program, path)
    module = torch.export.load(path).module()
    return [module(batch) for batch in batches]


def _onnx(program: torch.export.ExportedProgram, path: Path, batches: list[Tensor]) -> list[Tensor]:
    import onnxruntime

    torch.onnx.export(
        program,
        (),
        path,
        dynamo=True,
        external_data=False,
        verbose=False,
        input_names=["images"],
        output_names=["outputs"],
    )
    session: Any = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return [torch.from_numpy(session.run(None, {"images": batch.cpu().numpy()})[0]).to(batch) for batch in batches]
