"""`automl-plugins search --search.strategy NAME` where NAME is a procedure: a search of several fits, or of none."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, get_type_hints

from automl_plugins import registry
from automl_plugins.cli.console import figures_text, output
from automl_plugins.cli.errors import UsageError, told_briefly
from automl_plugins.cli.network_file import draw, show_kept
from automl_plugins.cli.parser import Settings
from automl_plugins.cli.record import (
    keep_config,
    keep_data,
    kept_settings,
    printed,
    refuse_another,
    refuse_other_data,
    running_alone,
)
from automl_plugins.cli.settings import Given
from automl_plugins.errors import DivergedError, StudyError
from automl_plugins.search.report import write_found
from automl_plugins.system.files import write_whole

_KEYS = ("space", "data", "module", "trainer", "seed", "folder")


def run_procedure(given: Given) -> int:
    """Run a procedure over a project, and keep what it has found, the best first.

    Raises:
        UsageError: a mistake in the arguments, or the project cannot be searched so; the latter's code is 1.
    """
    given.needs("space", "data")
    function = registry.load("procedures", given.procedure)
    hints = {f"procedure.{name}": hint for name, hint in get_type_hints(function).items() if name != "return"}
    hints.pop("procedure.project")
    settings = Settings(given, _KEYS[:4], home=Path("runs", given.stem("data")), **hints)
    arguments = {name: settings[f"procedure.{name}"] for name in given.names("procedure")}
    config = _config(settings, given.procedure, arguments)
    folder = settings.folder
    project = settings.project("module", "trainer", folder=folder.path)
    if printed(given, config):
        return 0
    began = time.perf_counter()
    with running_alone(folder):
        kept = kept_settings(folder)
        if kept is not None:
            refuse_another(folder, kept, config, "search", ("folder",))
        with told_briefly("", 1, StudyError, DivergedError, OSError, ImportError, ValueError, RuntimeError, TypeError):
            project.read_data()
            refuse_other_data(folder, project.data, "search")
            found = function(project, **arguments)
        if not found:
            raise UsageError(f"{given.procedure} has found no architecture", 1)
        # Last: a call that the procedure refuses leaves the folder to a mended one.
        keep_data(folder, project.data)
        write_found(folder.path / "found.json", {given.procedure: found})
        write_whole(folder.architecture, found[0].architecture.to_json())
        keep_config(folder, config)
    console = output()
    took = time.perf_counter() - began
    console.out(f"{project.space.name} on {type(project.data).__name__} with {given.procedure}: {took:.1f} s")
    for number, each in enumerate(found, start=1):
        count = project.space.num_parameters(each.architecture, project.task)
        console.out(f"{number}. {figures_text(each.figures) or 'without figures'}, {count:,} parameters")
    console.out("\nfound, the best:")
    draw(console, project.space, folder.architecture)
    show_kept(folder)
    return 0


def _config(settings: Settings, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The whole configuration, with which `search` runs the same procedure."""
    whole = settings.plain
    procedure = {"class_path": name, "init_args": arguments} if arguments else name
    return {**{key: whole[key] for key in _KEYS}, "search": {"strategy": procedure}}
