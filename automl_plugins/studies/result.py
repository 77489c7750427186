"""The result of a run, from its folder, for a script that goes on from there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import torch
import yaml
from torch import nn

from automl_plugins.objectives.contender import Contender
from automl_plugins.report.search import SearchSummary
from automl_plugins.report.summary import Summary
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Task
from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.kept_networks import KeptNetworks, members_of, naming
from automl_plugins.studies.safe_classes import named_class, safe_class
from automl_plugins.studies.trained import Networks
from automl_plugins.studies.winner import read_settings
from automl_plugins.system.finite import finite
from automl_plugins.system.to_be_loaded import to_be_loaded
from automl_plugins.training.data.unlabelled import Unlabelled
from automl_plugins.training.ensemble import Ensemble
from automl_plugins.training.fit import ModuleFactory
from automl_plugins.training.lightning import pl
from automl_plugins.training.prediction import InUnits, Prediction, Predictor
from automl_plugins.training.preprocessing import Preprocessing
from automl_plugins.training.registered_module import RegisteredModule
from automl_plugins.training.tunable import HOMES

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

    def _repr_html_(self) -> str:
        """The architecture drawn, its scores and the verdict, in notebooks."""
        from automl_plugins.report.page.page import Table, Text, fragment
        from automl_plugins.studies.run_page import architecture_blocks

        scores = Table(["metric", "mean over seeds"], [[name, f"{mean:.4f}"] for name, mean in self.scores.items()])
        told = self.summary.verdict if isinstance(self.summary, Summary) else []
        told = self.summary.lines() if isinstance(self.summary, SearchSummary) else told
        drawn = architecture_blocks(self.architecture, self.space, "what was found")
        return fragment([*drawn, *([scores] if self.scores else []), *([Text(told)] if told else [])])

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """The making of inputs and the meaning of outputs, as the run's trainings had them.

        Raises:
            FileNotFoundError: the run has trained no network, or an earlier version did.
            ValueError: its file cannot be read.
        """
        path = self._trained.preprocessing
        if not path.is_file():
            cure = "the command that made the run, given again, writes it and repeats no training"
            raise FileNotFoundError(f"{path}: there is no such file; {cure}")
        with naming(path, "cannot be read"):
            return Preprocessing.load(path)

    @property
    def task(self) -> Task:
        """The task that the architecture was trained on; see `preprocessing`."""
        return self.preprocessing.task

    @property
    def _trained(self) -> RunFolder:
        """The folder of the architecture's trained networks: an evaluation's, where the run has trained none."""
        own = RunFolder(self.folder)
        for each in (own, own.evaluation, own.evaluation.found):
            is_there = each.network.is_file() and each.architecture.is_file()
            if is_there and _read(each.architecture, Architecture.from_json) == self.architecture:
                return each
        return own

    def network(self, task: Task | None = None) -> nn.Module:
        """The architecture's network, with its trained weights where the run has kept them.

        Real values that it has learned standardised are given in the targets' units; `module` has the bare network.
        It is in training mode as a new one: call `eval()` before it predicts, as `predict` does.

        Args:
            task: that it was trained on; only where the run was an earlier version's, or has trained nothing, needed.

        Raises:
            FileNotFoundError: it is needed, and left out.
            ValueError: the weights cannot be read, are another network's, or are not finite.
        """
        weights = self._trained.network
        if weights.exists():
            with to_be_loaded():
                network = self.space.network(self.architecture, task or self.task)
            _load(network, weights)
        elif self._trained.preprocessing.is_file():
            network = self._kept.network()
        else:
            return self.space.network(self.architecture, task or self.task)
        return self._in_units(network)

    def ensemble(self, task: Task | None = None, data: Any = None) -> nn.Module:
        """The ensemble that a study with `ensemble` has kept, with its trained weights; in units, see `network`.

        Args:
            task: that it was trained on; see `network`.
            data: the datamodule, for hand-made members that ask for it.

        Raises:
            FileNotFoundError: the run has none.
            ValueError: a file of it cannot be read, or a member is a network that is neither registered nor imported.
        """
        run = RunFolder(self.run or self.folder).ensemble
        if not run.members.is_file():
            raise FileNotFoundError(f"{run.members}: there is no such file; the study was not asked for an ensemble")
        task = task or self.task
        with to_be_loaded():
            networks = [each.network(self.space, task, data) for each in members_of(run)]
        ensemble = Ensemble(networks, task.target)
        _load(ensemble, run.network)
        return self._in_units(ensemble)

    def module(self) -> pl.LightningModule:
        """The LightningModule around the network, with all weights and scales, in training mode as a new one.

        Raises:
            FileNotFoundError: the run has trained no network.
            ValueError: its class is neither registered nor imported; or see `network`.
        """
        return self._kept.module()

    def predict(self, batch: Any, networks: Networks = "all") -> Prediction:
        """The prediction for a batch, with its spread over the networks; see `Prediction`.

        Args:
            batch: as the datamodule gives it, or as `unlabelled` does.
            networks: `all`: those of all final seeds; `best`: that of `network`; `ensemble`: the ensemble's members.

        Raises:
            FileNotFoundError: the run has none.
            ValueError: see `module`.
        """
        if networks not in self._predictors:
            self._predictors[networks] = self._kept.predictor(networks)
        return self._predictors[networks](batch)

    def unlabelled(self, path: Path | str, **options: Any) -> Unlabelled:
        """Inputs without targets, read as the run's were: batches for `predict`, with the places of their inputs.

        Args:
            path: the file, or the folder.
            options: arguments in place of the run's, such as `smiles_column`.

        Raises:
            ValueError: the run's data are of a class that reads none, or the inputs are not what they should be.
            FileNotFoundError: they are not there.
        """
        kept = self.preprocessing
        cls = safe_class("data", pl.LightningDataModule, kept.data)
        read = getattr(cls, "unlabelled", None)
        if read is None:
            raise ValueError(f"{kept.data} has no `unlabelled`, or has not been imported; give `predict` its batches")
        found: Unlabelled = read(Path(path).expanduser(), kept, **options)
        return found

    def _in_units(self, network: nn.Module) -> nn.Module:
        path = self._trained.preprocessing
        statistics = self.preprocessing.statistics if path.is_file() else {}
        if "target_mean" not in statistics:
            return network
        return InUnits(network, *(torch.tensor(statistics[name]) for name in ("target_mean", "target_scale")))

    @cached_property
    def _predictors(self) -> dict[Networks, Predictor]:
        return {}

    @cached_property
    def _kept(self) -> KeptNetworks:
        trained, run = self._trained, RunFolder(self.run or self.folder)
        contender = Contender("found", self.architecture, settings=self.settings)
        make = _module_of(trained if trained.config.is_file() else run, self.settings)
        return KeptNetworks(trained, contender, self.space, make, self.preprocessing)


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
    with naming(found.settings, "cannot be read"):
        settings = read_settings(found)
    if run.summary.is_file():
        summary = _read(run.summary, Summary.from_json)
        with naming(run.summary, "is no summary of a study"):
            scores = _scores(run, summary, architecture, settings)
        return Result(found.path, architecture, made, scores, summary, summary.winner, settings, run.path)
    search = _read(run.search, SearchSummary.from_json) if run.search.is_file() else None
    return Result(found.path, architecture, made, {}, search)


def _load(network: nn.Module, weights: Path) -> None:
    """Give a network the weights in a file, from which nothing is unpickled.

    Raises:
        ValueError: they cannot be read, are another network's, or are not finite.
    """
    with naming(weights, "has no weights of this network"):
        network.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
    for name, weight in network.named_parameters():
        if not weight.isfinite().all():
            raise ValueError(f"{weights}: the weight {name!r} is not finite, so the network computes nothing")


def _read(path: Path, read: Callable[[str], _Read]) -> _Read:
    with naming(path, "cannot be read"):
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


def _config(run: RunFolder) -> dict[str, Any]:
    """A run's configuration; of a fit, what it has under `model` beside the rest. Empty where there is none."""
    if not run.config.is_file():
        return {}
    with naming(run.config, "cannot be read"):
        content = dict(yaml.safe_load(run.config.read_text("utf-8")) or {})
        return {**content, **(content.get("model") or {})}


