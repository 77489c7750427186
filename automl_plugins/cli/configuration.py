"""The configuration of a study: `Study`'s own arguments, checked, completed, kept and compared."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace
from torch import nn

from automl_plugins import training
from automl_plugins._lightning import pl
from automl_plugins.cli.checks import check_call, check_keys, shown
from automl_plugins.cli.errors import UsageError, told_briefly, without_deprecations
from automl_plugins.cli.plugins import check_part, check_plugin, one_of
from automl_plugins.cli.settings import Given, merge, plain, read_yaml
from automl_plugins.description import first_difference
from automl_plugins.run_folder import RunFolder, write_whole
from automl_plugins.space import SearchSpace
from automl_plugins.study import Study
from automl_plugins.task import Level, Target, Task
from automl_plugins.training import ModuleFactory

_PLUGINS: dict[str, tuple[str, type, tuple[str, ...]]] = {
    "space": ("spaces", SearchSpace, ()),
    "data": ("data", pl.LightningDataModule, ()),
    "module": ("modules", pl.LightningModule, ("network", "task")),
}
STUDY_KEYS = tuple(inspect.signature(Study).parameters)
"""The keys of a study's configuration."""

_MAY_CHANGE = frozenset(
    ("folder", "trials", "workers", "finalists", "seeds", "references", "random_search", "max_equal_failures")
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
        check_keys(settings, STUDY_KEYS, near=("config", "print_config"))
        for key in ("space", "data"):
            if settings.get(key) is None:
                raise UsageError(f"{key} is missing; {one_of(_PLUGINS[key][0])}")
        checked = {
            key: check_plugin(key, group, settings[key], base, supplied)
            for key, (group, base, supplied) in _PLUGINS.items()
            if settings.get(key) is not None
        }
        if settings.get("trainer") is not None:
            checked["trainer"] = check_trainer(settings["trainer"])
        if "folder" not in settings:
            settings = {**settings, "folder": str(folder or Path("runs", short_name(settings["data"])))}
        for key in ("sampler", "pruner"):
            if isinstance(settings.get(key), Mapping):
                checked[key] = check_part(key, settings[key])
        rest = {key: value for key, value in settings.items() if key not in checked and key not in _PLUGINS}
        checked |= check_call(Study, rest, supplied=[*_PLUGINS, *checked])
        checked = {key: value for key, value in checked.items() if value is not None}
        self.parser = study_parser()
        # What is wrong now is what only jsonargparse can know, such as the arguments of a nested class.
        with told_briefly("", 2, ArgumentError, ValueError, TypeError), without_deprecations():
            self.values: Namespace = self.parser.parse_object(plain(checked))
        check_files(self.as_dict())

    def dump(self) -> str:
        """The whole configuration, as YAML that starts the same run."""
        values = self.values.clone()
        for key in ("config", "print_config"):
            values.pop(key, None)
        return str(self.parser.dump(values, skip_unset=False))

    def as_dict(self) -> dict[str, Any]:
        """The whole configuration as plain values."""
        content: dict[str, Any] = yaml.safe_load(self.dump())
        return content

    def study(self) -> Study:
        """The study; nothing is read or written yet.

        Raises:
            UsageError: a value out of range, or a name that does not exist.
        """
        settings = self.as_dict()
        made = {
            key: make(key, hint, settings[key])
            for key, hint in (
                ("space", SearchSpace),
                ("data", pl.LightningDataModule),
                ("module", ModuleFactory),
                ("task", Task),
                ("trainer", dict[str, Any]),
            )
            if settings[key] is not None
        }
        if "module" in made:
            try_module(made["module"], settings["module"].get("init_args") or {})
        with told_briefly("", 2, ValueError, TypeError):
            study = Study(**{**settings, "folder": Path(settings["folder"]), **made})
        with told_briefly("trainer", 2, Exception), without_deprecations(), training.quiet_lightning():
            pl.Trainer(**{**training.LEAN, **study.trainer})
        return study

    def keep(self, folder: RunFolder) -> None:
        """Write the configuration into a run's folder, unless the folder holds a study of another one.

        Raises:
            UsageError: it does; the message names the first setting that differs.
        """
        if folder.config.exists():
            kept, mine = (
                {key: value for key, value in config.as_dict().items() if key not in _MAY_CHANGE}
                for config in (StudyConfig(read_yaml(folder.config)), self)
            )
            refuse_another(folder, kept, mine, "study")
        with told_briefly("folder", 2, OSError):
            write_whole(folder.config, self.dump())


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


def check_trainer(settings: Any) -> dict[str, Any]:
    """Check the arguments of Lightning's Trainer.

    Raises:
        UsageError: one is unknown or of the wrong type.
    """
    # A flag `--trainer 3` over a mapping reads like the name of a class.
    name = settings.get("class_path") if isinstance(settings, Mapping) else settings
    if name is not None:
        raise UsageError(f"trainer is a mapping of arguments of Lightning's Trainer; got {shown(name)}")
    return check_call(pl.Trainer, settings, "trainer.")


def make(key: str, hint: Any, setting: Any) -> Any:
    """Make what a checked setting stands for.

    Raises:
        UsageError: it refuses an argument; the message names the argument with its key.
    """
    arguments = setting.get("init_args", setting) if isinstance(setting, Mapping) else {}
    try:
        with without_deprecations():
            parser = ArgumentParser(exit_on_error=False)
            parser.add_argument(f"--{key}", type=hint)
            return parser.instantiate(parser.parse_object({key: setting}))[key]
    except (ArgumentError, ValueError, TypeError) as error:
        raise UsageError(_of_argument(key, str(error), arguments)) from error


def _of_argument(key: str, message: str, arguments: Collection[str]) -> str:
    """A constructor's message, after the key that it is about."""
    first = re.split(r"\W", message, maxsplit=1)[0]
    return f"{key}.{message}" if first in arguments else f"{key}: {message}"


def make_space(value: Any) -> SearchSpace:
    """A space alone, from its setting.

    Raises:
        UsageError: whatever is wrong with it.
    """
    space: SearchSpace = make("space", SearchSpace, plain(check_plugin("space", "spaces", value, SearchSpace)))
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
