"""The result of a run, from its folder, for a script that goes on from there."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from automl_plugins import registry
from automl_plugins.report.search import SearchSummary
from automl_plugins.report.summary import Summary
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Task
from automl_plugins.studies.folder import RunFolder
from automl_plugins.system.to_be_loaded import to_be_loaded
from automl_plugins.training.description import import_path


@dataclass(frozen=True)
class Result:
    """The best architecture that a study or a search has found.

    Args:
        folder: where its files are: the run's folder, or `found` in it where a hand-made network won the study.
        architecture: the best that was found.
        space: that it is of.
        scores: means over the seeds of its final trainings: the monitored metric of validation, and what the tests
            log. A search by gradients trains no network of its own, so it has none.
        summary: the whole table of a study, or what a search took; None where the run has not ended.
        winner: what the study's table calls its winner, which may be a hand-made network; None after a search.
    """

    folder: Path
    architecture: Architecture
    space: SearchSpace
    scores: Mapping[str, float]
    summary: Summary | SearchSummary | None = None
    winner: str | None = None

    def network(self, task: Task) -> nn.Module:
        """The architecture's network, with its trained weights where the run has kept them.

        Args:
            task: that it was trained on; the datamodule's `task`.
        """
        weights = RunFolder(self.folder).network
        with to_be_loaded() if weights.exists() else nullcontext():
            network = self.space.network(self.architecture, task)
        if weights.exists():
            network.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
        return network


def load_result(folder: Path | str, space: SearchSpace | None = None) -> Result:
    """The result of the run in a folder: `load_result("runs/cora").architecture`.

    No code is run that the folder names: the space is a registered one, or one whose class has been imported.

    Args:
        folder: of a study, or of a search.
        space: that was searched; from the run's config.yaml where left out.

    Raises:
        FileNotFoundError: nothing has been found in the folder, or not yet.
        ValueError: the space cannot be made from the config, or is another one than the architecture's.
        FormatError: another version wrote the folder.
    """
    run = RunFolder(Path(folder))
    found = run if run.architecture.is_file() else run.found
    if not found.architecture.is_file():
        raise FileNotFoundError(f"{run.path}: there is no {run.architecture.name}, so no architecture was found (yet)")
    architecture = Architecture.from_json(found.architecture.read_text("utf-8"))
    made = space or _space_of(run, architecture)
    try:
        made.validate(architecture)
    except ValueError as error:
        raise ValueError(
            f"{found.architecture} is no architecture of the space {made.name!r} as it was made ({error}); "
            f"give the one that was searched: load_result({str(run.path)!r}, space=...)"
        ) from error
    if run.summary.is_file():
        summary = Summary.from_json(run.summary.read_text("utf-8"))
        return Result(found.path, architecture, made, _scores(run, summary, architecture), summary, summary.winner)
    search = SearchSummary.from_json(run.search.read_text("utf-8")) if run.search.is_file() else None
    return Result(found.path, architecture, made, {}, search)


def _scores(run: RunFolder, summary: Summary, architecture: Architecture) -> dict[str, float]:
    for row in summary.rows:
        kept = run.path / row.folder / run.architecture.name
        if row.folder and kept.is_file() and Architecture.from_json(kept.read_text("utf-8")) == architecture:
            means = {summary.monitor: row.validation_mean, **{name: mean for name, (mean, _) in row.test.items()}}
            return {name: math.nan if mean is None else mean for name, mean in means.items()}
    return {}


def _space_of(run: RunFolder, architecture: Architecture) -> SearchSpace:
    """The space that a run's config names; without a config, the registered one of the architecture's name."""
    setting: Any = None
    if run.config.is_file():
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
