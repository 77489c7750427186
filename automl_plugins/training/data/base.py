"""The base of all our datamodules: they name their task, and load once."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from automl_plugins.spaces.task import Task
from automl_plugins.system.arguments import at_least
from automl_plugins.training.lightning import pl

MOST = 2**32 - 1
"""The greatest seed, as Lightning has it."""


class HasTask(Protocol):
    """The result of `_load`: the data, and the task that a network must fit on them."""

    @property
    def task(self) -> Task:
        """The task that a network must fit."""


Loaded = TypeVar("Loaded", bound=HasTask)


class TaskDataModule(pl.LightningDataModule, Generic[Loaded]):
    """A LightningDataModule that names its `task` and keeps what it has loaded.

    Lightning calls `prepare_data` and `setup` at every fit, and a search has thousands of short
    fits: after the first call both return at once. Pickling leaves the loaded data out, so a
    datamodule is cheap to send to a worker process, which loads them for itself.

    Subclasses implement `_load`, and `_download` where there is something to download.

    Args:
        seed: of the split and of the order of training batches.

    Raises:
        ValueError: `seed` is not a whole number from 0 to 2**32 - 1.
    """

    after_loading: ClassVar[frozenset[str]] = frozenset()
    """Arguments of the constructor that have no influence on `_load`."""
    _given: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        made = super().__new__(cls)
        made._given = {**dict(zip(inspect.signature(cls).parameters, args, strict=False)), **kwargs}
        return made

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = at_least("seed", seed, 0, MOST)
        self._prepared = False
        self._loaded: Loaded | None = None

    def prepare_data(self) -> None:
        """Download what is missing; only the first call does anything."""
        if not self._prepared:
            self._download()
            self._prepared = True

    def setup(self, stage: str | None = None) -> None:
        """Load, split and index the data; only the first call does anything.

        Args:
            stage: Lightning's; all splits are loaded whatever it says.
        """
        if self._loaded is None:
            self._loaded = self._load()

    @property
    def loaded(self) -> Loaded:
        """The data; loads them where `setup` was not called yet."""
        if self._loaded is None:
            self.prepare_data()
            self.setup()
        if self._loaded is None:
            raise RuntimeError(f"{type(self).__name__}.setup was overridden without a call of super().setup(stage)")
        return self._loaded

    @property
    def task(self) -> Task:
        """The task that a network must fit on these data."""
        return self.loaded.task

    def with_arguments(self, **changes: Any) -> Self:
        """Another datamodule with some arguments in place of this one's.

        It shares what is loaded where that does not depend on them (`after_loading`).

        Args:
            changes: arguments of the constructor.
        """
        other = type(self)(**{**self._given, **changes})
        if self._loaded is not None and self.after_loading.issuperset(changes):
            other._prepared, other._loaded = True, self._without_batches(self._loaded)
        return other

    def report_files(self) -> dict[str, str]:
        """Text files that a run keeps beside its results, by name: a list of what was left out, for one."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loaded": None}

    def _download(self) -> None:
        """Nothing to download."""

    def _without_batches(self, loaded: Loaded) -> Loaded:
        """The loaded data, without what was made of them for these arguments; by default there is nothing such."""
        return loaded

    def _load(self) -> Loaded:
        raise NotImplementedError(f"{type(self).__name__} must implement _load")
