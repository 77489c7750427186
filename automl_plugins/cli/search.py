"""`automl-plugins search`: differentiable search, through LightningCLI or inside a script that stays as it is."""

from __future__ import annotations

import importlib
import inspect
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import docstring_parser
import yaml
from jsonargparse import ArgumentError
from rich.console import Console

from automl_plugins import registry, training
from automl_plugins._lightning import pl
from automl_plugins.cli import attach
from automl_plugins.cli.checks import check_call, check_keys, convert, shown
from automl_plugins.cli.configuration import (
    check_files,
    check_trainer,
    make,
    make_space,
    refuse_another,
    short_name,
    try_module,
)
from automl_plugins.cli.console import draw_architecture, output, read_architecture
from automl_plugins.cli.errors import UsageError, told_briefly, without_deprecations
from automl_plugins.cli.plugins import check_plugin, one_of
from automl_plugins.cli.settings import Given, plain, read, read_yaml
from automl_plugins.report.search import SearchSummary
from automl_plugins.run_folder import RunFolder, write_whole
from automl_plugins.search import ArchitectureSearch, Strategy
from automl_plugins.space import SearchSpace
from automl_plugins.supernet import SupernetSpace
from automl_plugins.task import Task
from automl_plugins.training import ModuleFactory

_cli = importlib.import_module(f"{pl.__name__}.cli")

SEARCH_KEYS = ("space", "data", "module", "trainer", "search", "seed", "folder")
"""The keys of a search's configuration."""

_SUPPLIED = ("path", "seed")
"""Arguments of `ArchitectureSearch` that follow from the folder and the seed."""

_HELP_WIDTH = 92

_HELP = """\
usage: automl-plugins search --config FILE [--key value]
       automl-plugins search --target net --space NAME [--key value] -- python train.py ...

Learn an architecture by gradients: a supernet is trained once, and its architecture logits with it.

The first form is LightningCLI's fit of the supernet, and takes
  --space NAME             what to search, with arguments as --space.nodes 3 (see `automl-plugins list spaces`)
  --data NAME              the datamodule, with arguments as --data.batch_size 32; it says what the task is
  --module NAME            the LightningModule around the supernet, with arguments as --module.learning_rate 0.01;
                           the registered one for the data's task where left out
  --trainer.KEY VALUE      an argument of Lightning's Trainer; --trainer.callbacks+=EarlyStopping adds to a list
  --search.KEY VALUE       how it is searched:
{search}
  --seed N                 the seed (0)
  --folder F               where the search is kept (runs/<name of the config file>); the same command again goes
                           on from the last epoch
  --config FILE            YAML with any of these keys; may come several times
  --print_config           print the whole configuration and end

The folder then holds config.yaml, architecture.json, search.json and the last checkpoint; `automl-plugins fit`,
`evaluate` and `show` take it as they take a study's.

The second form runs a training script that knows nothing of a search, and stays as it is. Lightning hands it our
callbacks, in which
  --target PATH            is the attribute of its LightningModule that is replaced by the supernet
  --task.KEY VALUE         what a network must fit, where the script's datamodule has no `task`: --task.level graph
--space, --search, --seed, --folder and --config are as above; all else is the script's own.
"""


def run(arguments: list[str], command: str = "search") -> int:
    """Run the command.

    Args:
        arguments: what follows it.
        command: its name.

    Returns:
        The exit code.

    Raises:
        UsageError: a mistake in the arguments.
    """
    own, script = attach.split(arguments)
    given = read(own)
    console = output()
    if "help" in given.switches:
        console.out(_HELP.format(search=_described()), end="")
        return 0
    if script or "target" in given.settings:
        return _search_script(console, given, script)
    settings = _checked(given)
    clock = _Clock()
    try:
        with told_briefly("", 2, ArgumentError), without_deprecations(), training.quiet_lightning():
            cli = _SearchCLI(settings, clock, print_config="print_config" in given.switches)
    except SystemExit as end:
        return int(end.code or 0)
    _fit(cli, clock)
    if cli.trainer.is_global_zero:
        _conclude(cli, settings, clock)
        _show(console, cli.space, cli.folder)
    return 0


