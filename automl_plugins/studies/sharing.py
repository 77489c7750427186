"""Parameter sharing: a trial starts from weights that earlier trials have trained."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.system.files import save_whole
from automl_plugins.system.waiting import patient_lock

Layers = Mapping[str, Mapping[str, Tensor]]
"""The weights of layers: what else than shapes must agree for a layer to inherit -> name -> tensor."""

ENOUGH = 0.5
"""A trial that inherits less than this share of its numbers trains as long as one without sharing: what nobody has
trained yet has nothing to warm up from, and nothing to hand on."""


@runtime_checkable
class SharesWeights(Protocol):
    """A space that says which weights of its networks may be inherited."""

    def shared_weights(self, network: nn.Module, architecture: Architecture) -> Layers:
        """The weights of the layers of an architecture's network.

        A layer inherits from a layer of an earlier trial that has the same key, and tensors of the same names, shapes
        and types. Parts that must never be inherited (normalisation, skip connections) are left out.

        Args:
            network: of the architecture, as `SearchSpace.network` makes it.
            architecture: of this space.

        Returns:
            The network's own tensors, which are written to: `state_dict()` of a layer has them.
        """
        ...


class WeightPool:
    """The newest trained weights of each layer, as files that the workers of a study share.

    Constrained parameter sharing of AGNN (Zhou et al., Frontiers in Big Data 2022): only homogeneous layers share,
    see `SharesWeights`. Newest is the trial with the highest number. A trial's weights count once the
    trial is complete in the storage, so a worker that is killed between the two leaves nothing half done: what is
    inherited is settled by the trials alone, and a study that goes on inherits what it would have inherited.

    The files are written whole, under a lock that the kernel releases, and read without unpickling. Whenever a
    trial inherits, superseded weights are removed, and then the oldest above `max_mib`; in between, each
    worker adds what one trial has.

    Args:
        folder: where the files are; made where it is missing.
        max_mib: how much the files may take.

    Raises:
        ValueError: `max_mib` is below 1.
    """

    def __init__(self, folder: Path, max_mib: int = 1024) -> None:
        if max_mib < 1:
            raise ValueError(f"max_mib is at least 1; got {max_mib}")
        self.folder = Path(folder)
        self.max_mib = max_mib

    def inherit(self, layers: Layers, complete: Collection[int]) -> float:
        """Write the newest trained weights into the layers that there are any for.

        Args:
            layers: of a freshly initialised network, see `SharesWeights.shared_weights`.
            complete: the numbers of the trials that have ended with a value.

        Returns:
            The share of the layers' numbers that were inherited, from 0 to 1.
        """
        inherited = 0
        with self._locked():
            newest = self._clean(complete)
            for key, weights in layers.items():
                path = newest.get(_digest(key, weights))
                if path is None:
                    continue
                try:
                    trained: dict[str, Tensor] = torch.load(path, weights_only=True, map_location="cpu")
                except (OSError, EOFError, RuntimeError, pickle.UnpicklingError):
                    path.unlink(missing_ok=True)  # a power cut has spoilt it: nobody inherits from it
                    continue
                with torch.no_grad():
                    for name, tensor in weights.items():
                        tensor.copy_(trained[name])
                        inherited += tensor.numel()
        return inherited / max(1, sum(tensor.numel() for each in layers.values() for tensor in each.values()))

    def keep(self, layers: Layers, number: int) -> None:
        """Keep the weights that a trial has trained; they count once the trial is complete.

        Args:
            layers: of its network.
            number: the trial's.
        """
        with self._locked():
            for key, weights in layers.items():
                if not weights:
                    continue
                copies = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
                save_whole(self.folder / f"{_digest(key, weights)}-{number}.pt", copies)

    def _locked(self) -> AbstractContextManager[None]:
        return patient_lock(self.folder / "pool.lock", "reads or writes the weights that trials share")

    def _clean(self, complete: Collection[int]) -> dict[str, Path]:
        """Remove what no trial will inherit; the newest file of each layer, by its digest."""
        for leftover in self.folder.glob("*.part"):
            leftover.unlink()
        numbers = {path: int(path.stem.partition("-")[2]) for path in self.folder.glob("*.pt")}
        newest: dict[str, Path] = {}
        for path in sorted(numbers, key=lambda path: numbers[path]):
            if numbers[path] in complete:
                newest[path.stem.partition("-")[0]] = path
        for path in list(numbers):
            kept = newest.get(path.stem.partition("-")[0])
            # Those with a higher number may belong to trials that end just now.
            if kept is not None and numbers[path] < numbers[kept]:
                path.unlink()
                del numbers[path]
        sizes = {path: path.stat().st_size for path in numbers}
        excess = sum(sizes.values()) - self.max_mib * 2**20
        for path in sorted(numbers, key=lambda path: (numbers[path], path.name)):
            if excess <= 0:
                break
            path.unlink()
            excess -= sizes[path]
        return {digest: path for digest, path in newest.items() if path.exists()}


def _digest(key: str, weights: Mapping[str, Tensor]) -> str:
    about = [key, sorted((name, list(tensor.shape), str(tensor.dtype)) for name, tensor in weights.items())]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]
