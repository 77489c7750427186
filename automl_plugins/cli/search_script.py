"""`automl-plugins search ... -- python train.py`: a search in a training script that stays as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import join
from typing import Any

from automl_plugins.cli.attach import REPLACED, check_call, check_script, launch
from automl_plugins.cli.console import output
from automl_plugins.cli.errors import INTERRUPTED, UsageError
from automl_plugins.cli.network_file import show_search
from automl_plugins.cli.parser import Settings
from automl_plugins.cli.record import keep_config, kept_settings, printed, refuse_another, running_alone
from automl_plugins.cli.settings import Given
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.studies.folder import RunFolder


def search_script(given: Given) -> int:
    """Search in a training script, and return the exit code.

    Raises:
        UsageError: a mistake in the arguments; or the script failed, then its code is the script's, after whatever was
            found before has been printed.
    """
    given.needs("space")
    check_script(given)
    files = given.configs[-1:] or [part for part in given.script if part.endswith(".py")] or given.script[:1]
    home = Path("runs", Path(files[0]).stem)
    settings = Settings(given, ("space", "search", "part of a task"), home=home, **REPLACED)
    space, folder = settings.supernet_space(), settings.folder
    check_call(space, settings["call"])
    settings.search()
    keys = ("space", "search", "seed", *REPLACED)
    config = {key: settings.plain[key] for key in keys}
    config |= {"task": settings.part_of_a_task(), "folder": str(folder.path), "command": list(given.script)}
    if printed(given, config):
        return 0
    with running_alone(folder):
        _keep(folder, config)
        results = (folder.architecture, folder.search)
        before = [_written(path) for path in results]
        search = {**config["search"], "seed": config["seed"], "path": str(folder.architecture.absolute())}
        kept = {"strategy": settings.strategy_name, "summary": str(folder.search.absolute())}
        code = launch(given.script, {**config, "search": search, **kept})
        found_any, has_ended = (_written(path) != old for path, old in zip(results, before, strict=True))
    if found_any and has_ended:
        _show(space, config, folder)
    _check(given.script, code, folder if found_any else None, has_ended)
    return 0


def _keep(folder: RunFolder, config: Mapping[str, Any]) -> None:
    """Write the settings into a folder of this search.

    Raises:
        UsageError: another run is kept there.
    """
    kept = kept_settings(folder)
    if kept is not None and "command" not in kept:
        raise UsageError(f"folder={str(folder.path)!r}: another run is kept there; give this one another --folder")
    if kept is not None and folder.architecture.exists():
        # Where nothing was found, a mistake has been mended, perhaps.
        refuse_another(folder, kept, config, "search")
    keep_config(folder, config)


def _show(space: SearchSpace, config: Mapping[str, Any], folder: RunFolder) -> None:
    console = output()
    show_search(console, space, folder)
    console.out(f"\nkept: {folder.architecture} {folder.config} {folder.search}")
    console.out("train it in the same script:")
    console.out(f"  automl-plugins attach --architecture {folder.architecture} -- {join(config['command'])}")


def _check(script: Sequence[str], code: int, kept: RunFolder | None, has_ended: bool) -> None:
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
                f"{join(script)} has ended without a search: it made no `fit` with Lightning's Trainer, or "
                "automl-plugins is not installed for its Python",
                code=1,
            )
    elif has_ended:
        found = f"after its search; what was found is kept in {kept.architecture}"
    else:
        found = f"before its search had; what its last whole epoch had found is kept in {kept.architecture}"
    if kept is None and code != INTERRUPTED:
        found += "; the error above this line says why"
    ended = "was stopped" if code == INTERRUPTED else f"ended with the exit code {code}"
    raise UsageError(f"{join(script)} {ended}, {found}", code=code or 1)


def _written(result: Path) -> int | None:
    return result.stat().st_mtime_ns if result.exists() else None
