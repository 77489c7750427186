"""Everything that a study will do, tried on one batch before its first trial, so that hours do not end in a refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from functools import partial

import numpy as np
from torch import nn

from automl_plugins.errors import StudyError
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.studies.deaths import KilledError
from automl_plugins.studies.one_batch import DivergedError, NetworkError, OneBatch
from automl_plugins.studies.time_limit import TimeLimitError
from automl_plugins.training.fingerprint import splits_of
from automl_plugins.training.lightning import pl
from automl_plugins.training.project import Project

_TRIES = 8
"""Random architectures that are tried before a study is refused: that some cannot be trained is for trials to find."""


class Preflight:
    """Tries a project's networks on one batch of each split, see `OneBatch`.

    Args:
        project: its data have been read.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self.batch = OneBatch(project)

    def try_space(self, guard: Callable[[str], AbstractContextManager[None]]) -> tuple[Architecture, float]:
        """Train and test a random architecture for one batch each; several, where one fails.

        Args:
            guard: is around each training, by a name of it: raises where it killed its process before, or hangs.

        Returns:
            The architecture that went through, and its monitored metric.

        Raises:
            StudyError: none went through, or something fails that is the same for all architectures.
        """
        first: StudyError | None = None
        # The smallest first: one that is too large for this machine would take the whole process with it.
        drawn = sorted(self._architectures(), key=self._size)
        for number, architecture in enumerate(drawn):
            build = partial(self.project.space.network, architecture, self.project.task)
            try:
                with guard(f"preflight-{number}"):
                    score = self.batch.fit(build, "a network")
                    self.batch.test(build, "a network")
            except NetworkError as error:
                first = first or error
                continue
            except (KilledError, TimeLimitError) as error:
                first = first or StudyError(f"a network cannot be trained on one batch: {error}")
                continue
            return architecture, score
        cause = None if first is None else first.__cause__
        raise StudyError(f"{first} (so with all of {_TRIES} random architectures)") from cause

    def try_reference(self, name: str, build: Callable[[], nn.Module]) -> None:
        """Train and test a hand-made network for one batch each.

        One that diverges is let be: its line of the final table says so, and the others are worth comparing.

        Raises:
            StudyError: it cannot be.
        """
        what = f"the reference {name!r}"
        with suppress(DivergedError):
            self.batch.fit(build, what)
        self.batch.test(build, what)

    def _size(self, architecture: Architecture) -> int:
        return self.project.space.num_parameters(architecture, self.project.task)

    def _architectures(self) -> Iterator[Architecture]:
        generator = np.random.default_rng(self.project.seed)
        yield from (self.project.narrowed.sample(generator) for _ in range(_TRIES))


def check_splits(data: pl.LightningDataModule) -> None:
    """Refuse data without a split that a study needs.

    Raises:
        StudyError: there is no training or validation data.
    """
    for split, word in (("train", "trains on training"), ("val", "selects by validation")):
        if split not in splits_of(data):
            raise StudyError(f"{type(data).__name__} has no {split}_dataloader; a study {word} data, so give it one")
