"""`automl-plugins search ... -- python train.py`: a search in a training script that stays as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from automl_plugins.cli import attach
from automl_plugins.cli.checks import check_keys
from automl_plugins.cli.configuration import make_space, refuse_another
from automl_plugins.cli.console import draw_architecture
from automl_plugins.cli.errors import UsageError, told_briefly
from automl_plugins.cli.launch import INTERRUPTED, launch, shown
from automl_plugins.cli.search_lock import running_alone
from automl_plugins.cli.search_settings import check_search_settings, folder_of, kept_config
from automl_plugins.cli.settings import Given, plain, read_yaml
from automl_plugins.report.search import SearchSummary
from automl_plugins.studies.folder import RunFolder
from automl_plugins.system.files import write_whole


def search_script(console: Console, given: Given, script: list[str]) -> int:
    """Search in a training script.

    Args:
        console: where what was found is printed.
        given: our own arguments.
        script: the command.

    Returns:
        The exit code.

    Raises:
        UsageError: a mistake in the arguments; or the script failed, then its code is the script's, after whatever was
            found before has been printed.
    """
    settings = given.settings
    check_keys(settings, ("target", "space", "task", "search", "seed", "folder"), near=("config", "print_config"))
    found = check_search_settings(settings)
    rest = attach.check_script_settings(settings, script)
    folder = RunFolder(Path(folder_of(given, attach.name_of(script))))
    config = {**plain({**found, **rest}), "folder": str(folder.path), "command": script}
    if "print_config" in given.switches:
        console.out(yaml.safe_dump(config, sort_keys=False))
        return 0
    with running_alone(folder):
        _keep(folder, config, given.configs)
        results = (folder.architecture, folder.search)
        before = [_written(path) for path in results]
        search = {**config["search"], "seed": config["seed"], "path": str(folder.architecture.absolute())}
        code = launch(script, {**config, "search": search, "summary": str(folder.search.absolute())})
        found_any, has_ended = (_written(path) != old for path, old in zip(results, before, strict=True))
    if found_any and has_ended:
        _show(console, config, folder)
    _check(script, code, folder if found_any else None, has_ended)
    return 0


def _keep(folder: RunFolder, config: Mapping[str, Any], own_files: Sequence[Path]) -> None:
    """Write the settings into a folder of this search.

    Raises:
        UsageError: another run is kept there.
    """
    if folder.path.exists() and not folder.path.is_dir():
        raise UsageError(f"folder={str(folder.path)!r}: there is a file of that name; a search needs a folder")
    text = yaml.safe_dump(dict(config), sort_keys=False)
    config_file = kept_config(folder, own_files, text)
    kept = read_yaml(config_file) if config_file.exists() else {}
    if kept and "command" not in kept:
        raise UsageError(f"folder={str(folder.path)!r}: another run is kept there; give this one another --folder")
    if kept and folder.architecture.exists():
        # Where nothing was found, a mistake has been mended, perhaps.
        refuse_another(folder, {**kept, "folder": config["folder"]}, config, "search")
    with told_briefly("folder", 2, OSError):
        write_whole(config_file, text)


def _show(console: Console, config: Mapping[str, Any], folder: RunFolder) -> None:
    for line in SearchSummary.from_json(folder.search.read_text(encoding="utf-8")).lines():
        console.out(line)
    console.out("\nfound:")
    draw_architecture(console, make_space(config["space"]), folder.architecture)
    console.out(f"\nkept: {folder.architecture} {folder.config} {folder.search}")
    console.out("train it in the same script:")
    console.out(f"  automl-plugins attach --architecture {folder.architecture} -- {shown(config['command'])}")


def _check(script: list[str], code: int, kept: RunFolder | None, has_ended: bool) -> None:
    """Say how a script ended that did not end well.

    Raises:
        UsageError: it did not.
    """
    if code == 0 and has_ended:
        return
    if kept is None:
        found = "before anything was found"
        if code == 0:
            raise UsageError(
                f"{shown(script)} has ended without a search: it made no `fit` with Lightning's Trainer, or "
                "automl-plugins is not installed for its Python",
                code=1,
            )
    elif has_ended:
        found = f"after its search; what was found is kept in {kept.architecture}"
    else:
        found = f"before its search had; what its last whole epoch had found is kept in {kept.architecture}"
    ended = "was stopped" if code == INTERRUPTED else f"ended with the exit code {code}"
    raise UsageError(f"{shown(script)} {ended}, {found}", code=code or 1)


def _written(result: Path) -> int | None:
    return result.stat().st_mtime_ns if result.exists() else None
