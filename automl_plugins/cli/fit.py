"""`automl-plugins fit`, `validate`, `test`, `predict`: LightningCLI for an architecture that was found."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError

from automl_plugins.cli.checked import COMMANDS, PLUGINS, check_fit
from automl_plugins.cli.checks import convert
from automl_plugins.cli.configuration import ModulePart, Part, TrainerPart, is_bare, try_module
from automl_plugins.cli.console import architecture_in, output, read_architecture
from automl_plugins.cli.errors import UsageError, told_briefly, without_deprecations
from automl_plugins.cli.kept import keep
from automl_plugins.cli.plugins import one_of
from automl_plugins.cli.settings import Given, flattened, merge, plain, read, read_yaml
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Task
from automl_plugins.studies.folder import RunFolder
from automl_plugins.training import fit as training
from automl_plugins.training.fit import ModuleFactory
from automl_plugins.training.lightning import pl
from automl_plugins.training.registered_module import RegisteredModule

_cli = importlib.import_module(f"{pl.__name__}.cli")


def found_network(
    data: pl.LightningDataModule,
    architecture: str,
    space: SearchSpace,
    module: ModuleFactory | None = None,
    module_arguments: dict[str, Any] | None = None,
) -> pl.LightningModule:
    """The LightningModule around the network of an architecture.json.

    Args:
        data: the datamodule; it says what the task is.
        architecture: the file.
        space: the space that it is of.
        module: makes the LightningModule; the registered one for the task where left out.
        module_arguments: arguments of the registered one.
    """
    task: Task = getattr(data, "task")  # noqa: B009 - Lightning's class does not declare it
    factory: ModuleFactory = module or RegisteredModule(module_arguments)
    return factory(space.network(read_architecture(space, Path(architecture)), task), task)


class _FitCLI(_cli.LightningCLI):  # type: ignore[misc, name-defined]  # one of two distributions, see _lightning
    """LightningCLI whose model is an architecture's network, on the task of the data."""

    def __init__(self, print_config: bool, **kwargs: Any) -> None:
        self._prints_config = print_config
        super().__init__(**kwargs)

    def add_arguments_to_parser(self, parser: Any) -> None:
        parser.link_arguments("data", "model.data", apply_on="instantiate")

    def parse_arguments(self, parser: Any, args: Any) -> None:
        # Lightning's own would warn that there are arguments on the command line beside these.
        self.config = parser.parse_object(args)
        if self._prints_config:
            command = self.config.subcommand
            output().out(self._parser(command).dump(self.config[command], skip_unset=False), end="")
            raise SystemExit(0)


class _KeepConfig(_cli.SaveConfigCallback):  # type: ignore[misc, name-defined]  # one of two distributions
    """Keeps the whole configuration beside the logs, as Lightning does, but never over somebody's own file."""

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        # Where no logger has a folder, this is the working directory, which has a config.yaml of its user's perhaps.
        keep(Path(trainer.log_dir or trainer.default_root_dir) / "config.yaml", self.parser.dump(self.config))


def run(arguments: list[str], command: str = "fit") -> int:
    """Run one of LightningCLI's commands.

    Args:
        arguments: what follows it.
        command: `fit`, `validate`, `test` or `predict`.

    Returns:
        The exit code.

    Raises:
        UsageError: a mistake in the arguments.
    """
    given = read(arguments)
    settings = _checked(given, command)
    try:
        with told_briefly("", 2, ArgumentError), without_deprecations():
            _FitCLI(
                print_config="print_config" in given.switches,
                model_class=found_network,
                datamodule_class=pl.LightningDataModule,
                subclass_mode_data=True,
                save_config_callback=_KeepConfig,
                save_config_kwargs={"save_to_log_dir": False},
                parser_kwargs={"exit_on_error": False, **{name: {"exit_on_error": False} for name in COMMANDS}},
                args={"subcommand": command, command: settings},
            )
    except SystemExit as end:
        if end.code:
            raise
    return 0


def _checked(given: Given, command: str) -> dict[str, Any]:
    """The settings for LightningCLI, every one checked."""
    settings = flattened(given.settings)
    check_fit(settings, command, some=True)
    path = _architecture_path(given, settings)
    beside = RunFolder(path.parent).config
    if not given.configs and beside.is_file():
        settings = merge(flattened(read_yaml(beside)), settings)
    if settings.get("data") is None:
        raise UsageError(f"data is missing; {one_of('data')}")
    settings = {**settings, "space": _space_setting(path, settings)}
    checked = check_fit(settings, command)
    plugins: dict[str, Any] = {key: plain(checked.pop(key)) for key in PLUGINS if key in checked}
    trainer = plain(checked.get("trainer") or {})
    parts = [Part("data", pl.LightningDataModule, plugins["data"]), Part("space", SearchSpace, plugins["space"])]
    module = ModulePart(plugins["module"]) if "module" in plugins else None
    trainer_part = TrainerPart({**trainer, "logger": False})
    parts[0].make()
    read_architecture(parts[1].make(), path)
    if module is not None:
        try_module(module.make(), plugins["module"].get("init_args", plugins["module"]))
    # LightningCLI makes its Trainer after the data have been read, which is late for a wrong value.
    with told_briefly("trainer", 2, Exception), without_deprecations(), training.quiet_lightning():
        pl.Trainer(**trainer_part.make())
    model = {"architecture": str(path), "space": plugins["space"]}
    if "module" in plugins:
        model["module_arguments" if is_bare(plugins["module"]) else "module"] = plugins["module"]
    checked |= {"data": plugins["data"], "model": model}
    whole: dict[str, Any] = plain(checked)
    return whole


def _architecture_path(given: Given, settings: Mapping[str, Any]) -> Path:
    """The architecture that is named, that beside the config, or that of the config's folder."""
    beside = [RunFolder(config.parent).architecture for config in given.configs]
    if settings.get("architecture") is not None:
        path = Path(convert("architecture", settings["architecture"], str))
    elif any(each.is_file() for each in beside):
        path = next(each for each in reversed(beside) if each.is_file())
    elif settings.get("folder") is not None:
        path = RunFolder(Path(convert("folder", settings["folder"], str))).architecture
    else:
        raise UsageError("architecture is missing; it is an architecture.json, such as a study leaves in its folder")
    if path.is_dir():
        path = RunFolder(path).architecture
    if not path.is_file():
        found = RunFolder(path.parent).found.architecture
        hint = f"; the winner was made by hand, and the best that was found is {found}" if found.is_file() else ""
        raise UsageError(f"architecture={str(path)!r}: there is no such file{hint}")
    return path


def _space_setting(path: Path, settings: Mapping[str, Any]) -> Any:
    """The setting of the architecture's space: as given, else by the name in the file."""
    name = architecture_in(path).space
    setting = settings.get("space") or name
    return {"class_path": name, **setting} if isinstance(setting, Mapping) and "class_path" not in setting else setting
