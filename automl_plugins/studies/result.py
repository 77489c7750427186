"""The result of a run, from its folder, for a script that goes on from there."""

from __future__ import annotations

import inspect
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
import yaml
from torch import nn

from automl_plugins import registry
from automl_plugins.errors import FormatError
from automl_plugins.objectives.contender import Contender
from automl_plugins.report.search import SearchSummary
from automl_plugins.report.summary import Summary
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Task
from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.winner import read_settings
from automl_plugins.system.finite import finite
from automl_plugins.system.to_be_loaded import to_be_loaded
from automl_plugins.training.description import import_path
from automl_plugins.training.ensemble import Ensemble

_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Result:
    """The best architecture that a study or a search has found.

    Args:
        folder: where its files are: the run's folder, or `found` in it where a hand-made network won the study.
        architecture: the best that was found.
        settings: the training settings that were tuned for it, by name, such as `module.learning_rate`; empty where
            none were.
        space: that it is of.
        scores: means over the seeds of its final trainings: the monitored metric of validation, and what the tests
            log. A search by gradients trains no network of its own, so it has none.
        summary: the whole table of a study, or what a search took; None where the run has not ended.
        winner: what the study's table calls its winner, which may be a hand-made network; None after a search.
        run: the run's own folder.
    """

    folder: Path
    architecture: Architecture
    space: SearchSpace
    scores: Mapping[str, float]
    summary: Summary | SearchSummary | None = None
    winner: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    run: Path | None = None

    def network(self, task: Task) -> nn.Module:
        """The architecture's network, with its trained weights where the run has kept them.

        Args:
            task: that it was trained on; the datamodule's `task`.

        Raises:
            ValueError: the weights cannot be read, are another network's, or are not finite.
        """
        weights = RunFolder(self.folder).network
        with to_be_loaded() if weights.exists() else nullcontext():
            network = self.space.network(self.architecture, task)
        if weights.exists():
            _load(network, weights)
        return network

    def ensemble(self, task: Task, data: Any = None) -> nn.Module:
        """The ensemble that a study with `ensemble` has kept, with its trained weights.

        Args:
            task: that it was trained on.
            data: the datamodule, for hand-made members that ask for it.

        Raises:
            FileNotFoundError: the run has none.
            ValueError: a file of it cannot be read, or a member is a network that is neither registered nor imported.
        """
        run = RunFolder(self.run or self.folder).ensemble
        if not run.members.is_file():
            raise FileNotFoundError(f"{run.members}: there is no such file; the study was not asked for an ensemble")
        members = _read(run.members, lambda text: [_member(each) for each in json.loads(text)["members"]])
        with to_be_loaded():
            networks = [each.network(self.space, task, data) for each in members]
        ensemble = Ensemble(networks, task.target)
        _load(ensemble, run.network)
        return ensemble


def load_result(folder: Path | str, space: SearchSpace | None = None) -> Result:
    """The result of the run in a folder: `load_result("runs/cora").architecture`.

    No code is run that the folder names: the space is a registered one, or one whose class has been imported.

    Args:
        folder: of a study, or of a search.
        space: that was searched; from the run's config.yaml where left out.

    Raises:
        FileNotFoundError: nothing has been found in the folder, or not yet.
        ValueError: the space cannot be made from the config, or is another one than the architecture's; or a file of
            the folder cannot be read.
        FormatError: another version wrote the folder.
    """
    run = RunFolder(Path(folder))
    found = run if run.architecture.is_file() else run.found
    if not found.architecture.is_file():
        raise FileNotFoundError(f"{run.path}: there is no {run.architecture.name}, so no architecture was found (yet)")
    architecture = _read(found.architecture, Architecture.from_json)
    made = space or _space_of(run, architecture)
    try:
        made.validate(architecture)
    except ValueError as error:
        raise ValueError(
            f"{found.architecture} is no architecture of the space {made.name!r} as it was made ({error}); "
            f"give the one that was searched: load_result({str(run.path)!r}, space=...)"
        ) from error
    with _naming(found.settings, "cannot be read"):
        settings = read_settings(found)
    if run.summary.is_file():
        summary = _read(run.summary, Summary.from_json)
        with _naming(run.summary, "is no summary of a study"):
            scores = _scores(run, summary, architecture, settings)
        return Result(found.path, architecture, made, scores, summary, summary.winner, settings, run.path)
    search = _read(run.search, SearchSummary.from_json) if run.search.is_file() else None
    return Result(found.path, architecture, made, {}, search)


