"""`automl-plugins fit`, `validate`, `test`, `predict`: LightningCLI for an architecture that was found."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError

from automl_plugins import registry, training
from automl_plugins._lightning import pl
from automl_plugins.architecture import Architecture
from automl_plugins.cli.checks import check_call, check_keys, convert, shown
from automl_plugins.cli.configuration import STUDY_KEYS, check_trainer, make, make_space, try_module
from automl_plugins.cli.console import output, read_architecture
from automl_plugins.cli.errors import UsageError, told_briefly, without_deprecations
from automl_plugins.cli.plugins import check_plugin, one_of
from automl_plugins.cli.settings import Given, merge, plain, read, read_yaml
from automl_plugins.run_folder import RunFolder
from automl_plugins.space import SearchSpace
from automl_plugins.task import Task
from automl_plugins.training import ModuleFactory

_cli = importlib.import_module(f"{pl.__name__}.cli")

_HELP = """\
usage: automl-plugins {command} --architecture runs/x/architecture.json [--config FILE] [--key value]

LightningCLI's `{command}` for the network of an architecture.json. The config.yaml beside the file, which a study
or a search writes, gives the space, the data, the module, the Trainer's arguments and the seed; so does that
config itself, whose folder then holds the architecture:

  automl-plugins fit --architecture runs/solubility/architecture.json
  automl-plugins fit --config runs/solubility/config.yaml --trainer.max_epochs 200
  automl-plugins test --config runs/solubility/config.yaml --ckpt_path lightning_logs/version_0/checkpoints/x.ckpt

options:
  --architecture FILE      what to train
  --space NAME             its space, with arguments as --space.layers 3
  --data NAME              the datamodule, with arguments as --data.batch_size 32; it says what the task is
  --module NAME            the LightningModule around the network, with arguments as --module.learning_rate 0.01;
                           the registered one for the data's task where left out
  --trainer.KEY VALUE      an argument of Lightning's Trainer; --trainer.callbacks+=EarlyStopping adds to a list
  --optimizer, --lr_scheduler CLASS
                           in place of the module's own
  --seed_everything N      the seed
  {arguments}
  --config FILE            YAML with any of these keys; may come several times
  --print_config           print the whole configuration and end

Checkpoints, loggers and lightning_logs are Lightning's own. A checkpoint opens with
`Module.load_from_checkpoint(path, network=space.network(architecture, task), task=task)`.
"""


def found_network(
    data: pl.LightningDataModule, architecture: str, space: SearchSpace, module: ModuleFactory | None = None
) -> pl.LightningModule:
    """The LightningModule around the network of an architecture.json.

    Args:
        data: the datamodule; it says what the task is.
        architecture: the file.
        space: the space that it is of.
        module: makes the LightningModule; the registered one for the task where left out.
    """
    task: Task = getattr(data, "task")  # noqa: B009 - Lightning's class does not declare it
    factory: ModuleFactory = module or registry.load("modules", f"{task.level}-{task.target}")
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
    own = _own_arguments(command)
    if "help" in given.switches:
        output().out(_HELP.format(command=command, arguments="".join(f"--{name} VALUE  " for name in own)), end="")
        return 0
    settings = _checked(given, command, own)
    try:
        with told_briefly("", 2, ArgumentError), without_deprecations():
            _FitCLI(
                print_config="print_config" in given.switches,
                model_class=found_network,
                datamodule_class=pl.LightningDataModule,
                subclass_mode_data=True,
                save_config_kwargs={"overwrite": True},
                parser_kwargs={"exit_on_error": False, **{name: {"exit_on_error": False} for name in _COMMANDS}},
                args={"subcommand": command, command: settings},
            )
    except SystemExit as end:
        return int(end.code or 0)
    return 0


_TAKEN = ("self", "model", "datamodule", "dataloaders", "train_dataloaders", "val_dataloaders")
_COMMANDS = ("fit", "validate", "test", "predict")


def _own_arguments(command: str) -> dict[str, Any]:
    """The Trainer method's own arguments that a command line can give."""
    parameters = inspect.signature(getattr(pl.Trainer, command)).parameters
    return {name: each for name, each in parameters.items() if name not in _TAKEN}


def _checked(given: Given, command: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """The settings for LightningCLI, every one checked."""
    settings = _flattened(given.settings)
    known = ("architecture", "space", "data", "module", "trainer", "seed_everything", "optimizer", "lr_scheduler", *own)
    check_keys(settings, [*known, *STUDY_KEYS, "search"], near=("config", "print_config"))
    path = _architecture_path(settings)
    beside = RunFolder(path.parent).config
    if not given.configs and beside.is_file():
        settings = merge(_flattened(read_yaml(beside)), settings)
    if settings.get("data") is None:
        raise UsageError(f"data is missing; {one_of('data')}")
    space = _check_architecture(path, settings)
    checked: dict[str, Any] = {"model": {"architecture": str(path), "space": space}}
    checked["data"] = check_plugin("data", "data", settings["data"], pl.LightningDataModule)
    make("data", pl.LightningDataModule, plain(checked["data"]))
    if settings.get("module") is not None:
        module = check_plugin("module", "modules", settings["module"], pl.LightningModule, ("network", "task"))
        try_module(make("module", ModuleFactory, plain(module)), module["init_args"])
        checked["model"]["module"] = module
    if settings.get("trainer") is not None:
        checked["trainer"] = check_trainer(settings["trainer"])
        # LightningCLI makes its Trainer after the data have been read, which is late for a wrong value.
        with told_briefly("trainer", 2, Exception), without_deprecations(), training.quiet_lightning():
            pl.Trainer(**{**make("trainer", dict[str, Any], plain(checked["trainer"])), "logger": False})
    seed = settings.get("seed_everything", settings.get("seed"))
    if seed is not None:
        checked["seed_everything"] = convert("seed_everything", seed, int | bool)
    further = {key: settings[key] for key in own if settings.get(key) is not None}
    checked |= check_call(getattr(pl.Trainer, command), further, supplied=_TAKEN)
    checked |= {key: plain(settings[key]) for key in ("optimizer", "lr_scheduler") if settings.get(key) is not None}
    return dict(plain(checked))


def _flattened(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in which what Lightning's saved config has under `model` stands beside the rest."""
    model = settings.get("model")
    if model is None:
        return dict(settings)
    if not isinstance(model, Mapping):
        raise UsageError(f"model={shown(model)}: name the LightningModule as `module`")
    check_keys(model, ("architecture", "space", "module"), "model.")
    return merge({key: value for key, value in settings.items() if key != "model"}, model)


def _architecture_path(settings: Mapping[str, Any]) -> Path:
    """The architecture that is named, or that of the study's folder."""
    if settings.get("architecture") is not None:
        path = Path(str(settings["architecture"]))
    elif settings.get("folder") is not None:
        path = RunFolder(Path(str(settings["folder"]))).architecture
    else:
        raise UsageError("architecture is missing; it is an architecture.json, such as a study leaves in its folder")
    if not path.is_file():
        raise UsageError(f"architecture={str(path)!r}: there is no such file")
    return path


def _check_architecture(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The setting of the architecture's space, after a look whether it is one of it."""
    with told_briefly(str(path), 2, ValueError, OSError):
        name = Architecture.from_json(path.read_text(encoding="utf-8")).space
    setting = settings.get("space") or name
    if isinstance(setting, Mapping) and "class_path" not in setting:
        setting = {"class_path": name, **setting}
    read_architecture(make_space(setting), path)
    return check_plugin("space", "spaces", setting, SearchSpace)
