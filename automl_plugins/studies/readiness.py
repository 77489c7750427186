"""Whether a study can do all that it was asked for: tried before its first trial."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from automl_plugins.errors import StudyError
from automl_plugins.measures.energy import EnergyError
from automl_plugins.report.notes import tell
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.studies.deaths import KilledError
from automl_plugins.studies.preflight import Preflight
from automl_plugins.studies.time_limit import TimeLimitError, time_limit
from automl_plugins.training import fit as training
from automl_plugins.training.fingerprint import splits_of
from automl_plugins.training.trainer_options import check_makes_a_trainer, check_validates

if TYPE_CHECKING:
    from automl_plugins.studies.study import Study


def try_everything(study: Study) -> None:
    """Try a study's trials, costs, references and tests on one batch each; nothing is left of it.

    References that were not asked for by name, and do not fit, are left out of the study.

    Raises:
        StudyError: something does not work.
    """
    _check_options(study)
    preflight = Preflight(study.space, study.task, study.data, study.module, study.monitor, study.trainer, study.seed)
    guard = partial(_guarded, study)
    if study.arms:
        architecture, score = preflight.try_space(guard)
        _try_costs(study, architecture, score)
    _try_references(study, preflight)
    if "test" not in splits_of(study.data):
        tell(f"{type(study.data).__name__} has no test_dataloader: the table has validation scores alone")


@contextmanager
def _guarded(study: Study, name: str) -> Iterator[None]:
    """Bound what one training may do to this process: kill it once, or hang.

    Raises:
        KilledError: it has killed a process before.
        TimeLimitError: it took longer than a trial may.
    """
    deaths = study.deaths
    if name in deaths.pending:
        raise KilledError("it has killed its process before")
    try:
        with (
            deaths.attempt(name),
            time_limit(study.trial_minutes, "trial_minutes", lambda reason: deaths.give_up(name, reason)),
        ):
            yield
    finally:
        if not study.folder.description.exists():
            # A study that is refused leaves nothing behind.
            for folder in (deaths.folder, deaths.folder.parent, study.folder.path):
                with suppress(OSError):
                    folder.rmdir()


def _check_options(study: Study) -> None:
    with training.seeded(study.seed):
        loader: Any = study.data.train_dataloader()
    try:
        batches = len(loader)
    except TypeError:  # of an iterable data set
        batches = None
    try:
        for options in (study.trial_options, study.trainer):
            check_makes_a_trainer(options)
            check_validates(options, batches)
    except ValueError as error:
        raise StudyError(str(error)) from error


def _try_costs(study: Study, architecture: Architecture, score: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            figures = study.figures_in(Path(folder))(architecture)
            if math.isfinite(score):
                study.goal.values(score, figures)
        except (ValueError, EnergyError) as error:
            raise StudyError(f"costs, limits or reward: {error}") from error


def _try_references(study: Study, preflight: Preflight) -> None:
    kept = []
    for contender in study.references:
        name = str(contender.reference)
        try:
            with _guarded(study, f"preflight-{name}"):
                preflight.try_reference(name, partial(study.comparison.build, contender))
        except (KilledError, TimeLimitError):
            kept.append(contender)  # its final trainings are guarded, and the table says what became of them
        except StudyError as error:
            if study.asked_references is not None:
                raise
            tell(f"leaves out the reference {name!r}: {error}")
        else:
            kept.append(contender)
    study.references = kept
