"""The identity of a study, which a folder keeps to: its settings, its data, and a key that no other has."""

from __future__ import annotations

import hashlib
import inspect
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from filelock import FileLock

from automl_plugins.errors import FormatError, StudyError
from automl_plugins.report.notes import tell
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.plan import Plan
from automl_plugins.studies.storage import without_password
from automl_plugins.system.files import write_whole
from automl_plugins.system.formats import stamp, unstamped
from automl_plugins.system.generators import held_generators, undisturbed
from automl_plugins.training.description import describe, differences, unseen
from automl_plugins.training.fingerprint import data_difference, data_fingerprint, datamodule_loaders
from automl_plugins.training.fit import LEAN, seeded
from automl_plugins.training.lightning import pl
from automl_plugins.training.project import Project

_FETCHING = frozenset(
    (
        "workers",
        "num_workers",
        "pin_memory",
        "pin_memory_device",
        "persistent_workers",
        "prefetch_factor",
        "multiprocessing_context",
    )
)
"""Arguments of data that say how samples are fetched, and not which."""
_WATCHING = frozenset(
    (
        "default_root_dir",
        "enable_checkpointing",
        "enable_model_summary",
        "enable_progress_bar",
        "log_every_n_steps",
        "logger",
        "profiler",
    )
)
"""Arguments of Lightning's Trainer that change nothing of what is trained."""
_WATCHERS = ("Checkpoint", "DeviceStatsMonitor", "LearningRateMonitor", "ModelSummary", "ProgressBar")


_BEFORE: dict[str, Any] = {"judged_by": "best", "references_first": False, "tune": {}}
"""Settings that older folders do not name, as they were then."""


@dataclass(frozen=True)
class Identity:
    """The settings that a study was begun with.

    Args:
        settings: what results depend on, as `describe` has it.
        data: the fingerprint of the data.
        storage: where the trials are, without a password; None: in the folder.
        key: tells the study from all others that share its storage.
    """

    settings: Mapping[str, Any]
    data: Mapping[str, Any]
    storage: str | None = None
    key: str = ""

    @classmethod
    def read(cls, folder: RunFolder) -> Identity | None:
        """The identity of the study that a folder was begun with; None: of none.

        Raises:
            StudyError: it cannot be read.
        """
        path = folder.description
        try:
            content = unstamped(json.loads(path.read_text("utf-8")), f"the study in {folder.path}")
            return cls({**_BEFORE, **content["settings"]}, content["data"], content["storage"], content["key"])
        except FileNotFoundError:
            return None
        except FormatError:
            raise
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise StudyError(
                f"{path} does not say what the study in this folder was begun with ({type(error).__name__}: {error}): "
                "it is damaged; give this study another folder, or remove the file to go on with the trials as if they "
                "were of these settings and data"
            ) from error

    def keep(self, folder: RunFolder) -> Identity:
        """Write it into a folder, with a new key, unless it holds one already; the folder's identity."""
        folder.claim_lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.claim_lock):  # of several that begin at once, one gives the key
            kept = Identity.read(folder)
            if kept is None:
                kept = replace(self, key=uuid.uuid4().hex[:12])
                write_whole(folder.description, json.dumps({**stamp(), **asdict(kept)}, indent=2))
        return kept

    def refuse_another(self, folder: RunFolder, before: Identity) -> list[str]:
        """Refuse to go on in a folder that was begun with another study.

        Args:
            folder: the folder.
            before: what it was begun with.

        Returns:
            What differs without harm, in words.

        Raises:
            StudyError: anything else differs; the message names the first.
        """
        harmless = []
        # A procedure's identity has none of the settings of trials.
        begun = {key: value for key, value in before.settings.items() if key in self.settings or key not in _BEFORE}
        for key, old, new in differences(begun, self.settings):
            if key.partition(".")[0] == "data" and key.rpartition(".")[2] in _FETCHING:
                harmless.append(f"{key}={new!r} in place of {old!r}")
                continue
            raise StudyError(
                f"the study in {folder.path} was begun with {key}={old!r}, this one has {new!r}; "
                "two studies do not mix, so give this one another folder"
            )
        words = data_difference(before.data, self.data)
        if words is not None:
            raise StudyError(
                f"the study in {folder.path} was begun with other data: {words}; two studies do not mix, so give this "
                "one another folder (where the data are split or made at random, give that a seed)"
            )
        return harmless

    def notes(self) -> Iterator[str]:
        """A note for the user: the arguments whose change would not be noticed."""
        names = list(unseen(self.settings))
        if names:
            yield (
                f"a change of {', '.join(names)} in this folder would not be noticed unless it changes the data or the "
                "choices: the objects do not keep these arguments under their names (save_hyperparameters() would)"
            )