def searched_network(
    data: pl.LightningDataModule, space: SupernetSpace, module: ModuleFactory | None = None, seed: int = 0
) -> pl.LightningModule:
    """The LightningModule around the supernet of a space.

    Args:
        data: the datamodule; it says what the task is.
        space: what is searched.
        module: makes the LightningModule; the registered one for the task where left out.
        seed: of the initial logits and of stochastic relaxations.
    """
    task: Task = getattr(data, "task")  # noqa: B009 - Lightning's class does not declare it
    factory: ModuleFactory = module or registry.load("modules", f"{task.level}-{task.target}")
    return factory(space.searchable(task, seed=seed), task)


class _SearchCLI(_cli.LightningCLI):  # type: ignore[misc, name-defined]  # one of two distributions, see _lightning
    """LightningCLI whose model is a supernet, on the task of the data.

    Args:
        settings: checked.
        clock: a callback that takes the time.
        print_config: print the whole configuration and end.
    """

    def __init__(self, settings: dict[str, Any], clock: pl.Callback, print_config: bool) -> None:
        self._settings = settings
        self.folder = RunFolder(Path(settings["folder"]))
        self._prints_config = print_config
        search = {**settings["search"], "path": str(self.folder.architecture), "seed": settings["seed"]}
        trainer = {
            "default_root_dir": str(self.folder.path),
            "logger": {"class_path": "CSVLogger", "init_args": {"save_dir": str(self.folder.path), "name": "logs"}},
            # Without one, the search tells of each epoch in a line.
            "enable_progress_bar": output().is_terminal,
            "enable_model_summary": False,
        }
        super().__init__(
            model_class=searched_network,
            datamodule_class=pl.LightningDataModule,
            subclass_mode_data=True,
            save_config_callback=None,
            trainer_defaults={"callbacks": [clock, make_search(search), _LastCheckpoint(self.folder.checkpoint)]},
            parser_kwargs={"exit_on_error": False},
            auto_configure_optimizers=False,
            run=False,
            args={
                "model": {key: settings[key] for key in ("space", "module", "seed") if key in settings},
                "data": settings["data"],
                "trainer": {**trainer, **settings["trainer"]},
                "seed_everything": settings["seed"],
            },
        )

    @property
    def space(self) -> SupernetSpace:
        """What is searched."""
        space = make_space(self._settings["space"])
        return cast(SupernetSpace, space)

    def add_arguments_to_parser(self, parser: Any) -> None:
        parser.link_arguments("data", "model.data", apply_on="instantiate")

    def parse_arguments(self, parser: Any, args: Any) -> None:
        # Lightning's own would warn that there are arguments on the command line beside these.
        self.config = parser.parse_object(args)

    def before_instantiate_classes(self) -> None:
        """Print the configuration, or keep it; a search that has ended needs no more."""
        whole = yaml.safe_load(self.parser.dump(self.config, skip_unset=False))
        config = {
            "space": whole["model"]["space"],
            "data": whole["data"],
            "module": whole["model"]["module"],
            # What was given: what was not is settled by each command that reads it.
            "trainer": self._settings["trainer"],
            "search": {**_defaults(), **self._settings["search"]},
            "seed": self._settings["seed"],
            "folder": self._settings["folder"],
        }
        text = yaml.safe_dump(config, sort_keys=False)
        if self._prints_config:
            output().out(text)
            raise SystemExit(0)
        if self.folder.config.exists():
            kept, mine = (
                {key: value for key, value in each.items() if key != "folder"}
                for each in (read_yaml(self.folder.config), yaml.safe_load(text))
            )
            refuse_another(self.folder, kept, mine, "search")
        with told_briefly("folder", 2, OSError):
            write_whole(self.folder.config, text)
        if self.folder.search.exists():
            _show(output(), make_space(config["space"]), self.folder)
            raise SystemExit(0)

    def instantiate_classes(self) -> None:
        """Read the data, and make what they need.

        Raises:
            UsageError: the data cannot be had, or the settings do not fit them; its code is 1.
        """
        with told_briefly("", 1, OSError, ImportError, ValueError, RuntimeError):
            super().instantiate_classes()


