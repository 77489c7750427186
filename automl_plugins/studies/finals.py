"""The final trainings of a study: who takes part in them, who gives his place to another, and who wins."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property

from optuna.trial import FrozenTrial

from automl_plugins.objectives.contender import Contender
from automl_plugins.objectives.standing import Standing, best_of, preferred_of
from automl_plugins.report.front import candidates, front_of, spread
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.refusal import REFERENCE
from automl_plugins.studies.comparison import Comparison
from automl_plugins.studies.plan import HAND_MADE, Plan

_FOUND_BY = {"search": "search", "random": "random search"}


class Finals:
    """The final trainings of a study's best trials and its references, and the choice among them.

    A finalist that fails or diverges on a seed gives its place to the next best of its arm, until
    `max_equal_failures` have done so in the same way: what fails each time is not mended by trying on. All that is
    decided here follows from the trials and the results on the disk alone, so all workers decide alike, and so does a
    run that goes on.

    Networks that are compared in the end were chosen on other seeds than they are judged by: the best of several means
    over the same seeds flatters whoever had more to choose from. So all finalists, and the references, are trained on
    the seeds of `choosing`; the best finalist of each arm and the references then on those of `comparison`, which alone
    are shown. There is nothing to choose where an arm has one finalist, and nothing to judge by where there is one
    seed. With costs the whole of a front is shown, and its best by trials stands for the arm.

    Args:
        comparison: the final trainings that are shown.
        choosing: those that choose among finalists; the same where there is one seed.
        plan: of the study.
        trials: of each arm, in the order in which they were asked for.
        references: the hand-made networks; where they are an arm, its finalists stand for all of them.
        measure: measures the goal's figures of a hand-made network.
        weigh: measures what is shown of networks beside an ensemble: their multiply-accumulates and latency.
        points: the architectures that are hand-made networks, by these networks' names.
        is_over: True where the search was ended for the study's time.
    """

    def __init__(
        self,
        comparison: Comparison,
        choosing: Comparison,
        plan: Plan,
        trials: Mapping[str, Sequence[FrozenTrial]],
        references: Sequence[Contender],
        measure: Callable[[Contender], Mapping[str, float]],
        weigh: Callable[[Contender], Mapping[str, float]],
        points: Mapping[str, Architecture] | None = None,
        is_over: bool = False,
    ) -> None:
        self.comparison = comparison
        self.choosing = choosing
        self.project = comparison.project
        self.plan = plan
        self.goal = plan.goal
        self.trials = trials
        self.arms = [arm for arm in trials if arm != HAND_MADE]
        self.hand_made = list(references)
        self.measure = measure
        self.weigh = weigh
        self.points = points or {}
        self.is_over = is_over

    @property
    def maximize(self) -> bool:
        """True where more of the metric, and of the reward, is better."""
        return self.project.direction == "maximize"

    # Training and testing.

    def work(self, since: datetime | None = None) -> bool:
        """Train and test what no other worker has taken; False where others are still at it.

        Args:
            since: when the study was started; what failed before is tried again.
        """
        for contender in self.references:
            self._figures(contender)
        done = None
        # What fails brings others in.
        while done != (now := (self.chosen_among, self.contenders, self.members)):
            if not self.choosing.train(self.chosen_among, since):
                return False
            if not self.comparison.train([*self.contenders, *self.members], since):
                return False
            done = now
        if not self.comparison.train(filter(None, [self.ensemble]), since):
            return False
        return self.comparison.test(self.tested, since)

    def choose(self, since: datetime | None = None) -> bool:
        """Train what is chosen among, as far as no other worker has taken it; False where others are still at it."""
        done = None
        while done != (now := self.chosen_among):  # what fails brings others in
            if not self.choosing.train(now, since):
                return False
            done = now
        return True

    @property
    def chosen_among(self) -> list[Contender]:
        """All that are trained on the choosing seeds: where several have one finder, he is compared by one of them.

        With costs these are the references alone: a front is not ranked. For an ensemble all are ranked.
        """
        arms = [] if self.goal.costs and self.plan.ensemble is None else self.arms
        every = [*(contender for arm in arms for contender in self.finalists(arm)), *self.references]
        if self.plan.ensemble is not None:
            return every
        finders = Counter(contender.found_by for contender in every)
        return [contender for contender in every if finders[contender.found_by] > 1]

    @property
    def contenders(self) -> list[Contender]:
        """All that are trained over the seeds which are shown, and the references."""
        return [*(contender for arm in self.arms for contender in self.judged(arm)), *self.references]

    def judged(self, arm: str) -> list[Contender]:
        """The finalist of an arm that was chosen, and those before it that failed then; with costs, all finalists."""
        finalists = self.finalists(arm)
        if self.goal.costs:
            return finalists
        sound = [contender for contender in finalists if not self.failure(contender)]
        chosen = self.chosen(sound or finalists)
        failed = [contender for contender in finalists if contender not in sound and contender != chosen]
        return [*filter(None, [chosen]), *(each for each in failed if self.comparison.is_trained(each))]

    @property
    def references(self) -> list[Contender]:
        """The hand-made networks that are trained: all that there are, or the finalists of their arm.

        Places that are left, since fewer networks have trials with a value, are for those without: their lines of the
        table say what became of them.
        """
        if HAND_MADE not in self.trials:
            return self._as_found(self.hand_made)
        finalists = self.finalists(HAND_MADE)
        known = {each.reference for each in finalists}
        others = [each for each in self.hand_made if each.reference not in known and each not in self.left_out]
        finalists += others[: max(0, self.plan.finalists - len(finalists))]
        names = Counter(each.reference for each in finalists)
        order = [each.reference for each in self.hand_made]
        shown = [
            replace(each, label=each.label.partition(",")[0]) if names[each.reference] == 1 else each
            for each in finalists
        ]
        return self._as_found(sorted(shown, key=lambda each: order.index(each.reference)))

    def _as_found(self, references: Sequence[Contender]) -> list[Contender]:
        """The same; one that is a finalist of a search too, as that architecture, so that it is trained once."""
        found = [contender for arm in self.arms for contender in self.finalists(arm)]
        points = {each.reference: self.points.get(str(each.reference)) for each in references}
        return [
            replace(each, architecture=points[each.reference])
            if any((one.architecture, one.settings) == (points[each.reference], each.settings) for one in found)
            else each
            for each in references
        ]

    @property
    def left_out(self) -> list[Contender]:
        """The hand-made networks that have no trial, since not even one fitted into the cost of their arm."""
        tried = {trial.user_attrs.get(REFERENCE) for trial in self.trials.get(HAND_MADE, ())}
        return [each for each in self.hand_made if each.reference not in tried] if tried else []

    def trial_seconds(self) -> dict[str, float]:
        """The time that the trial of each candidate took, by its key."""
        return {
            self._contender(arm, trial).key: trial.user_attrs["seconds"]
            for arm in self.trials
            for trial in self._candidates(arm)
            if "seconds" in trial.user_attrs
        }

    @property
    def unsettled(self) -> list[str]:
        """The arms whose finalists are not chosen among yet."""
        return [arm for arm in self.arms if self.finalists(arm) and not self.judged(arm)]

    def chosen(self, among: Sequence[Contender]) -> Contender | None:
        """The best of several on the choosing seeds, the first where there is one; None while they are not trained."""
        if len(among) < 2 or not all(map(self.choosing.is_trained, among)):
            return among[0] if len(among) == 1 else None
        best = best_of([self.standing(contender, self.choosing) for contender in among])
        return among[0] if best is None else best.contender

    def finalists(self, arm: str) -> list[Contender]:
        """The best architectures of an arm, the best first, and then those whose place they took since they failed."""
        failed: list[Contender] = []
        ways: Counter[str] = Counter()
        while True:
            chosen = self._best(arm, {contender.key for contender in failed})
            new = [contender for contender in chosen if self.failure(contender)]
            ways.update(self.failure(contender) for contender in new)
            if not new or max(ways.values()) >= self.plan.max_equal_failures:
                return [*chosen, *failed]
            failed += new

    def failure(self, contender: Contender) -> str:
        """The failure on the first seed that had one; "" where all went well, or have not ended yet."""
        ended = [each for each in (self.choosing, self.comparison) if each.is_trained(contender)]
        return next((one.failure for each in ended for one in each.trained(contender) if one.failure), "")

    @property
    def failed(self) -> list[Contender]:
        """The finalists that failed on the seeds that choose, and so were not judged."""
        every = [contender for arm in self.arms for contender in self.finalists(arm)]
        judged = {contender.key for contender in self.contenders}
        return [contender for contender in every if self.failure(contender) and contender.key not in judged]

    def _best(self, arm: str, without: set[str]) -> list[Contender]:
        """The best of an arm by its trials; with costs, of its front, the ends first."""
        known = self._candidates(arm)
        contenders = {trial.number: self._contender(arm, trial) for trial in known}
        left = [trial for trial in known if contenders[trial.number].key not in without]
        if self.goal.costs:
            chosen = spread(front_of(left, self.maximize), self.plan.finalists, self.maximize)
        else:
            # A reward is maximised, and so is its metric.
            sign = -1 if self.maximize else 1
            ranked = sorted(left, key=lambda trial: (sign * trial.values[0], trial.number))
            chosen = _different(ranked, contenders)[: self.plan.finalists]
        return [contenders[trial.number] for trial in chosen]

    def _candidates(self, arm: str) -> list[FrozenTrial]:
        """The trials that finalists are taken from: not those of hand-made networks that are none of the study now."""
        names = {each.reference for each in self.hand_made}
        known = candidates(self.trials[arm])
        return [trial for trial in known if arm != HAND_MADE or trial.user_attrs[REFERENCE] in names]

    def _contender(self, arm: str, trial: FrozenTrial) -> Contender:
        tuning, reference = self.plan.tuning, trial.user_attrs.get(REFERENCE)
        if arm == HAND_MADE:
            made = next(each for each in self.hand_made if each.reference == reference)
            return replace(made, label=f"{made.label}, trial {trial.number}", settings=tuning.of(trial.params))
        architecture = self.project.space.architecture(tuning.without(trial.params))
        who = arm if reference is None else f"{arm} ({reference})"
        found_by, settings = _FOUND_BY.get(arm, arm), tuning.of(trial.params)
        return Contender(f"{who}, trial {trial.number}", architecture, found_by=found_by, settings=settings)

    @property
    def tested(self) -> list[Contender]:
        """The contenders to test: those of the table, and not each finalist, so that the test chooses nothing."""
        economical = self.economical
        further = [economical.contender if economical is not None else None, self.ensemble]
        return [*self.winners, *self.references, *filter(None, further)]

    @property
    def winners(self) -> list[Contender]:
        """The finalist of each arm that was chosen; with costs, all that have a value."""
        return [contender for arm in self.arms for contender in self._winners_of(arm)]

    def _winners_of(self, arm: str) -> list[Contender]:
        standings = [self.standing(contender) for contender in self.judged(arm)]
        if self.goal.costs:
            return [standing.contender for standing in standings if standing.mean is not None]
        best = best_of(standings)
        return [] if best is None else [best.contender]

    # An ensemble.

    @property
    def members(self) -> list[Contender]:
        """Those of the ensemble that was asked for: the best on the choosing seeds, each network once.

        Empty where none was asked for, while they are not trained, and where fewer than two can be chosen.
        """
        among = self.chosen_among if self.plan.ensemble is not None else []
        if not all(map(self.choosing.is_trained, among)):
            return []
        sound = {contender.key: contender for contender in among if not self.failure(contender)}
        able = [each for each in (self.standing(one, self.choosing) for one in sound.values()) if each.can_win]
        best = sorted(able, key=lambda standing: standing.rank)[: self.plan.ensemble]
        return [standing.contender for standing in best] if len(best) > 1 else []

    @property
    def ensemble(self) -> Contender | None:
        """The mean of the members' predictions, on each seed of what they have learned there; it does not win.

        It would mostly be the best, at several times the cost; who wants it takes it from beside the winner.
        """
        members = tuple(self.members)
        if not members:
            return None
        return Contender(f"ensemble of {len(members)}", found_by="ensemble", members=members)

    # Choosing.

    def standing(self, contender: Contender, comparison: Comparison | None = None) -> Standing:
        """The results of a contender's trainings, on the seeds that are shown or those of another comparison."""
        results = (comparison or self.comparison).trained(contender)
        figures = self._figures(contender)
        counts = [result.params for result in results if result.params is not None]
        broken = self.goal.broken(figures)
        cap = self.project.space.max_parameters
        if cap is not None and counts and counts[0] > cap:
            broken.append("max_parameters")  # only a hand-made network can: the space makes none above it
        return Standing(
            contender=contender,
            values=[self._value(result.score, figures) for result in results],
            maximize=self.maximize,
            params=counts[0] if counts else None,
            figures=figures,
            broken=broken,
        )

    def _value(self, score: float | None, figures: Mapping[str, float]) -> float | None:
        """The worth of a training: its score, or the reward of it."""
        if score is None or self.goal.reward is None:
            return score
        try:
            value = float(self.goal.reward(score, figures))
        except (KeyError, ValueError):
            # The cost is unknown, or the reward has no meaning there.
            return None
        return value if math.isfinite(value) else None

    def _figures(self, contender: Contender) -> Mapping[str, float]:
        """The costs that the goal knows: of an architecture as its trial was told, of a reference as measured."""
        if not self.goal.figures:
            return {}
        return self._measured.get(contender.key) or self.measure(contender)

    @cached_property
    def _measured(self) -> dict[str, Mapping[str, float]]:
        return {
            self._contender(arm, trial).key: trial.user_attrs["figures"]
            for arm in self.trials
            for trial in self._candidates(arm)
            if "figures" in trial.user_attrs
        }

    @property
    def standings(self) -> list[Standing]:
        """Of all contenders; of a network that several found, one for each."""
        return [self.standing(contender) for contender in self.contenders]

    @property
    def eligible(self) -> list[Standing]:
        """Of all that may be the economical one: contenders, and what else was trained over the seeds, each once.

        These are an ensemble's members, the finalists of an earlier, longer list, and hand-made networks that are
        behind the finalists of their arm.
        """
        finalists = (contender for arm in self.arms for contender in self.finalists(arm))
        every = [*self.contenders, *self.members, *finalists, *self.hand_made]
        trained = (each for each in every if self.comparison.is_trained(each))
        return [self.standing(each) for each in {each.key: each for each in reversed(list(trained))}.values()]

    @property
    def representatives(self) -> dict[str, Standing]:
        """The standing of the one of each that found any (`search`, `random search`, `hand`) that is compared."""
        every: dict[str, list[Contender]] = {}
        for arm in self.arms:
            for contender in self._winners_of(arm)[:1]:
                every.setdefault(contender.found_by, []).append(contender)
        for contender in self.references:
            if self.standing(contender).can_win:
                every.setdefault(contender.found_by, []).append(contender)
        chosen = {name: self.chosen(contenders) for name, contenders in every.items()}
        return {name: self.standing(contender) for name, contender in chosen.items() if contender is not None}

    @property
    def winner(self) -> Standing | None:
        """The best of all contenders by mean validation (or reward), or the economical one where that is preferred."""
        return preferred_of(self.standings, self.eligible, self.plan.prefer, self.cost)

    @property
    def found(self) -> Standing | None:
        """The same, of architectures alone."""
        judged, eligible = (
            [each for each in several if each.contender.architecture is not None]
            for several in (self.standings, self.eligible)
        )
        return preferred_of(judged, eligible, self.plan.prefer, self.cost)

    @property
    def economical(self) -> Standing | None:
        """The cheapest network that was trained over the seeds within one standard error of the best."""
        best = best_of(self.standings)
        return (
            None if best is None or best.error is None else preferred_of([best], self.eligible, "economical", self.cost)
        )

    @property
    def cost(self) -> str:
        """The figure that cheap is meant by."""
        return next(iter(self.goal.figures), "params")


def _different(ranked: Sequence[FrozenTrial], contenders: Mapping[int, Contender]) -> list[FrozenTrial]:
    """The best trial of each network, the best first, and then the others: the same with other settings.

    A sampler that exploits asks for its best network again and again with nearly the same settings, and such finalists
    would leave little to choose from.
    """
    best: dict[tuple[Architecture | None, str | None], FrozenTrial] = {}
    others = []
    for trial in ranked:
        contender = contenders[trial.number]
        if best.setdefault((contender.architecture, contender.reference), trial) is not trial:
            others.append(trial)
    return [*best.values(), *others]