def describe_space(space: SearchSpace) -> dict[str, Any]:
    """Describe a space, its choices included: not every space keeps its arguments."""
    choices = json.dumps([[choice.name, choice.options, choice.alternatives] for choice in space.choices])
    digest = hashlib.blake2b(choices.encode(), digest_size=8).hexdigest()
    return {**describe(space), "version": space.version, "choices": f"{space.size:,} architectures, {digest}"}


def describe_trainer(options: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the Trainer's arguments that a training depends on; those that have their default are left out."""
    parameters = inspect.signature(pl.Trainer.__init__).parameters
    defaults = {**{name: each.default for name, each in parameters.items()}, **LEAN}
    chosen = {
        name: value
        for name, value in options.items()
        if name not in _WATCHING and not _is_default(value, defaults.get(name)) and name != "callbacks"
    }
    described: dict[str, Any] = describe(chosen)
    callbacks = options.get("callbacks")
    listed = callbacks if isinstance(callbacks, list | tuple) else [callbacks] if callbacks is not None else []
    training = [callback for callback in listed if not _only_watches(callback)]
    if training:
        described["callbacks"] = describe(training)
    return described


def _is_default(value: Any, default: Any) -> bool:
    return value is default or (isinstance(value, str | int | float | bool) and bool(value == default))


def _only_watches(callback: Any) -> bool:
    return any(cls.__name__ in _WATCHERS for cls in type(callback).__mro__)


def shared_name(folder: RunFolder, arm: str) -> str:
    """The name of an arm's study in a storage that others may share: folders of one name have different keys."""
    identity = Identity.read(folder)
    return f"{folder.path.name}-{arm}" if identity is None else f"{arm}-{identity.key}"


def settings_of(project: Project) -> dict[str, Any]:
    """The settings of a project that results depend on, as JSON."""
    return {
        "space": describe_space(project.space),
        "data": describe(project.data),
        "task": describe(project.task.to_dict()),
        # A class alone is the class with its defaults.
        "module": describe(partial(project.module)),
        "monitor": project.monitor,
        "direction": project.direction,
        "judged_by": project.judged_by,
        "trainer": describe_trainer(project.trainer),
        "seed": project.seed,
    }


def data_of(project: Project) -> dict[str, Any]:
    """The fingerprint of a project's data, which have been read."""
    with undisturbed(held_generators([project.data])), seeded(project.seed):
        return data_fingerprint(datamodule_loaders(project.data))


def identity_of(project: Project, plan: Plan, storage: str | None) -> Identity:
    """The identity of a study whose data have been read.

    Args:
        project: what is trained on what.
        plan: of the study.
        storage: where its trials are; None: in the folder.
    """
    settings = {
        **settings_of(project),
        "sampler": plan.sampler.described,
        "pruner": describe(plan.pruner),
        "costs": list(plan.goal.costs),
        "limits": plan.goal.asked_limits,
        "reward": describe(plan.goal.reward),
        "tune": plan.tuning.described,
        "sharing": plan.sharing,
        "references_first": plan.references_first,
        "trial_epochs": plan.trial_epochs,
    }
    return Identity(settings, data_of(project), None if storage is None else without_password(storage))


def refuse_another(mine: Identity, folder: RunFolder, has_trials: Callable[[], bool]) -> None:
    """Refuse a folder in which trials and final trainings of other settings or data are kept.

    Args:
        mine: of the study that would go on in the folder.
        folder: the folder.
        has_trials: whether the study's storage, which is opened, has any of its trials.

    Raises:
        StudyError: it is one.
    """
    before = Identity.read(folder)
    if before is None:
        for line in mine.notes():
            tell(line)
        return
    for words in mine.refuse_another(folder, before):
        tell(f"goes on with {words}, which changes no result")
    if before.storage != mine.storage and not has_trials():
        raise StudyError(
            f"the trials of the study in {folder.path} are in {before.storage or 'its own journal'}, and "
            f"{mine.storage or 'that journal'} has none of them; give the storage that it was begun with, or this "
            "study another folder"
        )
