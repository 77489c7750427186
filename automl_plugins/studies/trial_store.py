"""The trials of a study in their storage, which other studies may share."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.identity import shared_name
from automl_plugins.studies.storage import open_storage

ENDED_FOR = "ended_for_minutes"
"""The user attribute of a search that was ended before it had its trials: the time that its study has."""


class TrialStore:
    """Finds the trials of each search (arm) of a study. It opens the storage once, when it is first needed.

    Args:
        folder: the run's folder.
        location: of the storage, see `automl_plugins.studies.storage.open_storage`.
    """

    def __init__(self, folder: RunFolder, location: str) -> None:
        self.folder = folder
        self.location = location

    @property
    def is_own(self) -> bool:
        """True where the trials are in the folder's own journal."""
        return "://" not in self.location and Path(self.location).resolve() == self.folder.journal.resolve()

    @property
    def elsewhere(self) -> str | None:
        """The storage, where it is not the folder's own journal."""
        return None if self.is_own else self.location

    def study_name(self, arm: str) -> str:
        """The name of an arm's study in the storage: with the folder's name and key where others share the storage."""
        return arm if self.is_own else shared_name(self.folder, arm)

    def trials(self, arm: str) -> list[FrozenTrial]:
        """An arm's trials, in the order in which they were asked for."""
        for study in self._storage.get_all_studies():
            if study.study_name == self.study_name(arm):
                return self._storage.get_all_trials(study._study_id, deepcopy=False)
        return []

    def was_ended_for(self, minutes: float | None) -> bool:
        """True where the search was ended for the time that a study has."""
        name = self.study_name("search")
        marks = (study.user_attrs for study in self._storage.get_all_studies() if study.study_name == name)
        return minutes is not None and any(mark.get(ENDED_FOR) == minutes for mark in marks)

    def check(self) -> None:
        """Open a storage that is there already.

        Raises:
            StudyError: it cannot be reached or read.
        """
        if not self.is_own or self.folder.journal.exists():
            _ = self._storage

    @cached_property
    def _storage(self) -> BaseStorage:
        return open_storage(self.location)  # each opening of a journal reads all of it

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "location": self.location}
