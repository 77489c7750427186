"""The configuration of a study: `Study`'s own arguments, checked, completed, kept and compared."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace, set_parsing_settings
from torch import nn

from automl_plugins.cli.checked import check_study
from automl_plugins.cli.checks import shown
from automl_plugins.cli.errors import UsageError, told_briefly, without_deprecations
from automl_plugins.cli.kept import keep, kept_settings
from automl_plugins.cli.paths import absolute_paths
from automl_plugins.cli.plugins import check_plugin
from automl_plugins.cli.settings import Given, merge, plain, read_yaml
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Level, Target, Task
from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.study import Study
from automl_plugins.training import fit as training
from automl_plugins.training.description import first_difference
from automl_plugins.training.fit import ModuleFactory
from automl_plugins.training.lightning import pl
from automl_plugins.training.registered_module import RegisteredModule

# What has passed our own checks names nothing else; these are a second lock on the same door.
set_parsing_settings(import_path_denylist=[], instantiate_subclass_spec_in_any=False)

_MAY_CHANGE = frozenset(
    (
        "folder",
        "trials",
        "workers",
        "finalists",
        "seeds",
        "references",
        "random_search",
        "max_equal_failures",
        "trial_minutes",
        "final_minutes",
    )
)
"""Settings with which a study may go on although it was begun with others: they add to it or end it earlier."""


def study_parser() -> ArgumentParser:
    """The parser of all arguments of `Study`; it completes, prints and instantiates what was checked."""
    with without_deprecations():
        parser = ArgumentParser(
            prog="automl-plugins study",
            exit_on_error=False,
            description="Search a space, train the best and the references over seeds, print the table.",
        )
        parser.add_argument("--config", metavar="FILE", help="YAML with any of the keys below; may come several times")
        parser.add_argument("--print_config", action="store_true", help="print the whole configuration and end")
        parser.add_class_arguments(Study, fail_untyped=False)
    return parser


class StudyConfig:
    """A study's settings, checked.

    Args:
        settings: any of `Study`'s arguments, as they were given.
        folder: the run's folder, where the settings name none.

    Raises:
        UsageError: whatever is wrong with them.
    """

    def __init__(self, settings: Mapping[str, Any], folder: Path | None = None) -> None:
        if settings.get("folder") is None:
            settings = {**settings, "folder": str(folder or Path("runs", short_name(settings.get("data"))))}
        checked = check_study(settings)
        self.parser = study_parser()
        # What is wrong now is what only jsonargparse can know, such as the arguments of a nested class.
        with told_briefly("", 2, ArgumentError, ValueError, TypeError), without_deprecations():
            self.values: Namespace = self.parser.parse_object(plain(_without_bare_module(checked)))
        self._bare_module = plain(checked["module"]) if is_bare(checked.get("module")) else None
        check_files(self.as_dict())

    def dump(self) -> str:
        """The whole configuration, as YAML that starts the same run."""
        return str(yaml.safe_dump(self.as_dict(), sort_keys=False))

    def as_dict(self) -> dict[str, Any]:
        """The whole configuration as plain values."""
        values = self.values.clone()
        for key in ("config", "print_config"):
            values.pop(key, None)
        content: dict[str, Any] = yaml.safe_load(self.parser.dump(values, skip_unset=False))
        return content if self._bare_module is None else {**content, "module": self._bare_module}

    def study(self) -> Study:
        """The study; nothing is read or written yet.

        Raises:
            UsageError: a value out of range, or a name that does not exist.
        """
        settings = self.as_dict()
        hints = (("space", SearchSpace), ("data", pl.LightningDataModule), ("task", Task))
        parts = [Part(key, hint, settings[key]) for key, hint in hints if settings[key] is not None]
        if settings["module"] is not None:
            parts.append(ModulePart(settings["module"]))
        if settings["trainer"] is not None:
            parts.append(TrainerPart(settings["trainer"]))
        made = {part.key: part.make() for part in parts}
        if "module" in made:
            try_module(made["module"], settings["module"].get("init_args", settings["module"]))
        with told_briefly("", 2, ValueError, TypeError):
            study = Study(**{**settings, "folder": Path(settings["folder"]), **made})
        with told_briefly("trainer", 2, Exception), without_deprecations(), training.quiet_lightning():
            pl.Trainer(**{**training.LEAN, **study.project.trainer})
        return study

    def refuse_another(self, folder: RunFolder) -> None:
        """Refuse a folder that holds a study of another configuration; nothing is written.

        Raises:
            UsageError: it does; the message names the first setting that differs.
        """
        kept = kept_settings(folder)
        if kept is not None:
            old, new = (
                {key: value for key, value in absolute_paths(config.as_dict()).items() if key not in _MAY_CHANGE}
                for config in (StudyConfig(kept), self)
            )
            refuse_another(folder, old, new, "study")

    def keep(self, folder: RunFolder) -> None:
        """Write the configuration into a run's folder.

        Raises:
            UsageError: it cannot be written.
        """
        keep(folder.path / "config.yaml", yaml.safe_dump(absolute_paths(self.as_dict()), sort_keys=False))


def refuse_another(folder: RunFolder, kept: Mapping[str, Any], mine: Mapping[str, Any], what: str) -> None:
    """Refuse to go on in a folder whose run was begun with other settings.

    Args:
        folder: the run's folder.
        kept: the settings that it was begun with.
        mine: those of now.
        what: `study` or `search`.

    Raises:
        UsageError: they differ; the message names the first setting that does.
    """
    difference = first_difference(kept, mine)
    if difference is not None:
        key, before, now = difference
        raise UsageError(
            f"{key}={shown(now)}: the {what} in {folder.path} was begun with {shown(before)}; "
            "two of them do not mix, so give this one another --folder"
        )


def config_of(given: Given) -> StudyConfig:
    """The configuration that a command line gives, in a folder named after its last YAML file or its data."""
    stem = given.configs[-1].stem if given.configs else None
    return StudyConfig(given.settings, Path("runs", stem) if stem else None)


class Part:
    """A checked setting, read by jsonargparse against its type; it is made only once all others are read too.

    Args:
        key: of the setting.
        hint: its type.
        setting: the value.

    Raises:
        UsageError: it does not fit the type.
    """

    def __init__(self, key: str, hint: Any, setting: Any) -> None:
        self.key = key
        self._arguments = setting.get("init_args", setting) if isinstance(setting, Mapping) else {}
        with self._told():
            self._parser = self._made_parser(hint)
            self._values: Namespace = self._parser.parse_object({key: setting}, defaults=False)

    def _made_parser(self, hint: Any) -> ArgumentParser:
        parser = ArgumentParser(exit_on_error=False)
        parser.add_argument(f"--{self.key}", type=hint)
        return parser

    def make(self) -> Any:
        """What the setting stands for.

        Raises:
            UsageError: it refuses an argument; the message names the argument with its key.
        """
        with self._told():
            return self._parser.instantiate(self._values)[self.key]

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            with without_deprecations():
                yield
        except (ArgumentError, ValueError, TypeError) as error:
            raise UsageError(_of_argument(self.key, str(error), self._arguments)) from error


class ModulePart(Part):
    """A LightningModule by its class, or arguments alone, of the one that is registered for the task of the data.

    Args:
        setting: with or without a `class_path`.

    Raises:
        UsageError: it does not fit the type.
    """

    def __init__(self, setting: Mapping[str, Any]) -> None:
        self._bare = dict(setting) if is_bare(setting) else None
        super().__init__("module", ModuleFactory, setting)

    def make(self) -> Any:
        """What makes the module of a network and its task."""
        return super().make() if self._bare is None else RegisteredModule(self._bare)

    def _made_parser(self, hint: Any) -> ArgumentParser:
        return super()._made_parser(hint if self._bare is None else dict[str, Any])


def is_bare(module: Any) -> bool:
    """Whether a module's setting has arguments and no class."""
    return isinstance(module, Mapping) and "class_path" not in module


