"""The content of a run's folder, read for those who look at it; nothing is unpickled, and nothing is made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from automl_plugins.report.logits import LogitsOverEpochs
from automl_plugins.report.search import SearchSummary
from automl_plugins.report.summary import Summary
from automl_plugins.report.trial_tables import best_first
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.identity import shared_name
from automl_plugins.studies.kept_networks import naming
from automl_plugins.studies.plan import HAND_MADE
from automl_plugins.studies.storage import open_storage
from automl_plugins.system.files import read_object

Kind = Literal["study", "search", "evaluation"]
SEARCHES = ("search", "random")
ARMS = (*SEARCHES, HAND_MADE)


@dataclass(frozen=True)
class KeptRun:
    """A study, a search or an evaluation, as far as it has kept itself.

    Args:
        folder: of the run.
    """

    folder: RunFolder

    @classmethod
    def at(cls, path: Path) -> KeptRun:
        """The run in a folder.

        Raises:
            FileNotFoundError: there is no such folder, or nothing in it.
            NotADirectoryError: it is a file.
            ValueError: it is no run's folder, or its config cannot be read.
        """
        folder = RunFolder(path)
        if not folder.path.exists():
            raise FileNotFoundError(f"{str(path)!r}: there is no such folder")
        if not folder.path.is_dir():
            raise NotADirectoryError(f"{str(path)!r} is a file; name the folder of a run")
        if not any(folder.path.iterdir()):
            raise FileNotFoundError(f"{str(path)!r}: the folder is empty")
        run = cls(folder)
        if not folder.config.is_file() or not ({"space", "command"} & set(run.config)):
            raise ValueError(f"{str(path)!r} is no folder of a study, a search or an evaluation: no config.yaml of one")
        return run

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """Its configuration.

        Raises:
            ValueError: the file cannot be read.
        """
        with naming(self.folder.config, "cannot be read"):
            content = yaml.safe_load(self.folder.config.read_text("utf-8")) or {}
            return dict(content)

    @property
    def kind(self) -> Kind:
        """Its kind, by the files that it begins with."""
        if "search" in self.config or "command" in self.config:
            return "search"
        return "study" if self.folder.description.exists() else "evaluation"

    @property
    def has_ended(self) -> bool:
        """False where it goes on, or was killed: its last file is not there."""
        if self.kind != "search":
            return self.folder.summary.is_file()
        # A procedure of several fits writes its architecture in the end, and no summary.
        is_procedure = not self.folder.checkpoint.parent.exists() and self.folder.architecture.is_file()
        return self.folder.search.is_file() or is_procedure

    @cached_property
    def summary(self) -> Summary | None:
        """The final table of a study or an evaluation.

        Raises:
            ValueError: the file cannot be read.
            FormatError: another version wrote it.
        """
        return self._read(self.folder.summary, Summary.from_json)

    @cached_property
    def search(self) -> SearchSummary | None:
        """The outcome of a differentiable search; see `summary`."""
        return self._read(self.folder.search, SearchSummary.from_json)

    @cached_property
    def logits(self) -> LogitsOverEpochs | None:
        """The logits of a differentiable search over epochs; see `summary`."""
        return self._read(self.folder.logits, LogitsOverEpochs.from_lines)

    @property
    def architectures(self) -> dict[str, Path]:
        """The files of the architectures that it has found, by what they are."""
        own = "what was found" if self.kind == "search" else "the winner"
        places = {own: self.folder.architecture, "the best that was found": self.folder.found.architecture}
        return {name: path for name, path in places.items() if path.is_file()}

    @cached_property
    def evaluation(self) -> KeptRun | None:
        """The evaluation of what it has found, in its folder."""
        inner = KeptRun(self.folder.evaluation)
        return inner if inner.folder.config.is_file() else None

    @cached_property
    def version(self) -> str:
        """The version of this package that wrote it; "" where no file says so."""
        files = (self.folder.summary, self.folder.search, self.folder.description, self.folder.preprocessing)
        told = (read_object(path) or {} for path in files)
        return next((str(each["version"]) for each in told if "version" in each), "")

    @property
    def arms(self) -> dict[str, Sequence[FrozenTrial]]:
        """The trials of each arm that has any, the best first, see `kept_trials`."""
        return {arm: trials for arm, (trials, _) in self._opened.items()}

    @property
    def maximizes(self) -> bool:
        """True where more of a trial's first value is better: of the metric, or of the reward."""
        return any(directions[0] is StudyDirection.MAXIMIZE for _, directions in self._opened.values())

    @property
    def metric(self) -> str:
        """The name of a trial's first value."""
        if self.config.get("reward"):
            return "reward"
        monitor = self.config.get("monitor") if self.summary is None else self.summary.monitor
        return str(monitor or "value")

    @cached_property
    def _opened(self) -> dict[str, tuple[list[FrozenTrial], Sequence[StudyDirection]]]:
        if self.kind != "study":
            return {}
        found = {arm: kept_trials(self.folder, self.config.get("storage"), arm) for arm in ARMS}
        return {arm: each for arm, each in found.items() if each[0]}

    def _read(self, path: Path, read: Any) -> Any:
        if not path.is_file():
            return None
        with naming(path, "cannot be read"):
            return read(path.read_text("utf-8"))

    def architecture(self, path: Path) -> Architecture:
        """The architecture in a file; see `summary`."""
        with naming(path, "cannot be read"):
            return Architecture.from_json(path.read_text("utf-8"))


def kept_trials(folder: RunFolder, storage: str | None, arm: str) -> tuple[list[FrozenTrial], Sequence[StudyDirection]]:
    """An arm's trials, the best first, and the directions of its objectives; none where the storage has none.

    Args:
        folder: of the run.
        storage: see `Study`.
        arm: one of `ARMS`.

    Raises:
        ValueError: the storage is none.
        StorageError: it cannot be read.
    """
    location = storage or str(folder.journal)
    if location.endswith(".journal") and not Path(location).exists():
        return [], ()
    # The names that `Study.study_name` gives.
    name = arm if storage is None else shared_name(folder, arm)
    opened = open_storage(location)
    study = next((each for each in opened.get_all_studies() if each.study_name == name), None)
    if study is None:
        return [], ()
    return best_first(opened.get_all_trials(study._study_id), study.directions[0]), study.directions
