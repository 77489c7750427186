"""Show a run, a search space, or an architecture drawn as text.

usage: automl-plugins show <target> [--space ...] [--figure F.png] [--trial N] [--arm search]

target:
  a run folder          its table, costs and winner; a run that goes on still: its trials so far; a
                        differentiable search: what it cost and found
  an architecture.json  its drawing
  a space               its choices, options and size (see `automl-plugins list spaces`)

options:
  --space NAME, --space.layers 3, --config FILE
                        the space's arguments; those in the config.yaml beside a file where left out
  --figure F.png        save what is drawn as a figure, too (.pdf, .svg)
  --trial N             one trial of a run, with its choices and the traceback of its failure
  --arm ARM             of which arm: search (as given), random or hand-made
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.table import Table

from automl_plugins.cli.commands import over_run
from automl_plugins.cli.console import output
from automl_plugins.cli.errors import UsageError, shown, told_briefly
from automl_plugins.cli.look import over
from automl_plugins.cli.network_file import NetworkFile, draw, show_search
from automl_plugins.cli.parser import Settings
from automl_plugins.cli.settings import Given, read_yaml
from automl_plugins.report.summary import Summary
from automl_plugins.report.trial_tables import best_first, best_table, standing, trial_table
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.identity import shared_name
from automl_plugins.studies.plan import HAND_MADE
from automl_plugins.studies.storage import open_storage
from automl_plugins.system.nearest import did_you_mean

_SEARCHES = ("search", "random")
_ARMS = (*_SEARCHES, HAND_MADE)
_SUFFIXES = (".png", ".pdf", ".svg")


def run(given: Given, command: str) -> int:
    """Run the command, see `automl_plugins.cli.commands.Command`."""
    target = given.targets[0]
    path, folder = Path(target), RunFolder(Path(target))
    config = folder.config if path.is_dir() else RunFolder(path.parent).config
    if path.is_file():
        given = NetworkFile(path).under(over_run(command, given, config))
    elif path.is_dir():
        given = over_run(command, given, config)
    else:
        given = over({"space": {"class_path": target}}, given)
    settings = Settings(given, ("space",), trial=int | None, arm=str | None, figure=str | None)
    figure = settings["figure"]
    if figure is not None and Path(figure).suffix not in _SUFFIXES:
        raise UsageError(f"figure={figure!r}: it is a file ending in {', '.join(_SUFFIXES)}")
    for key in ("trial", "arm"):
        if settings[key] is not None and not path.is_dir():
            raise UsageError(f"{key}={settings[key]}: {target!r} is no run folder; only such have trials")
    if figure is not None and path.is_dir() and not folder.architecture.is_file():
        raise UsageError(f"figure={figure}: {target!r} has no architecture to draw yet", 1)
    if path.is_dir() and not config.is_file():
        raise UsageError(f"{target!r} is no run folder: it has no {config.name}")
    given.needs("space")
    space = settings.make("space")
    if path.is_dir():
        _show_run(output(), folder, space, settings)
    elif path.is_file():
        draw(output(), space, path, figure)
    elif figure is not None:
        raise UsageError(f"figure={figure}: {target!r} is a space; it has no architecture to draw")
    else:
        _show_space(output(), space)
    return 0


def _show_space(console: Console, space: SearchSpace) -> None:
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


def _show_run(console: Console, folder: RunFolder, space: SearchSpace, settings: Settings) -> None:
    config, figure = read_yaml(folder.config), settings["figure"]
    if "search" in config:
        show_search(console, space, folder, figure)
        return
    arms = {arm: _trials(folder, config.get("storage"), arm) for arm in _ARMS}
    if settings["trial"] is not None:
        _show_trial(console, arms, settings["trial"], settings["arm"] or "search")
        return
    if folder.summary.exists():
        with told_briefly(str(folder.summary), 2, ValueError, TypeError, KeyError):
            summary = Summary.from_json(folder.summary.read_text(encoding="utf-8"))
        console.print(summary.table())
        for line in summary.lines():
            console.out(line)
    else:
        for arm, trials in arms.items():
            if trials or arm in _SEARCHES:
                console.out(standing(arm, trials, config.get("trials") if arm in _SEARCHES else None))
            if trials:
                console.print(best_table(trials))
    _show_failures(console, folder, arms)
    if not _draw_winner(console, space, folder, figure) and not folder.winner.exists():
        _draw_best(console, space, arms["search"])


def _draw_winner(console: Console, space: SearchSpace, folder: RunFolder, figure: str | None) -> bool:
    """Draw the winner of a run, or what was found beside one that was made by hand, if there is anything."""
    by_hand = f"the winner was made by hand; the best that was found, in {folder.found.path}:"
    own = "what was found, in a run whose winner was made by hand:" if folder.path.name == "found" else "the winner:"
    for path, title in ((folder.architecture, own), (folder.found.architecture, by_hand)):
        if path.exists():
            console.out(f"\n{title}", highlight=False)
            draw(console, space, path, figure)
            return True
    return False


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
        return [] if study is None else best_first(opened.get_all_trials(study._study_id), study.directions[0])


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
            tuned = trials[0].user_attrs.get("settings", {})
            choices = {name: value for name, value in trials[0].params.items() if name not in tuned}
            console.out(space.drawing(space.architecture(choices)))


def _show_trial(console: Console, arms: dict[str, Sequence[FrozenTrial]], number: int, arm: str) -> None:
    if arm not in arms:
        raise UsageError(f"arm={arm!r}: there is no such search; {did_you_mean(arm, arms)}")
    numbers = {trial.number: trial for trial in arms[arm]}
    if number not in numbers:
        last = f"0 to {max(numbers)}" if numbers else "none yet"
        raise UsageError(f"trial={shown(number)}: {arm} has the trials {last}")
    trial = numbers[number]
    value = "" if trial.values is None else f", {' '.join(map(str, trial.values))}"
    console.out(f"trial {number} of {arm}: {trial.state.name.lower()}{value}")
    console.print(trial_table(trial), markup=False)
    if "traceback" in trial.user_attrs:
        console.out(str(trial.user_attrs["traceback"]), end="")
