"""`automl-plugins show`: a run, a space or an architecture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.table import Table

from automl_plugins import registry
from automl_plugins.cli.checked import STUDY_KEYS
from automl_plugins.cli.checks import check_keys, convert, shown
from automl_plugins.cli.configuration import make_space, space_setting
from automl_plugins.cli.console import architecture_in, draw_architecture, draw_winner, output
from automl_plugins.cli.errors import UsageError, told_briefly
from automl_plugins.cli.settings import Given, merge, plain, read, read_yaml
from automl_plugins.report.search import SearchSummary
from automl_plugins.report.summary import Summary
from automl_plugins.report.trials import counts
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.identity import shared_name
from automl_plugins.studies.storage import open_storage
from automl_plugins.system.nearest import did_you_mean

_ARMS = ("search", "random")
_BEST = 10
_SUFFIXES = (".png", ".pdf", ".svg")


def run(arguments: list[str], command: str = "show") -> int:
    """Run the command.

    Args:
        arguments: what follows it.
        command: its name.

    Returns:
        The exit code.

    Raises:
        UsageError: a mistake in the arguments, or nothing of that name.
    """
    given = read(arguments, targets=1)
    console = output()
    check_keys(given.settings, [*STUDY_KEYS, "trial", "arm", "figure"])
    if not given.targets:
        raise UsageError("name what to show: a run folder, an architecture.json or a space")
    target = given.targets[0]
    path = Path(target)
    _check_figure(given)
    for key in ("trial", "arm"):
        if key in given.settings and not path.is_dir():
            raise UsageError(f"{key}={plain(given.settings[key])}: {target!r} is no run folder; only such have trials")
    if _figure(given) is not None and path.is_dir() and not RunFolder(path).architecture.is_file():
        raise UsageError(f"figure={_figure(given)}: {target!r} has no architecture to draw yet", 1)
    if path.is_dir():
        _show_run(console, RunFolder(path), given)
    elif path.is_file():
        _show_architecture(console, path, given)
    else:
        _show_space(console, target, given)
    return 0


def _check_figure(given: Given) -> None:
    figure = _figure(given)
    if figure is not None and Path(figure).suffix not in _SUFFIXES:
        raise UsageError(f"figure={figure!r}: it is a file ending in {', '.join(_SUFFIXES)}")


def _show_space(console: Console, target: str, given: Given) -> None:
    names = registry.names("spaces")
    if "/" in target or target.endswith(".json"):
        raise UsageError(f"{target!r}: there is no such file or folder")
    if target not in names and "." not in target and not target.endswith("Space"):
        raise UsageError(f"{target!r} is no run folder, no file and no space; {did_you_mean(target, names)}")
    setting = merge({"space": target}, {"space": given.settings["space"]}) if "space" in given.settings else None
    space = make_space(target if setting is None else setting["space"])
    if _figure(given) is not None:
        raise UsageError(f"figure={_figure(given)}: {target!r} is a space; it has no architecture to draw")
    console.out(f"{space.name}, version {space.version}: {space.size:,} architectures")
    console.out(f"levels: {', '.join(sorted(space.levels))}")
    if space.max_parameters is not None:
        console.out(f"networks of at most {space.max_parameters:,} parameters")
    table = Table(box=None)
    for column in ("choice", "kind", "options", "only where"):
        table.add_column(column, overflow="fold")
    for choice in space.choices:
        table.add_row(choice.name, choice.kind, ", ".join(map(str, choice.options)), choice.condition)
    console.print(table, markup=False)


def _show_architecture(console: Console, path: Path, given: Given) -> None:
    architecture = architecture_in(path)
    space = make_space(space_setting(given, RunFolder(path.parent).config, architecture.space))
    draw_architecture(console, space, path, _figure(given))


def _show_run(console: Console, folder: RunFolder, given: Given) -> None:
    if not folder.config.is_file():
        raise UsageError(f"{str(folder.path)!r} is no run folder: it has no {folder.config.name}")
    config = read_yaml(folder.config)
    space = make_space(space_setting(given, folder.config))
    if "search" in config:
        _show_search(console, space, folder, _figure(given))
        return
    arms = {arm: _trials(folder, config.get("storage"), arm) for arm in _ARMS}
    if "trial" in given.settings:
        _show_trial(console, arms, given)
        return
    if folder.summary.exists():
        with told_briefly(str(folder.summary), 2, ValueError, TypeError, KeyError):
            summary = Summary.from_json(folder.summary.read_text(encoding="utf-8"))
        console.print(summary.table())
        for line in summary.lines():
            console.out(line)
    else:
        for arm, trials in arms.items():
            _show_progress(console, arm, trials, config)
    _show_failures(console, folder, arms)
    if not draw_winner(console, space, folder, _figure(given)) and not folder.winner.exists():
        _draw_best(console, space, arms["search"])


def _show_search(console: Console, space: SearchSpace, folder: RunFolder, figure: str | None) -> None:
    """A differentiable search, through LightningCLI or in a training script."""
    if folder.search.exists():
        with told_briefly(str(folder.search), 2, ValueError, TypeError):
            summary = SearchSummary.from_json(folder.search.read_text(encoding="utf-8"))
        for line in summary.lines():
            console.out(line)
    elif folder.checkpoint.exists():
        console.out(f"the search has not ended; what its logits stand for now: automl-plugins derive {folder.path}")
    if folder.architecture.exists():
        console.out("\nfound:")
        draw_architecture(console, space, folder.architecture, figure)


def _figure(given: Given) -> str | None:
    value = plain(given.settings.get("figure"))
    return None if value is None else str(value)


def _trials(folder: RunFolder, storage: str | None, arm: str) -> Sequence[FrozenTrial]:
    """An arm's trials, the best first."""
    location = storage or str(folder.journal)
    if location.endswith(".journal") and not Path(location).exists():
        return []
    with told_briefly("storage", 1, Exception):
        # The names that `Study.study_name` gives.
        name = arm if storage is None else shared_name(folder, arm)
        opened = open_storage(location)
        study = next((each for each in opened.get_all_studies() if each.study_name == name), None)
        return [] if study is None else _ordered(opened.get_all_trials(study._study_id), study.directions[0])


