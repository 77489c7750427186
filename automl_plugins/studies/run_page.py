"""The page of a run: all that its folder keeps, for people."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from optuna.trial import TrialState

from automl_plugins.errors import FormatError
from automl_plugins.report.page.curves import best_so_far, curves_drawing
from automl_plugins.report.page.drawing import check_drawing, drawn
from automl_plugins.report.page.failures import failures_table, outcomes_text
from automl_plugins.report.page.finals import finals_drawing, finals_table
from automl_plugins.report.page.fronts import front_drawings
from automl_plugins.report.page.heat_maps import entropy_drawings, probability_drawings
from automl_plugins.report.page.importance import importance_drawing, importances
from automl_plugins.report.page.page import Block, Code, Drawings, Page, Section, Text
from automl_plugins.report.summary import Summary
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.studies.kept_run import KeptRun
from automl_plugins.studies.storage import without_password
from automl_plugins.studies.versions import versions_text

_Made = TypeVar("_Made")
_UNREADABLE = (OSError, ValueError, TypeError, LookupError, FormatError)


def run_page(run: KeptRun, space: SearchSpace | str, judged: Section | None = None) -> Page:
    """The page of a run.

    Args:
        run: the run, which may go on still.
        space: that was searched; or why it cannot be made.
        judged: what its network predicts for validation data.

    Raises:
        ValueError: a file of the run cannot be read.
        FormatError: another version wrote it.
        StorageError: its trials cannot be read.
    """
    sections = [
        *_finals(run),
        Section("Best so far, over cost", _curves(run)),
        Section("Architecture learned over epochs", _logits(run)),
        Section("Architecture", _architectures(run, space)),
        Section("Pareto front", _fronts(run)),
        Section("Importance of choices", _importance(run)),
        *([] if judged is None else [judged]),
        Section("Trials, and what failed", _failures(run)),
        Section("Command and versions", command_blocks(run)),
    ]
    name = run.folder.path.absolute().name
    return Page(f"{name}: {_what(run)}", _subtitle(run), sections, _verdict(run), _notices(run), versions_text())


def standing_of(run: KeptRun) -> str:
    """The sentence for a run that has not ended; "" of one that has."""
    if run.has_ended:
        return ""
    command = run.kind if run.kind != "evaluation" else "evaluate"
    target = run.folder.path.parent if run.kind == "evaluation" else f"--config {run.folder.config}"
    goes_on = f"automl-plugins {command} {target}"
    if "command" in run.config:
        goes_on = "the same command"
    return (
        f"This {run.kind} has not ended: it goes on still, or was stopped. What follows is what it has kept so far; "
        f"`{goes_on}` goes on with it."
    )


def _what(run: KeptRun) -> str:
    space, summary = run.config.get("space"), run.summary or run.search
    name = space.get("class_path") if isinstance(space, dict) else space
    told = str(name).rpartition(".")[2] if summary is None else summary.space
    return f"a{'n' if run.kind == 'evaluation' else ''} {run.kind} of {told}"


def _subtitle(run: KeptRun) -> str:
    data = run.config.get("data")
    name = data.get("class_path") if isinstance(data, dict) else data
    on = "a training script" if "command" in run.config else str(name).rpartition(".")[2]
    return f"{run.folder.path.absolute()}, on {on}"


def _notices(run: KeptRun) -> list[str]:
    told = [standing_of(run)]
    if run.evaluation is not None:
        told.append(standing_of(run.evaluation))
    return [line for line in told if line]


def _verdict(run: KeptRun) -> list[str]:
    told: list[str] = []
    if run.search is not None:
        told += run.search.lines()
    for each in (run, run.evaluation):
        if each is not None and each.summary is not None:
            told += _of_summary(each.summary)
    return told


def _of_summary(summary: Summary) -> list[str]:
    best = next((row for row in summary.rows if row.label == summary.winner), None)
    if best is None:
        return [f"Nothing has ended with a finite {summary.monitor}.", *summary.verdict]
    told = list(summary.verdict)
    return (
        told if any(best.label in line for line in told) else [f"The best by mean validation is {best.label}.", *told]
    )


def _finals(run: KeptRun) -> list[Section]:
    found = []
    for each in (run, run.evaluation):
        if each is not None and each.summary is not None:
            own = "Final table" if each is run else "Evaluation of what was found"
            drawing = finals_drawing(each.summary.finals)
            notes = [f"{row.label}: {note}" for row in each.summary.rows for note in row.notes]
            blocks: list[Block] = [finals_table(each.summary.finals)]
            blocks += [Drawings([drawing])] if drawing is not None else []
            blocks += [Text(notes)] if notes else []
            found.append(Section(own, blocks))
    return found


def _curves(run: KeptRun) -> list[Block]:
    unit = "trials" if run.summary is None else run.summary.unit
    curves = {arm: best_so_far(trials, unit, run.maximizes) for arm, trials in run.arms.items()}
    drawing = curves_drawing(curves, unit, run.metric, run.maximizes)
    return [] if drawing is None else [Drawings([drawing])]


def _logits(run: KeptRun) -> list[Block]:
    if run.logits is None or not run.logits.epochs:
        return []
    return [Drawings(entropy_drawings(run.logits)), probability_drawings(run.logits)]


def _architectures(run: KeptRun, space: SearchSpace | str) -> list[Block]:
    found = {name: run.architecture(path) for name, path in run.architectures.items()}
    if not found and not isinstance(space, str):
        found = _best_so_far(run, space)
    return [block for name, each in found.items() for block in architecture_blocks(each, space, name)]


def architecture_blocks(architecture: Architecture, space: SearchSpace | str, name: str) -> list[Block]:
    """The drawing of an architecture, and its choices.

    Args:
        architecture: of the space.
        space: its space; or why it cannot be made.
        name: the words for what the architecture is.
    """
    made = space if isinstance(space, str) else attempt(partial(_drawn, space, architecture, name))
    drawn: list[Block] = [Text([f"It cannot be drawn: {made}."])] if isinstance(made, str) else made
    return [*drawn, Code(architecture.to_json(), f"choices of {name}")]


def _best_so_far(run: KeptRun, space: SearchSpace) -> dict[str, Architecture]:
    """The architecture of the best trial, where the run has none in a file yet."""
    trial = next(iter(run.arms.get("search", ())), None)
    if trial is None or trial.state is not TrialState.COMPLETE:
        return {}
    tuned = trial.user_attrs.get("settings", {})
    choices = {name: value for name, value in trial.params.items() if name not in tuned}
    made = attempt(lambda: space.architecture(choices))
    return {} if isinstance(made, str) else {f"the best so far, trial {trial.number} of the search": made}


def _drawn(space: SearchSpace, architecture: Architecture, name: str) -> list[Block]:
    space.validate(architecture)
    text = space.drawing(architecture)
    caption = f"The network of {name}; data flow along the arrows."
    try:
        check_drawing()
    except ImportError:
        return [Code(text)]
    drawing = drawn(lambda: space.figure(architecture), caption, f"{caption} As text: {text}", is_wide=True)
    return [Drawings([drawing]), Code(text, "as text")]


def _fronts(run: KeptRun) -> list[Block]:
    fronts = {} if run.summary is None else run.summary.fronts
    drawings = front_drawings(fronts, run.arms)
    if not drawings:
        return []
    told = [line for arm, front in fronts.items() for line in front.lines(arm)]
    return [Drawings(drawings), Code("\n".join(told), "the trials on the fronts")]


def _importance(run: KeptRun) -> list[Block]:
    trials = [trial for arm, found in run.arms.items() if arm != "hand-made" for trial in found]
    if not trials:
        return []
    shares = attempt(lambda: importances(trials, run.maximizes))
    if isinstance(shares, str):
        return [Text([f"It is not known: {shares}."])]
    return [Drawings([importance_drawing(shares, run.metric)])]


def _failures(run: KeptRun) -> list[Block]:
    if not run.arms:
        return []
    asked = None if run.has_ended else run.config.get("trials")
    table = failures_table(run.arms)
    told = Text(["No trial has failed."]) if table is None else table
    return [outcomes_text(run.arms, asked if isinstance(asked, int) else None), told]


def command_blocks(run: KeptRun) -> list[Block]:
    """The command with which the run is made again, its configuration, and the version that wrote it."""
    config = run.folder.config
    command = {
        "study": f"automl-plugins study --config {config}",
        "search": f"automl-plugins search --config {config}",
        "evaluation": f"automl-plugins evaluate {run.folder.path.parent} --config {config}",
    }[run.kind]
    if "command" in run.config:
        command += f" -- {' '.join(map(str, run.config['command']))}"
    by = f"Its files were written by automl-plugins {run.version}." if run.version else "No file names its version."
    text = config.read_text("utf-8")
    return [Code(command), Text([by]), Code(without_password(text), "the whole configuration")]


def attempt(make: Callable[[], _Made]) -> _Made | str:
    """The value that a function makes of a run's files; or why it cannot, in a line."""
    try:
        return make()
    except (*_UNREADABLE, ImportError, RuntimeError) as error:
        told = " ".join(str(error).split())
        return (
            told
            if isinstance(error, ValueError | OSError | FormatError | ImportError)
            else (f"{type(error).__name__}: {told}")
        )
