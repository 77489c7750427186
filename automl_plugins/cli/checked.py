"""A command's settings, checked as far as that can be done without importing what they name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from automl_plugins import registry
from automl_plugins.cli.checks import check_call, check_class, check_keys, convert, shown
from automl_plugins.cli.errors import UsageError
from automl_plugins.cli.kinds import Kind, union
from automl_plugins.cli.plugins import STUDY, check_part, check_plugin, expected, one_of
from automl_plugins.cli.search_keys import SEARCH, SUPPLIED
from automl_plugins.cli.settings import plain
from automl_plugins.cli.signatures import method, signature
from automl_plugins.cli.source import Definition, resolve
from automl_plugins.system.nearest import did_you_mean
from automl_plugins.training.distribution import PACKAGE

PLUGINS: dict[str, tuple[str, tuple[str, ...]]] = {
    "space": ("spaces", ()),
    "data": ("data", ()),
    "module": ("modules", ("network", "task")),
}
"""Key -> the group of its names, and the arguments that the program supplies."""
TRAINER = f"{PACKAGE}.Trainer"
TASK = "automl_plugins.spaces.task.Task"


def parameters(path: str) -> tuple[str, ...]:
    """The arguments of a class of ours, from its source."""
    definition = resolve(path)
    return () if definition is None else tuple(signature(definition).parameters)


STUDY_KEYS = parameters(STUDY)
"""The keys of a study's configuration."""


