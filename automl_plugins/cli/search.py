"""`automl-plugins search`: differentiable search, through LightningCLI or inside a script that stays as it is."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError
from rich.console import Console

from automl_plugins.cli import attach
from automl_plugins.cli.checked import check_plugins, check_trainer
from automl_plugins.cli.checks import check_keys
from automl_plugins.cli.configuration import (
    ModulePart,
    TrainerPart,
    check_files,
    is_bare,
    make,
    make_space,
    short_name,
    try_module,
)
from automl_plugins.cli.console import draw_architecture, output, read_architecture
from automl_plugins.cli.errors import UsageError, told_briefly, without_deprecations
from automl_plugins.cli.plugins import check_plugin, one_of
from automl_plugins.cli.search_cli import HasEnded, SearchCLI
from automl_plugins.cli.search_keys import SEARCH_KEYS
from automl_plugins.cli.search_lock import is_first_process, running_alone
from automl_plugins.cli.search_record import Clock, summarize
from automl_plugins.cli.search_script import search_script
from automl_plugins.cli.search_settings import check_search_settings, folder_of, search_defaults
from automl_plugins.cli.settings import Given, plain, read
from automl_plugins.errors import DivergedError
from automl_plugins.report.search import SearchSummary
from automl_plugins.search import report
from automl_plugins.search.provenance import OtherSearchError
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.studies.folder import RunFolder
from automl_plugins.system.files import WriteError, write_whole
from automl_plugins.training import fit as training
from automl_plugins.training.fingerprint import data_difference, data_fingerprint
from automl_plugins.training.lightning import pl

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""What a logger, say, may meet when it writes."""


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
    if script or "target" in given.settings:
        return search_script(console, given, script)
    settings = _checked(given)
    folder = RunFolder(Path(settings["folder"]))
    prints = "print_config" in given.switches
    with nullcontext() if prints else running_alone(folder):
        _search(settings, prints, given.configs)
    if not prints and folder.search.exists() and is_first_process():
        _show(console, make_space(settings["space"]), folder)
    return 0


def _search(settings: Mapping[str, Any], prints: bool, own_files: Sequence[Path]) -> None:
    """Search, or go on with it, unless it has ended; or print the configuration."""
    clock = Clock()
    try:
        with told_briefly("", 2, ArgumentError), without_deprecations(), training.quiet_lightning():
            cli = SearchCLI(dict(settings), clock, prints, own_files)
    except HasEnded:
        if not prints:
            _check_data(settings)
        return
    _fit(cli, clock)
    if cli.trainer.is_global_zero:
        _conclude(cli, settings, clock)


def _checked(given: Given) -> dict[str, Any]:
    """The settings of a search through LightningCLI, every one checked."""
    settings = given.settings
    check_keys(settings, SEARCH_KEYS, near=("config", "print_config", "target"))
    if settings.get("data") is None:
        raise UsageError(f"data is missing; {one_of('data')}")
    checked = {
        **check_search_settings(settings),
        "data": check_plugin("data", "data", settings["data"]),
        "trainer": check_trainer(settings.get("trainer") or {}),
    }
    make("data", pl.LightningDataModule, plain(checked["data"]))
    if settings.get("module") is not None:
        module = check_plugins(settings, ("module",))["module"]
        try_module(ModulePart(plain(module)).make(), module.get("init_args", module))
        checked["module_arguments" if is_bare(module) else "module"] = module
    if checked["trainer"].get("enable_checkpointing") is False:
        raise UsageError("trainer.enable_checkpointing=False: a search goes on from its last checkpoint; leave it out")
    with told_briefly("trainer", 2, Exception), without_deprecations(), training.quiet_lightning():
        pl.Trainer(**{**TrainerPart(plain(checked["trainer"])).make(), "logger": False})
    checked["folder"] = folder_of(given, short_name(settings["data"]))
    check_files(checked)
    return dict(plain(checked))


def _fit(cli: SearchCLI, clock: Clock) -> None:
    """Train, from the last checkpoint where there is one.

    Raises:
        UsageError: the project cannot be searched so, or the search diverged; its code is 1.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the folder's checkpoint is that of the last whole epoch.
    """
    ckpt_path = _checkpoint_to_go_on_from(cli)
    try:
        with training.without_advice():
            cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=ckpt_path, weights_only=True)
    except DivergedError as error:
        where = f" in {cli.folder.architecture}" if error.kept else ""
        raise UsageError(f"{error}{where}; a search of other settings takes another --folder", code=1) from error
    except SystemExit as end:
        if cli.trainer.interrupted:  # so Lightning answers Ctrl-C and SIGTERM
            raise KeyboardInterrupt from None
        raise UsageError(f"the project ended the process with the exit code {end.code}", code=1) from end
    except OSError as error:
        if isinstance(error, WriteError) or error.errno not in _DISK:
            raise
        raise UsageError(
            f"{error}; what was kept so far is whole, so mend the disk, and the same command goes on from here", code=1
        ) from error
    except ValueError as error:
        if clock.started and not isinstance(error, OtherSearchError):
            raise
        raise UsageError(str(error), code=1) from error


def _check_data(settings: Mapping[str, Any]) -> None:
    """Compare the data with those of the search that has ended in the folder.

    Raises:
        UsageError: they are others, or cannot be read; its code is 1.
    """
    folder = RunFolder(Path(settings["folder"]))
    kept = _data_file(folder)
    if not kept.exists():
        return
    data = make("data", pl.LightningDataModule, settings["data"])
    with told_briefly("", 1, OSError, ImportError, ValueError, RuntimeError), without_deprecations():
        data.prepare_data()
        data.setup("fit")
        difference = data_difference(json.loads(kept.read_text(encoding="utf-8")), _fingerprint(data))
    if difference is not None:
        raise UsageError(
            f"the search in {folder.path} was of other data: {difference}; give this one another --folder", code=1
        )


def _fingerprint(data: pl.LightningDataModule) -> dict[str, Any]:
    """The fingerprint of what a search learns on and is validated on."""
    loaders = {"train": data.train_dataloader()}
    if type(data).val_dataloader is not pl.LightningDataModule.val_dataloader:
        loaders["val"] = data.val_dataloader()
    return data_fingerprint(loaders)


def _data_file(folder: RunFolder) -> Path:
    return folder.path / "data.json"


def _checkpoint_to_go_on_from(cli: SearchCLI) -> Path | None:
    """The newest checkpoint that is whole; None: there is none, so the search begins.

    Raises:
        UsageError: there are some, all broken.
    """
    newest, broken = cli.checkpoints.newest()
    if newest is None and broken:
        raise UsageError(
            f"{'; '.join(map(str, broken))}: the search cannot go on; remove {cli.checkpoints.path.parent} to begin it "
            "anew, or give it another --folder",
            code=1,
        )
    for error in broken:
        report.line(f"{error}; the search goes on from {newest}")
    return newest


def _conclude(cli: SearchCLI, settings: Mapping[str, Any], clock: Clock) -> None:
    """Write the summary."""
    architecture = read_architecture(cli.space, cli.folder.architecture)
    strategy = short_name(settings["search"].get("strategy", search_defaults()["strategy"]))
    summary = summarize(
        cli.trainer, cli.model, cli.space, architecture, cli.datamodule.task, strategy, clock.state_dict()
    )
    write_whole(_data_file(cli.folder), json.dumps(_fingerprint(cli.datamodule)))
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
