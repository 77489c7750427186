"""One network trained over seeds, beside hand-made networks and random architectures of its space."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from automl_plugins.errors import StudyError
from automl_plugins.objectives.contender import Contender
from automl_plugins.objectives.standing import Standing, best_of
from automl_plugins.report.row import Row, mean_row
from automl_plugins.report.summary import Summary
from automl_plugins.report.verdict import item_line, worth_lines
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.studies.comparison import Comparison
from automl_plugins.studies.significance import tests_of
from automl_plugins.studies.winner import keep_winner
from automl_plugins.system.files import write_whole

_POLL_SECONDS = 0.5
_DRAWS = 100
"""The number of draws, for each random architecture that is asked for, before it is said that too few fit."""
MOST_RANDOM = 10_000


@dataclass(frozen=True)
class Evaluation:
    """Trains and tests a network over seeds, and others beside it; run again, it goes on where it stopped.

    Args:
        comparison: the trainings, of a project over seeds.
        references: hand-made networks to train beside it.
        random: how many random architectures to train on the first seed; the best of them has all seeds.
        listen: is told of every training, a line each.
    """

    comparison: Comparison
    references: Sequence[Contender] = ()
    random: int = 0
    listen: Callable[[str], None] = lambda line: None

    def run(self, contender: Contender) -> Summary:
        """Train, test and compare; the summary and the winner's files are written into the project's folder, too.

        Raises:
            StudyError: the space does not give so many different random architectures that fit.
        """
        since, project = datetime.now(), self.comparison.project
        contenders = [contender, *(each for each in self.references if each.key != contender.key)]
        drawn = self._drawn()
        first = self.comparison.over(self.comparison.seeds[:1])
        for comparison, several in ((self.comparison, contenders), (first, drawn)):
            for each in several:
                self._train(comparison, each, since)
        rows = [self.comparison.row(each) for each in contenders]
        standings = [_standing(self.comparison, each) for each in contenders]
        verdict = self._add_random(first, drawn, rows, standings, since) if drawn else []
        verdict += self._worth(first, standings)
        winner = best_of(standings)
        error = None if winner is None else self.comparison.item_error(winner.contender)
        verdict += [] if error is None else [item_line(error, project.monitor)]
        labels = {row.folder: row.label for row in rows}
        summary = Summary(
            space=project.space.name,
            data=type(project.data).__name__,
            monitor=project.monitor,
            direction=project.direction,
            rows=rows,
            searches={},
            seeds=list(self.comparison.seeds),
            winner=None if winner is None else labels[f"contenders/{winner.contender.key}"],
            verdict=verdict,
            item_error=error,
        )
        if winner is not None:
            found = best_of([each for each in standings if each.contender.architecture is not None])
            keep_winner(self.comparison, winner.contender, None if found is None else found.contender)
        write_whole(self.comparison.folder.summary, summary.to_json())
        return summary

    def _worth(self, first: Comparison, standings: Sequence[Standing]) -> list[str]:
        """The verdict on the network beside the others; where there are several of a kind, the first seed chooses one.

        That seed then judges nothing: it would flatter what it has chosen.
        """
        kinds: dict[str, list[Contender]] = {}
        for standing in standings:
            if standing.can_win:
                kinds.setdefault(standing.contender.found_by, []).append(standing.contender)
        if len(kinds) < 2:
            return []
        chooses = len(self.comparison.seeds) > 1 and (self.random > 1 or len(self.references) > 1)
        judging = self.comparison.over(self.comparison.seeds[1:]) if chooses else self.comparison
        best = {kind: best_of([_standing(first, each) for each in several]) for kind, several in kinds.items()}
        judged = {kind: _standing(judging, each.contender) for kind, each in best.items() if each is not None}
        monitor = self.comparison.project.monitor
        return worth_lines(judged, tests_of(judging, judged, monitor), {}, monitor)

    def _add_random(
        self,
        first: Comparison,
        drawn: Sequence[Contender],
        rows: list[Row],
        standings: list[Standing],
        since: datetime,
    ) -> list[str]:
        """Add the line of random architectures and that of the best of them; a sentence on it."""
        count, whole, monitor = len(drawn), self.comparison, self.comparison.project.monitor
        each = [first.row(contender) for contender in drawn]
        if count > 1:
            rows.append(mean_row(f"mean of {count} random ones", each))
        best = best_of([_standing(first, contender) for contender in drawn])
        if best is None:
            return [f"none of the {count} random architectures ended with a finite {monitor}"]
        self._train(whole, best.contender, since)
        label, total = (
            f"best of {count} random ones" if count > 1 else "a random one",
            sum(row.cpu_seconds or 0.0 for row in each),
        )
        rows.append(whole.row(best.contender, label))
        standings.append(_standing(whole, best.contender))
        return [
            f"{label}: {best.contender.label}, by {monitor} of seed {first.seeds[0]}; finding it took "
            f"{count} trainings, {total:.1f} CPU s; a random architecture takes {total / count:.1f} in the mean"
        ]

    def _drawn(self) -> list[Contender]:
        """Random architectures whose networks the space does not refuse, always the same ones."""
        project, count = self.comparison.project, self.random
        space = project.space
        if count > space.size:
            raise StudyError(f"random={count}: the space has {space.size:,} architectures")
        generator = np.random.default_rng(project.seed)
        drawn: dict[Architecture, None] = {}
        for _ in range(_DRAWS * count):
            if len(drawn) == count:
                break
            drawn[project.narrowed.sample(generator)] = None
        if len(drawn) < count:
            raise StudyError(f"random={count}: the space has given {len(drawn)} different architectures that fit")
        return [
            Contender(f"random {number}", architecture, found_by="random search")
            for number, architecture in enumerate(drawn)
        ]

    def _train(self, comparison: Comparison, contender: Contender, since: datetime) -> None:
        for seed in comparison.seeds:
            one = comparison.over([seed])  # so that there is something to say after each training
            while not (one.train([contender], since) and one.test([contender], since)):
                time.sleep(_POLL_SECONDS)
            result = one.trained(contender)[0]
            monitor = comparison.project.monitor
            told = result.failure if result.score is None else f"{monitor} {result.score:.4f}"
            self.listen(f"{contender.label}, seed {seed}: {told}, {result.seconds:.0f} s")


def _standing(comparison: Comparison, contender: Contender) -> Standing:
    values = [result.score for result in comparison.trained(contender)]
    return Standing(contender, values, comparison.project.direction == "maximize")