class _LastCheckpoint(pl.callbacks.Checkpoint):
    """The checkpoint that a search goes on from: after each epoch, the last one after the decoding.

    A search that is killed while it decodes repeats its last epoch, since Lightning would not decode again.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        limits = ((trainer.current_epoch + 1, trainer.max_epochs), (trainer.global_step, trainer.max_steps))
        if not trainer.should_stop and not any(done == limit for done, limit in limits):
            trainer.save_checkpoint(self.path, weights_only=False)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.save_checkpoint(self.path, weights_only=False)


class _Clock(pl.Callback):
    """The time in the training loop, kept in the checkpoints so that a search that was resumed tells all of it."""

    def __init__(self) -> None:
        self.seconds = self.cpu_seconds = 0.0
        self._started: tuple[float, float] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = time.perf_counter() - self.seconds, time.process_time() - self.cpu_seconds

    @property
    def started(self) -> bool:
        """Whether the training loop has been entered."""
        return self._started is not None

    def state_dict(self) -> dict[str, float]:
        if self._started is not None:
            wall, cpu = self._started
            self.seconds, self.cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
        return {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        self.seconds, self.cpu_seconds = state_dict["seconds"], state_dict["cpu_seconds"]


# Settings.


def _checked(given: Given) -> dict[str, Any]:
    """The settings of a search through LightningCLI, every one checked."""
    settings = given.settings
    check_keys(settings, SEARCH_KEYS, near=("config", "print_config", "target"))
    if settings.get("data") is None:
        raise UsageError(f"data is missing; {one_of('data')}")
    checked = {
        **check_search_settings(settings),
        "data": check_plugin("data", "data", settings["data"], pl.LightningDataModule),
        "trainer": check_trainer(settings.get("trainer") or {}),
    }
    make("data", pl.LightningDataModule, plain(checked["data"]))
    if settings.get("module") is not None:
        module = check_plugin("module", "modules", settings["module"], pl.LightningModule, ("network", "task"))
        try_module(make("module", ModuleFactory, plain(module)), module["init_args"])
        checked["module"] = module
    if checked["trainer"].get("enable_checkpointing") is False:
        raise UsageError("trainer.enable_checkpointing=False: a search goes on from its last checkpoint; leave it out")
    with told_briefly("trainer", 2, Exception), without_deprecations(), training.quiet_lightning():
        pl.Trainer(**{**make("trainer", dict[str, Any], plain(checked["trainer"])), "logger": False})
    checked["folder"] = folder_of(given, short_name(settings["data"]))
    check_files(checked)
    return dict(plain(checked))


def check_search_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Check what a search has in a training script and through LightningCLI alike: `space`, `search` and `seed`.

    Raises:
        UsageError: whatever is wrong with them.
    """
    if settings.get("space") is None:
        raise UsageError(f"space is missing; {one_of('spaces')}")
    space = make_space(settings["space"])
    if not isinstance(space, SupernetSpace):
        raise UsageError(
            f"space={short_name(settings['space'])!r}: it has no supernet to learn by gradients; "
            "`automl-plugins study` searches it by trials"
        )
    seed = convert("seed", settings.get("seed", 0), int)
    if seed < 0:
        raise UsageError(f"seed is at least 0; got {seed}")
    search = check_search(settings.get("search") or {})
    make_search({**search, "seed": seed})
    return {"space": check_plugin("space", "spaces", settings["space"], SupernetSpace), "search": search, "seed": seed}


def check_search(given: Any) -> dict[str, Any]:
    """Check the arguments of `ArchitectureSearch`.

    Raises:
        UsageError: whatever is wrong with them.
    """
    # A flag `--search 3` over a mapping reads like the name of a class.
    name = given.get("class_path") if isinstance(given, Mapping) else given
    if name is not None:
        raise UsageError(f"search is a mapping of arguments, such as strategy: darts; got {shown(name)}")
    rest = {key: value for key, value in given.items() if key != "strategy"}
    check_keys(rest, [*_defaults()], "search.")
    checked = check_call(ArchitectureSearch, rest, "search.", supplied=("strategy", *_SUPPLIED))
    strategy = given.get("strategy")
    if strategy is not None:
        plugin = check_plugin("search.strategy", "strategies", strategy, Strategy)
        checked["strategy"] = str(strategy) if isinstance(strategy, str) else plugin
    return dict(plain(checked))


def make_search(settings: Mapping[str, Any]) -> ArchitectureSearch:
    """The callback, from its checked arguments.

    Raises:
        UsageError: one is out of range.
    """
    arguments = dict(settings)
    if isinstance(arguments.get("strategy"), Mapping):
        arguments["strategy"] = make("strategy", Strategy, arguments["strategy"])
    with told_briefly("search", 2, ValueError, TypeError):
        return ArchitectureSearch(**arguments)