def check_study(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Check any of `Study`'s arguments; `folder` may be missing.

    Returns:
        Those that are given, with plugins as class paths.

    Raises:
        UsageError: whatever is wrong with them.
    """
    return check_some(settings, needed=("space", "data"))


def check_some(settings: Mapping[str, Any], needed: Collection[str] = ()) -> dict[str, Any]:
    """Check some of `Study`'s arguments.

    Args:
        settings: those that are given.
        needed: what must be among them; where it is empty, a plugin may have arguments and no name yet.

    Returns:
        Those that are given, with plugins as class paths.

    Raises:
        UsageError: whatever is wrong with them.
    """
    check_keys(settings, STUDY_KEYS, near=("config", "print_config"))
    for key in needed:
        if settings.get(key) is None:
            raise UsageError(f"{key} is missing; {one_of(PLUGINS[key][0])}")
    checked = check_plugins(settings, some=not needed)
    if settings.get("trainer") is not None:
        checked["trainer"] = check_trainer(settings["trainer"])
    for key in ("sampler", "pruner"):
        if settings.get(key) is not None and (needed or _is_named(settings[key])):
            checked[key] = check_part(key, settings[key])
    apart = [*PLUGINS, "trainer", "sampler", "pruner"]
    if isinstance(settings.get("reward"), Mapping):
        checked["reward"] = plain(settings["reward"])  # its names are its own, see `objectives.goal`
        apart.append("reward")
    rest = {key: value for key, value in settings.items() if key not in apart}
    checked |= check_call(STUDY, rest, supplied=apart, elsewhere=["folder"] if needed else STUDY_KEYS)
    check_references(checked.get("references"))
    return {key: value for key, value in checked.items() if value is not None}


def _is_named(setting: Any) -> bool:
    """Whether a plugin's setting says which one it is."""
    return not isinstance(setting, Mapping) or "class_path" in setting


def check_plugins(
    settings: Mapping[str, Any], keys: Collection[str] = tuple(PLUGINS), some: bool = False
) -> dict[str, Any]:
    """Check those of the space, the data and the module that are given.

    Args:
        settings: with other keys, too.
        keys: which of the three.
        some: one that has arguments and no name yet is left out: what it is, is said in another place.

    Raises:
        UsageError: whatever is wrong with them.
    """
    checked = {}
    for key, (group, supplied) in PLUGINS.items():
        setting = settings.get(key) if key in keys else None
        if setting is None or (some and not _is_named(setting)):
            continue
        if key == "module" and not _is_named(setting):
            checked[key] = check_default_module(setting)
        else:
            checked[key] = check_plugin(key, group, setting, supplied=supplied)
    return checked


def check_default_module(setting: Mapping[str, Any]) -> dict[str, Any]:
    """Check arguments of the module that is registered for the data's task, whichever it will be.

    Raises:
        UsageError: no registered module takes one of them.
    """
    given = {**setting, **(setting.get("init_args") or {})}
    given.pop("init_args", None)
    taken: dict[str, list[Kind]] = {}
    for name in registry.names("modules"):
        definition = resolve(registry.where("modules", name).replace(":", "."))
        for argument, parameter in (signature(definition).parameters if definition is not None else {}).items():
            taken.setdefault(argument, []).append(parameter.kind)
    check_keys(given, [name for name in taken if name not in PLUGINS["module"][1]], "module.")
    return {name: convert(f"module.{name}", value, union(*taken[name])) for name, value in given.items()}


def check_search(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Check the settings of a search, as far as they are given.

    Returns:
        Those that are given, with plugins as class paths.

    Raises:
        UsageError: whatever is wrong with them.
    """
    checked = check_plugins(settings, some=True)
    if settings.get("trainer") is not None:
        checked["trainer"] = check_trainer(settings["trainer"])
    given = settings.get("search") or {}
    if isinstance(given, Mapping) and "class_path" not in given:
        rest = {key: value for key, value in given.items() if key != "strategy"}
        valid = [key for key in parameters(SEARCH) if key not in SUPPLIED]
        check_keys(rest, valid, "search.")
        checked["search"] = check_call(SEARCH, rest, "search.", supplied=("strategy", *SUPPLIED))
        if given.get("strategy") is not None:
            checked["search"]["strategy"] = check_plugin("search.strategy", "strategies", given["strategy"])
    if settings.get("seed") is not None:
        checked["seed"] = check_seed("seed", settings["seed"])
    return checked


def check_references(names: Any) -> None:
    """Refuse references that do not exist.

    Raises:
        UsageError: there is one.
    """
    known = registry.names("references")
    for name in names or ():
        if name not in known:
            raise UsageError(f"references: there is no {name!r}; {did_you_mean(str(name), known)}")


def check_trainer(settings: Any) -> dict[str, Any]:
    """Check the arguments of Lightning's Trainer.

    Raises:
        UsageError: one is unknown, of the wrong type, or names a class of another kind.
    """
    # A flag `--trainer 3` over a mapping reads like the name of a class.
    name = settings.get("class_path") if isinstance(settings, Mapping) else settings
    if name is not None:
        raise UsageError(f"trainer is a mapping of arguments of Lightning's Trainer; got {shown(name)}")
    checked = check_call(TRAINER, settings, "trainer.")
    ends = ("max_time", "max_steps", "fast_dev_run")
    if checked.get("max_epochs") == -1 and all(checked.get(key) in (None, -1, False) for key in ends):
        raise UsageError("trainer.max_epochs=-1 never ends; give a number of epochs, or trainer.max_steps or max_time")
    return checked


COMMANDS = ("fit", "validate", "test", "predict")
"""The commands of LightningCLI."""
TAKEN = ("self", "model", "datamodule", "dataloaders", "train_dataloaders", "val_dataloaders")
"""Arguments of the Trainer's methods that the program supplies."""
_OPTIMIZERS = {
    "optimizer": ("torch.optim.Optimizer", ("params",)),
    "lr_scheduler": ("torch.optim.lr_scheduler.LRScheduler", ("optimizer",)),
}


def trainer_method(command: str) -> Definition | None:
    """The Trainer's method of a command."""
    trainer = resolve(TRAINER)
    return None if trainer is None else method(trainer, command)


def own_arguments(command: str) -> list[str]:
    """The arguments of the Trainer's method that a command line can give."""
    definition = trainer_method(command)
    return [] if definition is None else [name for name in signature(definition).parameters if name not in TAKEN]


def check_fit(settings: Mapping[str, Any], command: str, some: bool = False) -> dict[str, Any]:
    """Check the arguments of one of LightningCLI's commands; what only a study takes is known and left out.

    Args:
        settings: those that are given.
        command: its name.
        some: a plugin may have arguments and no name yet.

    Returns:
        Those that are given, with plugins as class paths.

    Raises:
        UsageError: whatever is wrong with them.
    """
    own = own_arguments(command)
    known = ("architecture", "space", "data", "module", "trainer", "seed_everything", *_OPTIMIZERS, *own)
    check_keys(settings, [*known, *STUDY_KEYS, "search"], near=("config", "print_config"))
    checked = check_plugins(settings, some=some)
    if settings.get("trainer") is not None:
        checked["trainer"] = check_trainer(settings["trainer"])
    seed = settings.get("seed_everything", settings.get("seed"))
    if seed is not None:
        checked["seed_everything"] = check_seed("seed_everything", seed)
    for key, (base, supplied) in _OPTIMIZERS.items():
        if settings.get(key) is not None:
            value = {"class_path": settings[key]} if isinstance(settings[key], str) else settings[key]
            if not isinstance(value, Mapping) or not isinstance(value.get("class_path"), str):
                raise UsageError(f"{key}={shown(value)}: it is a class of {base.rpartition('.')[0]}")
            checked[key] = check_class(key, value, supplied, expected("", base))
    further = {key: settings[key] for key in own if settings.get(key) is not None}
    return checked | check_call(trainer_method(command), further, supplied=TAKEN)


def check_seed(key: str, value: Any) -> Any:
    """Check a seed; LightningCLI takes true for a random one.

    Raises:
        UsageError: it is none.
    """
    if key == "seed_everything" and isinstance(plain(value), bool):
        return plain(value)
    seed = convert(key, value, int)
    if seed < 0:
        raise UsageError(f"{key} is at least 0; got {seed}")
    return seed
