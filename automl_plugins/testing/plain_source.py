"""The promise of a plain source: it computes what the network does, where neither of them can be imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from automl_plugins.spaces.plain_source import HasPlainSource
from automl_plugins.training.plain_file import load_plain, plain_arguments, write_plain

_ALONE = """
import importlib.abc, importlib.util, sys
import torch

folder, *refused = sys.argv[1:]

class Refusal(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ImportError(f"{name} is refused here")

sys.meta_path.insert(0, Refusal())
outputs = {}
for name, calls in torch.load(f"{folder}/inputs.pt", weights_only=True).items():
    spec = importlib.util.spec_from_file_location(name, f"{folder}/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with torch.no_grad():
        outputs[name] = [module.load()(**call) for call in calls]
torch.save(outputs, f"{folder}/outputs.pt")
"""


def assert_stands_alone(cases: Sequence[tuple[nn.Module, Sequence[tuple[Any, ...]]]], folder: Path) -> None:
    """Hold that files of networks compute what these do where neither this package nor theirs can be imported.

    Args:
        cases: networks that have a plain source, in evaluation mode, each with the inputs of several calls.
        folder: an empty one, for the files.
    """
    calls, expected = {}, {}
    for number, (network, inputs) in enumerate(cases):
        assert isinstance(network, HasPlainSource)
        name = f"network{number}"
        write_plain(network, network.plain_source(), inputs, folder / f"{name}.py", "A network.")
        other = load_plain(folder / f"{name}.py")
        calls[name] = [plain_arguments(network, other, each) for each in inputs]
        with torch.no_grad():
            expected[name] = [network(*each) for each in inputs]
    torch.save(calls, folder / "inputs.pt")
    refused = {"automl_plugins", *(type(network).__module__.partition(".")[0] for network, _ in cases)}
    command = [sys.executable, "-I", "-W", "ignore", "-c", _ALONE, str(folder), *sorted(refused)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)  # noqa: S603 - our own script
    assert done.returncode == 0, done.stderr
    outputs = torch.load(folder / "outputs.pt", weights_only=True)
    for name, several in expected.items():
        for found, wanted in zip(outputs[name], several, strict=True):
            scale = float(wanted.abs().max()) if wanted.numel() else 1.0
            # Sums in another order; `write_plain` has compared both in float64.
            torch.testing.assert_close(found, wanted, rtol=0.0, atol=2e-6 * max(scale, 1.0))