def folder_of(given: Given, otherwise: str) -> str:
    """The folder that is given, or one named after the last YAML file, or after something else.

    Raises:
        UsageError: it is no text.
    """
    stem = given.configs[-1].stem if given.configs else otherwise
    return str(convert("folder", given.settings.get("folder", str(Path("runs", stem))), str))


def _defaults() -> dict[str, Any]:
    """The arguments of `ArchitectureSearch` that are settings, with their defaults."""
    parameters = inspect.signature(ArchitectureSearch).parameters
    return {name: each.default for name, each in parameters.items() if name not in _SUPPLIED}


def _described() -> str:
    """The arguments of `ArchitectureSearch`, as lines of the help."""
    meanings = {
        each.arg_name: each.description or "" for each in docstring_parser.parse(str(ArchitectureSearch.__doc__)).params
    }
    lines = []
    for name, value in _defaults().items():
        text = f"{' '.join(meanings.get(name, '').split())} ({'null' if value is None else value})"
        first, *rest = textwrap.wrap(text, _HELP_WIDTH)
        lines += [f"    {name:<22} {first}", *(" " * 27 + line for line in rest)]
    return "\n".join(lines)


# The search.


def _fit(cli: _SearchCLI, clock: _Clock) -> None:
    """Train, from the last checkpoint where there is one.

    Raises:
        UsageError: the project cannot be searched so; its code is 1.
        KeyboardInterrupt: Ctrl-C; the folder's checkpoint is that of the last whole epoch.
    """
    last = cli.folder.checkpoint
    try:
        with training.without_advice():
            ckpt_path = last if last.exists() else None
            cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=ckpt_path, weights_only=True)
    except SystemExit:  # so Lightning answers Ctrl-C
        raise KeyboardInterrupt from None
    except ValueError as error:
        if clock.started:
            raise
        raise UsageError(str(error), code=1) from error


def _conclude(cli: _SearchCLI, settings: Mapping[str, Any], clock: _Clock) -> None:
    """Write the summary."""
    architecture = read_architecture(cli.space, cli.folder.architecture)
    summary = SearchSummary(
        space=cli.space.name,
        data=type(cli.datamodule).__name__,
        strategy=short_name(settings["search"].get("strategy", _defaults()["strategy"])),
        epochs=cli.trainer.current_epoch,
        steps=cli.trainer.global_step,
        **clock.state_dict(),
        supernet_parameters=sum(each.numel() for each in cli.model.parameters()),
        network_parameters=cli.space.num_parameters(architecture, cli.datamodule.task),
        metrics={name: float(value) for name, value in cli.trainer.callback_metrics.items()},
    )
    write_whole(cli.folder.search, summary.to_json())


def _show(console: Console, space: SearchSpace, folder: RunFolder) -> None:
    for line in SearchSummary.from_json(folder.search.read_text(encoding="utf-8")).lines():
        console.out(line)
    console.out("\nfound:")
    draw_architecture(console, space, folder.architecture)
    kept = (folder.architecture, folder.config, folder.search, folder.checkpoint)
    console.out("\nkept: " + " ".join(str(path) for path in kept if path.exists()))
    console.out("train it over seeds, or once:")
    console.out(f"  automl-plugins evaluate {folder.path} --seeds 3")
    console.out(f"  automl-plugins fit --config {folder.config}")


def _search_script(console: Console, given: Given, script: list[str]) -> int:
    """Search in a training script that stays as it is."""
    settings = given.settings
    check_keys(settings, ("target", "space", "task", "search", "seed", "folder"), near=("config", "print_config"))
    found = check_search_settings(settings)
    rest = attach.check_script_settings(settings, script)
    folder = RunFolder(Path(folder_of(given, attach.name_of(script))))
    config = {**plain({**found, **rest}), "folder": str(folder.path), "command": script}
    text = yaml.safe_dump(config, sort_keys=False)
    if "print_config" in given.switches:
        console.out(text)
        return 0
    attach.refuse_foreign(folder)
    with told_briefly("folder", 2, OSError):
        write_whole(folder.config, text)
    search = {**config["search"], "seed": config["seed"], "path": str(folder.architecture.absolute())}
    attach.launch(script, {**config, "search": search}, folder.architecture)
    console.out("found:")
    draw_architecture(console, make_space(config["space"]), folder.architecture)
    console.out(f"\nkept: {folder.architecture} {folder.config}")
    console.out("train it in the same script:")
    console.out(f"  automl-plugins attach --architecture {folder.architecture} -- {attach.shown(script)}")
    return 0
