"""The part of `automl-plugins report` that reads runs, and writes the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from automl_plugins.cli.commands import over_run
from automl_plugins.cli.console import output
from automl_plugins.cli.errors import UsageError, one_line, told_briefly, without_deprecations
from automl_plugins.cli.network_file import network_at
from automl_plugins.cli.parser import Settings
from automl_plugins.cli.settings import Given
from automl_plugins.errors import FormatError, StudyError
from automl_plugins.report.page.drawing import check_drawing
from automl_plugins.report.page.page import Section, Text
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.studies.compared_page import compared_page
from automl_plugins.studies.judged import TITLE, judged_section
from automl_plugins.studies.kept_networks import KeptNetworks
from automl_plugins.studies.kept_run import KeptRun
from automl_plugins.studies.run_page import run_page
from automl_plugins.studies.trained import trained_in
from automl_plugins.system.failure import failure_of
from automl_plugins.system.files import write_whole
from automl_plugins.training.preprocessing import Preprocessing
from automl_plugins.training.project import Project
from automl_plugins.training.registered_module import RegisteredModule

_FOUND_WRONG = (OSError, ValueError, FormatError, StudyError)


def write_report(folders: Sequence[Path], out: Path, given: Given, predicts: bool, command: str) -> int:
    """Write the page of a run, or of several.

    Raises:
        UsageError: a folder is none of a run, or something in it cannot be read.
    """
    with told_briefly("", 1, ImportError):
        check_drawing()
    with told_briefly("", 2, *_FOUND_WRONG):
        runs = [KeptRun.at(folder) for folder in folders]
    with told_briefly("", 2, *_FOUND_WRONG), without_deprecations():
        if len(runs) > 1:
            page = compared_page(runs)
        else:
            space = _space(runs[0], given, command)
            page = run_page(runs[0], space, _judged(runs[0], given, command, space) if predicts else None)
        html = page.html()
    write_whole(out, html)
    output().out(f"kept: {out} ({len(html.encode()) / 1e6:.1f} MB)", highlight=False)
    return 0


def _space(run: KeptRun, given: Given, command: str) -> SearchSpace | str:
    """The space of a run, or why it cannot be made."""
    try:
        settings = Settings(over_run(command, given, run.folder.config, "data", "module", "trainer"), ("space",))
        made: SearchSpace | None = settings.make("space")
    except UsageError as error:
        return str(error)
    return "its configuration names no space" if made is None else made


def _judged(run: KeptRun, given: Given, command: str, space: SearchSpace | str) -> Section:
    """The predictions of a run's best network for its validation data, or a sentence on why there are none."""
    try:
        trained = trained_in(run.folder.path)
        found = network_at(str(trained.path))
        kept = Preprocessing.load(trained.preprocessing)
        given = found.tuned(over_run(command, given, trained.config), command)
        settings = Settings(given.without("out", "predictions"), ("space", "data", "module", "trainer"))
        if isinstance(space, str) or settings["data"] is None:
            return _left_out("its configuration names no data" if not isinstance(space, str) else space)
        project = Project(space, settings.make("data"), seed=run.config.get("seed") or 0)
        project.read_data()
        make = settings.make("module") or RegisteredModule()
        networks = KeptNetworks(trained, found.contender(space), space, make, kept, project.data)
        return judged_section(networks.predictor("best").modules[0], project.data, kept)
    except Exception as error:  # noqa: BLE001 - whatever a user's data raise, the rest of the page is worth having
        speaks = isinstance(error, UsageError | ValueError | OSError | FormatError | StudyError)
        return _left_out(one_line(error) if speaks else failure_of(error))


def _left_out(reason: str) -> Section:
    return Section(TITLE, [Text([f"They are left out: {reason}."])])
