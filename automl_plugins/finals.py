"""The end of a study: which contenders are trained over seeds, which of them is chosen, and what is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from optuna.trial import FrozenTrial, TrialState

from automl_plugins.architecture import Architecture
from automl_plugins.comparison import Comparison, Contender
from automl_plugins.errors import StudyError
from automl_plugins.objectives.goal import Goal
from automl_plugins.report.front import Front, candidates, front_of, fronts, spread
from automl_plugins.report.summary import Summary
from automl_plugins.report.trials import cost, trials_csv
from automl_plugins.run_folder import save_whole, write_whole


class Finals:
    """The choice of finalists and winners, once the trials have ended.

    Args:
        comparison: the final trainings.
        trials: of each search (arm), in the order in which they were asked for.
        references: the hand-made networks.
        goal: what is good.
        finalists: how many of an arm's best architectures are trained over the seeds.
    """

    def __init__(
        self,
        comparison: Comparison,
        trials: Mapping[str, Sequence[FrozenTrial]],
        references: Sequence[Contender],
        goal: Goal,
        finalists: int,
    ) -> None:
        self.comparison = comparison
        self.trials = trials
        self.references = list(references)
        self.goal = goal
        self.finalists = finalists

    @property
    def _maximize(self) -> bool:
        return self.comparison.direction == "maximize"

    def work(self) -> bool:
        """Train and test what no other worker has taken; False where others are still at it."""
        finalists = [contender for arm in self.trials for contender in self.best_trials(arm)]
        if not self.comparison.train([*finalists, *self.references]):
            return False
        return self.comparison.test(self.winners + self.references)

    def best_trials(self, arm: str) -> list[Contender]:
        """An arm's `finalists` best architectures, the best first; with costs, of its front.

        Raises:
            StudyError: no trial ended with a value, or none of them keeps the limits.
        """
        if self.goal.costs:
            chosen = spread(front_of(self._candidates(arm), self._maximize), self.finalists, self._maximize)
            return [Contender(f"{arm}, trial {trial.number}", self._architecture(trial)) for trial in chosen]
        # A reward is maximised, and so is its metric.
        sign = -1 if self._maximize else 1
        ordered = sorted(self._candidates(arm), key=lambda trial: (sign * trial.values[0], trial.number))
        return [Contender(arm, self._architecture(trial)) for trial in ordered[: self.finalists]]

    def _candidates(self, arm: str) -> list[FrozenTrial]:
        trials = self.trials[arm]
        chosen = candidates(trials)
        if not chosen and any(trial.state is TrialState.COMPLETE for trial in trials):
            raise StudyError(f"none of the {len(trials)} trials of {arm} keeps the limits {self.goal.limits}")
        if not chosen:
            raise StudyError(f"none of the {len(trials)} trials of {arm} ended with a value; see the failures above")
        return chosen

    def _architecture(self, trial: FrozenTrial) -> Architecture:
        return self.comparison.space.architecture(trial.params)

    @property
    def winners(self) -> list[Contender]:
        """The finalist of each arm that validated best over the seeds, the search's first; with costs, all of them."""
        if self.goal.costs:
            return [contender for arm in self.trials for contender in self.best_trials(arm)]
        return [self._winner(arm) for arm in self.trials]

    def _winner(self, arm: str) -> Contender:
        reward, finalists = self.goal.reward, self.best_trials(arm)
        if reward is None:
            return self.comparison.best(finalists)
        figures: dict[Architecture | None, dict[str, float]] = {
            self._architecture(trial): trial.user_attrs["figures"] for trial in self._candidates(arm)
        }

        def rewarded(contender: Contender) -> float:
            mean = fmean(result.score for result in self.comparison.trained(contender))
            return -math.inf if math.isnan(mean) else reward(mean, figures[contender.architecture])

        return max(finalists, key=rewarded)

    def conclude(self) -> Summary:
        """Write the result of trainings and tests into the run's folder."""
        winners, folder = self.winners, self.comparison.folder
        rows = [self.comparison.row(contender) for contender in winners + self.references]
        summary = Summary(
            space=self.comparison.space.name,
            data=type(self.comparison.data).__name__,
            monitor=self.comparison.monitor,
            direction=self.comparison.direction,
            rows=rows,
            searches={arm: cost(trials) for arm, trials in self.trials.items()},
            seeds=list(self.comparison.seeds),
            fronts=self._fronts(),
        )
        if winners:
            kept = winners[0]
            if self.goal.costs:
                kept = self.comparison.best(self.best_trials(next(iter(self.trials))))
            self._keep_winner(kept)
            write_whole(folder.trials, trials_csv(self.trials))
        write_whole(folder.summary, summary.to_json())
        return summary

    def _fronts(self) -> dict[str, Front]:
        if not self.goal.costs:
            return {}
        chosen = {arm: self._candidates(arm) for arm in self.trials}
        return fronts(chosen, (self.comparison.monitor, *self.goal.costs), self._maximize)

    def _keep_winner(self, winner: Contender) -> None:
        architecture, folder = winner.architecture, self.comparison.folder
        if architecture is None:
            raise StudyError("the winner of a search has an architecture")
        write_whole(folder.architecture, architecture.to_json())
        weights = self.comparison.weights(winner, self.comparison.best_seed(winner))
        save_whole(folder.network, weights["network"])
        save_whole(folder.module, weights["module"])