def _space_of(run: RunFolder, architecture: Architecture) -> SearchSpace:
    """The space that a run's config names; without a config, the registered one of the architecture's name."""
    cure = f"give it: load_result({str(run.path)!r}, space=...)"
    try:
        path, arguments = named_class(_config(run).get("space") or architecture.space)
    except ValueError as error:
        raise ValueError(f"the space in {run.config} cannot be made: {error}; {cure}") from error
    cls = safe_class("spaces", SearchSpace, str(path))  # type: ignore[type-abstract]  # its subclasses are meant
    if cls is None:
        raise ValueError(f"the space {path} in {run.config} is not registered, and has not been imported; {cure}")
    try:
        return cls(**arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the space {path} in {run.config} cannot be made ({error}); {cure}") from error


def _module_of(run: RunFolder, tuned: Mapping[str, Any]) -> ModuleFactory:
    """The maker of the module that a run's config names, with the settings that were tuned for the network.

    Raises:
        ValueError: its class is neither registered nor imported, or is made of other objects.
    """
    config = _config(run)
    try:
        path, arguments = named_class(config.get("module") or config.get("module_arguments"))
    except ValueError as error:
        raise ValueError(f"the module in {run.config} cannot be made: {error}") from error
    prefix = f"{HOMES[0]}."
    arguments |= {name.removeprefix(prefix): value for name, value in tuned.items() if name.startswith(prefix)}
    if path is None:
        return RegisteredModule(arguments)
    cls = safe_class("modules", pl.LightningModule, path)
    if cls is None:
        raise ValueError(f"the module {path} in {run.config} is not registered; import it, and load the result then")
    return partial(cls, **arguments)
