"""The end of a study: its table, its verdict, and its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from optuna.trial import FrozenTrial

from automl_plugins.errors import StudyError
from automl_plugins.objectives.contender import Contender
from automl_plugins.objectives.paired import paired_tests
from automl_plugins.objectives.standing import Standing, best_of
from automl_plugins.report.closing import print_table
from automl_plugins.report.front import Front, candidates, fronts
from automl_plugins.report.row import Row
from automl_plugins.report.summary import Summary
from automl_plugins.report.trial_cost import spent
from automl_plugins.report.trials import OUTCOMES, cost, trials_csv
from automl_plugins.report.verdict import best_line, economical_line, ensemble_line, item_line, winner_line, worth_lines
from automl_plugins.studies.equal_cost import unit_of
from automl_plugins.studies.finals import Finals
from automl_plugins.studies.significance import random_networks, tests_of
from automl_plugins.studies.winner import forget_winner, keep_ensemble, keep_winner
from automl_plugins.system.files import write_whole
from automl_plugins.training.project import Project


class NothingFiniteError(StudyError):
    """A study none of whose contenders ended with a finite score; its other files are written.

    Args:
        message: why.
        summary: what there is to say of each contender.
    """

    def __init__(self, message: str, summary: Summary) -> None:
        super().__init__(message)
        self.summary = summary


def conclude(finals: Finals) -> Summary:
    """Write the result of final trainings and tests, which have ended, into the run's folder.

    Raises:
        NothingFiniteError: no contender has a finite score; all files but the winner's are written, and the table is
            printed.
    """
    folder = finals.comparison.folder
    keep_trials(finals)
    standings = finals.standings
    winner = finals.winner
    summary = _summary(finals, standings)
    if winner is None:
        forget_winner(folder)
        write_whole(folder.summary, summary.to_json())
        print_table(summary)
        raise NothingFiniteError(_why_nothing(summary), summary)
    found = finals.found
    keep_ensemble(finals.comparison, _worthy(finals))
    keep_winner(finals.comparison, winner.contender, None if found is None else found.contender)
    write_whole(folder.summary, summary.to_json())
    return summary


def keep_reports(project: Project) -> None:
    """Write what the data have to say of themselves, such as a list of what was left out of them.

    A datamodule may have a method `report_files() -> dict[str, str]`: names of files, and their contents.
    """
    report = getattr(project.data, "report_files", None)
    for name, content in report().items() if callable(report) else ():
        write_whole(project.folder / Path(name).name, content)


def keep_trials(finals: Finals) -> None:
    """Write the trials of all searches as CSV, whatever they came to."""
    comparison = finals.comparison
    if any(finals.trials.values()):
        write_whole(comparison.folder.trials, trials_csv(finals.trials))


def _summary(finals: Finals, standings: Sequence[Standing]) -> Summary:
    comparison, project = finals.comparison, finals.project
    best, winner, economical = best_of(standings), finals.winner, finals.economical
    rows = _rows(finals, standings, economical)
    # Of a network that several found, the first line counts.
    labels = {row.folder: row.label for row in reversed(rows)}

    def label(standing: Standing) -> str:
        return labels[f"contenders/{standing.contender.key}"]

    monitor = project.monitor if finals.goal.reward is None else "reward"
    unit = unit_of(project, finals.plan, len(finals.hand_made))
    searches = {arm: {**cost(trials), unit: spent(trials, unit)} for arm, trials in finals.trials.items()}
    representatives = finals.representatives
    tests = tests_of(comparison, representatives, monitor) if representatives else {}
    verdict = [_why_empty(finals, arm, trials) for arm, trials in finals.trials.items() if not candidates(trials)]
    verdict += _hand_made_lines(finals)
    error = None if winner is None else comparison.item_error(winner.contender)
    if best is not None and winner is not None:
        finders = [
            each.contender.found_by for each in [*standings, winner] if each.contender.key == winner.contender.key
        ]
        verdict.append(winner_line(winner, label(winner), monitor, list(dict.fromkeys(finders)), finals.plan.prefer))
        if error is not None:
            verdict.append(item_line(error, project.monitor))
        if winner.contender.key != best.contender.key:
            verdict.append(best_line(best, winner, label(best), monitor, finals.cost))
        elif economical is not None:
            verdict.append(economical_line(winner, economical, label(economical), monitor, finals.cost))
        beyond = [each for each in standings if each.broken and each.mean is not None]
        verdict += _ensemble_lines(finals, winner, monitor)
        verdict += random_networks(finals.trials, finals.maximize, monitor)
        verdict += worth_lines(representatives, tests, searches, monitor, beyond)
    return Summary(
        space=project.space.name,
        data=type(project.data).__name__,
        monitor=project.monitor,
        direction=project.direction,
        rows=rows,
        searches=searches,
        seeds=list(comparison.seeds),
        fronts=_fronts(finals),
        winner=None if winner is None else label(winner),
        economical=None if economical is None else label(economical),
        verdict=verdict,
        tests=tests,
        item_error=error,
        sampler=finals.plan.sampler.cls.__name__,
        unit=unit,
    )


def _rows(finals: Finals, standings: Sequence[Standing], economical: Standing | None) -> list[Row]:
    """The best of each arm and the references; then the economical one, and what failed, judged or not."""
    best = finals.winners
    keys = [contender.key for contender in best]
    references = [each for each in finals.references if each.key not in keys]
    twice = {each.key: each.label for each in finals.references if each.key in keys}
    shown = {contender.key for contender in (*best, *references)}
    every = {standing.contender: standing for standing in (*filter(None, [economical]), *standings)}
    further = {
        contender.key: contender
        for contender in every
        if contender.key not in shown and (finals.failure(contender) or contender == _of(economical))
    }
    ensemble = finals.ensemble
    weighed: dict[Contender, Mapping[str, float]] = {}
    if ensemble is not None:
        weighed = {each: finals.weigh(each) for each in (*best, *references, *further.values(), ensemble)}
        every[ensemble] = finals.standing(ensemble)
    rows = []
    for contender in (*best, *references, *further.values(), *filter(None, [ensemble])):
        # The best of an arm is called by the arm alone, and by the name of the hand-made network that it is.
        is_best = contender in best and not finals.goal.costs
        label = contender.label.partition(",")[0] if is_best else contender.label
        label += f" = {twice[contender.key]}" if contender.key in twice else ""
        standing = every[contender]
        so = "" if contender.members else ", so it is not chosen"  # an ensemble never is
        notes = [f"breaks the limit of {name}{so}" for name in standing.broken]
        row = finals.comparison.row(contender, label, {**standing.figures, **weighed.get(contender, {})})
        rows.append(replace(row, notes=[*row.notes, *notes]))
    return [*rows, *(finals.choosing.row(contender) for contender in finals.failed)]


def _worthy(finals: Finals) -> Contender | None:
    """The ensemble, if any of its seeds has a score."""
    ensemble = finals.ensemble
    return ensemble if ensemble is not None and finals.standing(ensemble).mean is not None else None


def _ensemble_lines(finals: Finals, winner: Standing, monitor: str) -> list[str]:
    """A line on the ensemble beside the winner, where one was asked for."""
    if finals.plan.ensemble is None:
        return []
    ensemble = _worthy(finals)
    if ensemble is None:
        return ["there is no ensemble: fewer than two networks can be chosen for it, or none of its seeds has a score"]
    standing = finals.standing(ensemble)
    test = paired_tests(standing.values, {"winner": winner.values}, winner.maximize).get("winner")
    costs = {name: (finals.weigh(ensemble), finals.weigh(winner.contender)) for name in ("macs", "latency_ms")}
    times = {name: mine[name] / its[name] for name, (mine, its) in costs.items() if mine.get(name) and its.get(name)}
    times = {"params": standing.cost("params") / winner.cost("params"), **times}
    asked, had = finals.plan.ensemble, len(ensemble.members)
    few = [f"an ensemble of {asked} was asked for; {had} networks can be chosen for it"] if had < asked else []
    return [ensemble_line(standing, winner, test, times, monitor), *few]


def _of(standing: Standing | None) -> Contender | None:
    return None if standing is None else standing.contender


def _hand_made_lines(finals: Finals) -> list[str]:
    """Sentences on hand-made networks that are not compared, and on those that a search has found under their name."""
    told = []
    left_out = [each.label for each in finals.left_out]
    if left_out:
        told.append(
            f"{', '.join(left_out)}: not compared, since with one trial more the hand-made networks would have cost "
            "more than the search"
        )
    counts = {each.reference: finals.standing(each).params for each in finals.references if each.architecture is None}
    for contender in finals.winners:
        name = contender.label.partition("(")[2].partition(")")[0]
        own, other = finals.standing(contender).params, counts.get(name)
        if own is not None and other is not None and own != other:
            told.append(
                f"{contender.label.partition(',')[0]} is the space's own {name}, of {own:,} parameters, and not the "
                f"hand-made {name}, of {other:,}"
            )
    return told


def _why_empty(finals: Finals, arm: str, trials: Sequence[FrozenTrial]) -> str:
    """A sentence for a search that found nothing."""
    counted = cost(trials)
    if counted["completed"]:
        return f"none of the {counted['trials']:.0f} trials of {arm} keeps the limits {finals.goal.limits}"
    told = ", ".join(f"{counted[name]:.0f} {name}" for name in OUTCOMES if counted[name])
    failures = [str(trial.user_attrs["failure"]) for trial in trials if "failure" in trial.user_attrs]
    why = f", the last with {failures[-1]}" if failures else ""
    return f"none of the {counted['trials']:.0f} trials of {arm} ended with a value ({told}{why})"


def _why_nothing(summary: Summary) -> str:
    told = [*summary.verdict, *(f"{row.label}: {row.notes[0]}" for row in summary.rows if row.notes)]
    finite = any(row.validation_mean is not None for row in summary.rows)
    what = "keeps the limits" if finite else f"ended with a finite {summary.monitor}"
    found = next((row.folder for row in summary.rows if row.found_by != "hand"), None)
    kept = "" if found is None else f"; the architecture of the best trial is in {found}"
    return f"there is no winner, since no contender {what}: {'; '.join(told)}{kept}"


def _fronts(finals: Finals) -> dict[str, Front]:
    if not finals.goal.costs:
        return {}
    chosen = {arm: kept for arm, trials in finals.trials.items() if (kept := candidates(trials))}
    maximize = finals.project.direction == "maximize"
    return fronts(chosen, (finals.project.monitor, *finals.goal.costs), maximize) if chosen else {}
