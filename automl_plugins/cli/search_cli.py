"""LightningCLI around a supernet: it makes the datamodule, the LightningModule and the Trainer of a search."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml

from automl_plugins.cli.configuration import make_space, refuse_another
from automl_plugins.cli.console import output
from automl_plugins.cli.errors import told_briefly
from automl_plugins.cli.search_settings import kept_config, make_search, search_defaults
from automl_plugins.cli.settings import read_yaml
from automl_plugins.report.search import SearchSummary
from automl_plugins.search import report
from automl_plugins.search.checkpoint_files import LastCheckpoint, LastTwo, WholeCheckpoints
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.task import Task
from automl_plugins.studies.folder import RunFolder
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.system.files import write_whole
from automl_plugins.training.fit import ModuleFactory
from automl_plugins.training.lightning import pl
from automl_plugins.training.registered_module import RegisteredModule

_cli = importlib.import_module(f"{pl.__name__}.cli")


def searched_network(
    data: pl.LightningDataModule,
    space: SupernetSpace,
    module: ModuleFactory | None = None,
    seed: int = 0,
    module_arguments: dict[str, Any] | None = None,
) -> pl.LightningModule:
    """The LightningModule around the supernet of a space.

    Args:
        data: the datamodule; it says what the task is.
        space: what is searched.
        module: makes the LightningModule; the registered one for the task where left out.
        seed: of the initial logits and of stochastic relaxations.
        module_arguments: arguments of the registered one.
    """
    task: Task = getattr(data, "task")  # noqa: B009 - Lightning's class does not declare it
    factory: ModuleFactory = module or RegisteredModule(module_arguments)
    return factory(space.searchable(task, seed=seed), task)


_OF_THE_MODEL = ("space", "module", "module_arguments", "seed")


class HasEnded(Exception):
    """Nothing is left to do: the folder keeps the whole search, or the configuration alone was asked for."""


class SearchCLI(_cli.LightningCLI):  # type: ignore[misc, name-defined]  # one of two distributions, see _lightning
    """LightningCLI whose model is a supernet, on the task of the data.

    Args:
        settings: checked.
        clock: a callback that takes the time.
        print_config: print the whole configuration and end.
        own_files: the files that the settings came from, which are not written over.
    """

    def __init__(
        self, settings: dict[str, Any], clock: pl.Callback, print_config: bool, own_files: Sequence[Path] = ()
    ) -> None:
        self._own_files = own_files
        self._settings = settings
        self.folder = RunFolder(Path(settings["folder"]))
        self.checkpoints = LastTwo(self.folder.checkpoint)
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
            trainer_defaults={"callbacks": [clock, make_search(search), LastCheckpoint(self.checkpoints)]},
            parser_kwargs={"exit_on_error": False},
            auto_configure_optimizers=False,
            run=False,
            args={
                "model": {
                    key: settings[key] for key in ("space", "module", "module_arguments", "seed") if key in settings
                },
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
            "module": whole["model"]["module_arguments"] or whole["model"]["module"],
            # What was given: what was not is settled by each command that reads it.
            "trainer": self._settings["trainer"],
            "search": {**search_defaults(), **self._settings["search"]},
            "seed": self._settings["seed"],
            "folder": self._settings["folder"],
        }
        text = yaml.safe_dump(config, sort_keys=False)
        if self._prints_config:
            output().out(text)
            raise HasEnded
        config_file = kept_config(self.folder, self._own_files, text)
        if config_file.exists() and config_file.stat().st_size > 0:  # none has survived a power cut
            kept, mine = (_settings_that_count(each) for each in (read_yaml(config_file), yaml.safe_load(text)))
            if _epochs(mine) > _epochs(kept) > 0:
                report.line(
                    f"{self.folder.path}: the search goes on to {_epochs(mine)} epochs instead of {_epochs(kept)}"
                )
                self.folder.search.unlink(missing_ok=True)
                kept["trainer"]["max_epochs"] = _epochs(mine)
            refuse_another(self.folder, kept, mine, "search")
        with told_briefly("folder", 2, OSError):
            write_whole(config_file, text)
        if has_ended(self.folder, self.space):
            raise HasEnded

    def instantiate_classes(self) -> None:
        """Read the data, and make what they need.

        Raises:
            UsageError: the data cannot be had, or the settings do not fit them; its code is 1.
        """
        with told_briefly("", 1, OSError, ImportError, ValueError, RuntimeError):
            super().instantiate_classes()
        strategy = self.trainer.strategy
        if type(strategy.checkpoint_io) is pl.plugins.TorchCheckpointIO:
            strategy.checkpoint_io = WholeCheckpoints()


def _settings_that_count(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without what a search may go on with otherwise: where it is kept, and how it is shown and fed."""
    settings = {key: value for key, value in copy.deepcopy(dict(config)).items() if key != "folder"}
    for key in _HARMLESS:
        settings.get("trainer", {}).pop(key, None)
    settings.get("data", {}).get("init_args", {}).pop("num_workers", None)
    return settings


def _epochs(settings: Mapping[str, Any]) -> int:
    return int(settings.get("trainer", {}).get("max_epochs") or 0)


_HARMLESS = (
    "logger",
    "enable_progress_bar",
    "enable_model_summary",
    "log_every_n_steps",
    "profiler",
    "devices",
    "accelerator",
    "strategy",
    "num_nodes",
    "num_sanity_val_steps",
)
"""Arguments of the Trainer with which a search may go on otherwise."""


def has_ended(folder: RunFolder, space: SupernetSpace) -> bool:
    """Whether a folder keeps a search that has ended.

    Where one of its files is broken (by a power cut, say), it is written again from the last checkpoint.
    """
    if not folder.search.exists():
        return False
    try:
        SearchSummary.from_json(folder.search.read_text(encoding="utf-8"))
        space.validate(Architecture.from_json(folder.architecture.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        report.line(f"{folder.path}: a file of the search is broken ({error}); it is written again")
        return False
    return True
