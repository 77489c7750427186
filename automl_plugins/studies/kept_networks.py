"""Trained networks from a run's folder, in their modules, to predict with."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from automl_plugins import registry
from automl_plugins.errors import FormatError
from automl_plugins.objectives.contender import Contender
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.trained import Networks, home_of, weights_of
from automl_plugins.system.to_be_loaded import to_be_loaded
from automl_plugins.training.ensemble import Ensemble
from automl_plugins.training.fit import ModuleFactory
from automl_plugins.training.lightning import pl
from automl_plugins.training.lightning_checkpoint import first_not_finite
from automl_plugins.training.prediction import Predictor, is_called_by_its_own
from automl_plugins.training.preprocessing import Preprocessing
from automl_plugins.training.registered_module import RegisteredModule
from automl_plugins.training.surroundings import carry_over


@dataclass(frozen=True)
class KeptNetworks:
    """The trained networks of a run's winner, and of its ensemble where it has one.

    Args:
        run: the folder that they are in.
        contender: the winner.
        space: of architectures.
        make: makes the module around a network.
        preprocessing: of the run.
        data: the datamodule, which has been set up, for hand-made networks that ask for it.
    """

    run: RunFolder
    contender: Contender
    space: SearchSpace
    make: ModuleFactory
    preprocessing: Preprocessing
    data: Any = None

    def module(self, weights: Path | None = None) -> pl.LightningModule:
        """The LightningModule around the winner's network, with all of its weights, in training mode as a new one.

        Args:
            weights: a checkpoint of it; that of the best seed where left out.

        Raises:
            ValueError: the checkpoint cannot be read, is another network's, or holds a weight that is not finite.
        """
        return self._loaded(self.contender, weights or weights_of(self.run, "best")[0])[0]

    def network(self) -> nn.Module:
        """The winner's network of the best seed, as its module calls it; see `module`."""
        return self._loaded(self.contender, weights_of(self.run, "best")[0])[1]

    def predictor(self, networks: Networks = "all", weights: Sequence[Path] = ()) -> Predictor:
        """The predictor with the networks that the run has kept.

        Args:
            networks: the winner's of all final seeds, the best seed's, or the members of the ensemble.
            weights: checkpoints in place of the run's.

        Raises:
            FileNotFoundError: the run has none.
            ValueError: a file cannot be read, or holds something else.
        """
        paths = list(weights) or weights_of(self.run, networks)
        if networks == "ensemble" and not weights:
            return Predictor(self._members(paths[0]), self.preprocessing.task)
        loaded = [self._loaded(self.contender, path) for path in paths]
        return Predictor([self._predicting(*each) for each in loaded], self.preprocessing.task)

    def _members(self, path: Path) -> list[pl.LightningModule]:
        """A module around each member of the ensemble."""
        members = members_of(home_of(self.run).ensemble)
        whole, ensemble = self._loaded(Contender("ensemble", members=tuple(members)), path)
        modules = []
        for network in ensemble.members if isinstance(ensemble, Ensemble) else ():
            module = self.make(network, self.preprocessing.task)
            carry_over(whole, ensemble, module, network)
            modules.append(self._predicting(module, network))
        return modules

    def _loaded(self, contender: Contender, path: Path) -> tuple[pl.LightningModule, nn.Module]:
        """A contender's module with the weights of a checkpoint, and its network."""
        task = self.preprocessing.task
        with to_be_loaded():
            network = contender.network(self.space, task, self.data)
            module = self.make(network, task)
        with naming(path, "has no weights of this network"):
            module.load_state_dict(torch.load(path, weights_only=True, map_location="cpu")["state_dict"])
        if (broken := first_not_finite(module)) is not None:
            raise ValueError(f"{path}: the weight {broken!r} is not finite, so the network computes nothing")
        return module, network

    def _predicting(self, module: pl.LightningModule, network: nn.Module) -> pl.LightningModule:
        """The module, or one of ours around its network where it does not say what it predicts."""
        return module if is_called_by_its_own(module) else RegisteredModule()(network, self.preprocessing.task)


def members_of(ensemble: RunFolder) -> list[Contender]:
    """The members of the ensemble that a study has kept in a folder; no module is imported that their file names.

    Raises:
        ValueError: the file is damaged, or a member is a network that is neither registered nor imported.
    """
    with naming(ensemble.members, "cannot be read"):
        return [_member(each) for each in json.loads(ensemble.members.read_text("utf-8"))["members"]]


def _member(told: dict[str, Any]) -> Contender:
    label, architecture = str(told["label"]), told["architecture"]
    if architecture is not None:
        return Contender(label, Architecture.from_json(json.dumps(architecture)))
    return safe_reference(str(told["reference"]), label)


def safe_reference(name: str, label: str) -> Contender:
    """A hand-made network by its registered name, or by the path of a class that has been imported.

    Raises:
        ValueError: it is neither.
    """
    if name in registry.names("references"):
        return Contender(label, reference=name)
    module, _, attribute = name.rpartition(".")
    make = getattr(sys.modules.get(module), attribute, None)
    if not inspect.isclass(make) or not issubclass(make, nn.Module):
        raise ValueError(f"the hand-made network {name!r} is not registered, and has not been imported as a class")
    return Contender(label, reference=name, make=make)


@contextmanager
def naming(path: Path, what: str) -> Iterator[None]:
    """Name the file where its content is not what a run keeps: somebody has changed it, or half of it is there.

    Raises:
        ValueError: it is not.
    """
    try:
        yield
    except FormatError:
        raise
    except Exception as error:
        reason = "; ".join(f"{type(error).__name__}: {error}".splitlines()[:1])
        raise ValueError(f"{path} {what} ({reason})") from error