def _without_bare_module(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key != "module" or not is_bare(value)}


class TrainerPart(Part):
    """The arguments of Lightning's Trainer, typed as Lightning's own command line has them.

    Args:
        setting: those that are given.

    Raises:
        UsageError: one does not fit its type.
    """

    def __init__(self, setting: Mapping[str, Any]) -> None:
        super().__init__("trainer", None, setting)

    def _made_parser(self, hint: Any) -> ArgumentParser:
        parser = ArgumentParser(exit_on_error=False)
        parser.add_class_arguments(pl.Trainer, self.key, fail_untyped=False, instantiate=False)
        return parser

    def make(self) -> dict[str, Any]:
        """The arguments, with the objects that they name."""
        with self._told():
            made = self._parser.instantiate(self._values).get(self.key)
            return {} if made is None else dict(made.as_dict() if isinstance(made, Namespace) else made)


def make(key: str, hint: Any, setting: Any) -> Any:
    """Make what a checked setting stands for.

    Raises:
        UsageError: it refuses an argument; the message names the argument with its key.
    """
    return Part(key, hint, setting).make()


def _of_argument(key: str, message: str, arguments: Collection[str]) -> str:
    """A constructor's message, after the key that it is about."""
    first = re.split(r"\W", message, maxsplit=1)[0]
    return f"{key}.{message}" if first in arguments else f"{key}: {message}"