def _ordered(trials: Sequence[FrozenTrial], direction: optuna.study.StudyDirection) -> list[FrozenTrial]:
    """The trials, those with a value first, the best of them before all."""
    sign = -1 if direction is optuna.study.StudyDirection.MAXIMIZE else 1

    def rank(trial: FrozenTrial) -> tuple[bool, float, int]:
        complete = trial.state is TrialState.COMPLETE
        return not complete, sign * trial.values[0] if complete else 0.0, trial.number

    return sorted(trials, key=rank)


def _show_progress(console: Console, arm: str, trials: Sequence[FrozenTrial], config: dict[str, Any]) -> None:
    if not trials:
        console.out(f"{arm}: no trials yet")
        return
    running = sum(trial.state is TrialState.RUNNING for trial in trials)
    console.out(
        f"{arm}: {sum(map(counts, trials))} of {config.get('trials')} trials done, {running} running; the best:"
    )
    table = Table(box=None)
    for column in ("trial", "value", "parameters", "CPU s"):
        table.add_column(column, justify="right")
    for trial in trials[:_BEST]:
        if trial.state is TrialState.COMPLETE:
            attributes = trial.user_attrs
            cells = (attributes.get("params", ""), attributes.get("cpu_seconds", ""))
            table.add_row(str(trial.number), " ".join(f"{value:.4f}" for value in trial.values), *map(str, cells))
    console.print(table)


def _show_failures(console: Console, folder: RunFolder, arms: dict[str, Sequence[FrozenTrial]]) -> None:
    for arm, trials in arms.items():
        for trial in sorted(trials, key=lambda each: each.number):
            if "failure" in trial.user_attrs:
                console.out(f"trial {trial.number} of {arm} failed: {trial.user_attrs['failure']}")
                console.out(f"  its traceback: automl-plugins show {folder.path} --trial {trial.number} --arm {arm}")


def _draw_best(console: Console, space: SearchSpace, trials: Sequence[FrozenTrial]) -> None:
    if trials and trials[0].state is TrialState.COMPLETE:
        console.out(f"\nthe best so far, trial {trials[0].number}:")
        with told_briefly("space", 2, ValueError):
            console.out(space.drawing(space.architecture(trials[0].params)))


def _show_trial(console: Console, arms: dict[str, Sequence[FrozenTrial]], given: Given) -> None:
    number = convert("trial", given.settings["trial"], int)
    arm = str(plain(given.settings.get("arm", "search")))
    if arm not in arms:
        raise UsageError(f"arm={arm!r}: there is no such search; {did_you_mean(arm, arms)}")
    numbers = {trial.number: trial for trial in arms[arm]}
    if number not in numbers:
        last = f"0 to {max(numbers)}" if numbers else "none yet"
        raise UsageError(f"trial={shown(number)}: {arm} has the trials {last}")
    trial = numbers[number]
    value = "" if trial.values is None else f", {' '.join(map(str, trial.values))}"
    console.out(f"trial {number} of {arm}: {trial.state.name.lower()}{value}")
    table = Table(box=None, show_header=False)
    for name, content in (*trial.params.items(), *trial.user_attrs.items()):
        if name != "traceback":
            table.add_row(name, str(content))
    console.print(table, markup=False)
    if "traceback" in trial.user_attrs:
        console.out(str(trial.user_attrs["traceback"]), end="")