def _load(network: nn.Module, weights: Path) -> None:
    """Give a network the weights in a file, from which nothing is unpickled.

    Raises:
        ValueError: they cannot be read, are another network's, or are not finite.
    """
    with _naming(weights, "has no weights of this network"):
        network.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
    for name, weight in network.named_parameters():
        if not weight.isfinite().all():
            raise ValueError(f"{weights}: the weight {name!r} is not finite, so the network computes nothing")


def _member(told: Mapping[str, Any]) -> Contender:
    """A member of an ensemble as its file tells of it; no module is imported that the file names."""
    label, architecture = str(told["label"]), told["architecture"]
    if architecture is not None:
        return Contender(label, Architecture.from_json(json.dumps(architecture)))
    name = str(told["reference"])
    if name in registry.names("references"):
        return Contender(label, reference=name)
    module, _, attribute = name.rpartition(".")
    make = getattr(sys.modules.get(module), attribute, None)
    if not inspect.isclass(make) or not issubclass(make, nn.Module):
        raise ValueError(f"the hand-made network {name!r} is not registered, and has not been imported as a class")
    return Contender(label, reference=name, make=make)


@contextmanager
def _naming(path: Path, what: str) -> Iterator[None]:
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


def _read(path: Path, read: Callable[[str], _Read]) -> _Read:
    with _naming(path, "cannot be read"):
        return read(path.read_text("utf-8"))


def _scores(
    run: RunFolder, summary: Summary, architecture: Architecture, settings: Mapping[str, Any]
) -> dict[str, float]:
    for row in summary.rows:
        kept = run.path / row.folder / run.architecture.name
        if row.settings != settings or not row.folder or not kept.is_file():
            continue
        if _read(kept, Architecture.from_json) == architecture:
            means = {summary.monitor: row.validation_mean, **{name: mean for name, (mean, _) in row.test.items()}}
            defined = {name: finite(mean) for name, mean in means.items()}
            return {name: math.nan if mean is None else mean for name, mean in defined.items()}
    return {}


def _space_of(run: RunFolder, architecture: Architecture) -> SearchSpace:
    """The space that a run's config names; without a config, the registered one of the architecture's name."""
    setting: Any = None
    if run.config.is_file():
        with _naming(run.config, "cannot be read"):
            setting = (yaml.safe_load(run.config.read_text("utf-8")) or {}).get("space")
    setting = setting or architecture.space
    path = setting.get("class_path") if isinstance(setting, Mapping) else setting
    arguments = setting.get("init_args") or {} if isinstance(setting, Mapping) else {}
    cure = f"give it: load_result({str(run.path)!r}, space=...)"
    if "class_path" in json.dumps(arguments):
        raise ValueError(f"the space in {run.config} is made of other objects; {cure}")
    cls = _space_class(str(path))
    if cls is None:
        raise ValueError(f"the space {path} in {run.config} is not registered, and has not been imported; {cure}")
    try:
        space: SearchSpace = cls(**arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the space {path} in {run.config} cannot be made ({error}); {cure}") from error
    return space


def _space_class(path: str) -> type[SearchSpace] | None:
    """The class of a registered name or an import path; nothing is imported but what is registered."""
    if path in registry.names("spaces"):
        return _checked(registry.load("spaces", path))
    module, _, name = path.rpartition(".")
    for registered in registry.names("spaces"):
        package = registry.where("spaces", registered).partition(":")[0].partition(".")[0]
        if package == path.partition(".")[0]:
            cls = registry.load("spaces", registered)
            if path in (import_path(cls), registry.where("spaces", registered).replace(":", ".")):
                return _checked(cls)
    return _checked(getattr(sys.modules.get(module), name, None))


def _checked(cls: Any) -> type[SearchSpace] | None:
    return cls if isinstance(cls, type) and issubclass(cls, SearchSpace) else None