def make_space(value: Any) -> SearchSpace:
    """A space alone, from its setting.

    Raises:
        UsageError: whatever is wrong with it.
    """
    space: SearchSpace = make("space", SearchSpace, plain(check_plugin("space", "spaces", value)))
    return space


def space_setting(given: Given, beside: Path | None, fallback: str | None = None) -> Any:
    """The setting of a space: from the command line, over a run's config beside a file, over a name."""
    base: dict[str, Any] = {} if fallback is None else {"space": fallback}
    if beside is not None and beside.is_file():
        base = merge(base, {"space": read_yaml(beside).get("space")})
    return merge(base, {key: value for key, value in given.settings.items() if key == "space"}).get("space")


def short_name(data: Any) -> str:
    """The last part of the name in a plugin's setting."""
    name = str(data.get("class_path") if isinstance(data, Mapping) else data)
    return name.rpartition(".")[2]


def check_files(settings: Mapping[str, Any]) -> None:
    """Refuse paths that cannot be read or written, before anything is read or written."""
    folder = Path(settings["folder"])
    if any(path.exists() and not path.is_dir() for path in (folder, *folder.parents)):
        raise UsageError(f"folder={str(folder)!r}: there is a file of that name; a run needs a folder")
    # By convention an argument `path` is a file that must be there; a `root` may be made by a download.
    path = (settings["data"].get("init_args") or {}).get("path")
    if isinstance(path, str) and not Path(path).exists():
        raise UsageError(f"data.path={path!r}: there is no such file")
    storage = settings.get("storage")
    if storage is not None and not storage.endswith(".journal") and "://" not in storage:
        raise UsageError(f"storage={storage!r}: it is a file ending in .journal or a URL such as sqlite:///study.db")


_REFUSALS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What a module may raise for a task that is not its own."""


def try_module(factory: ModuleFactory, arguments: Collection[str]) -> None:
    """Refuse a module's argument that is out of range, before the data say which task it is for.

    A module that can be made for none of the possible tasks, and blames one of its arguments, is refused.
    """
    reasons = []
    for level in get_args(Level):
        for target in get_args(Target):
            task = Task(level, target, in_channels=1, out_channels=1 if target == "binary" else 2)
            try:
                factory(nn.Identity(), task)
            except _REFUSALS as error:
                reasons.append(str(error))
            else:
                return
    for reason in reasons:
        if re.split(r"\W", reason, maxsplit=1)[0] in arguments:
            raise UsageError(_of_argument("module", reason, arguments))
