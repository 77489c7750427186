"""PriorBand: the weights of its three ways to draw, what is drawn, and what it needs of a study."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.pruners import HyperbandPruner, NopPruner, SuccessiveHalvingPruner

from automl_plugins import Architecture, Task
from automl_plugins.samplers import Observation, PriorBandSampler, TrialLog
from automl_plugins.samplers.base import NOTE
from automl_plugins.samplers.halving import Halving
from automl_plugins.samplers.vicinity import Vicinity
from automl_plugins.testing.toy_space import ToySpace, all_b, score

RATE = FloatDistribution(1e-4, 1e-1, log=True)


def all_a(space: ToySpace) -> Architecture:
    values = {f"layer{layer}.{name}": value for layer in range(2) for name, value in (("operation", "a"), ("width", 1))}
    return space.architecture({"depth": 2, **values})


def log_of(
    observations: list[Observation],
    halving: Halving | None = None,
    stopped: list[Observation] | None = None,
    objectives: int = 1,
) -> TrialLog:
    seen = {observation.architecture for observation in [*observations, *(stopped or [])]}
    return TrialLog(observations, len(observations), seen, objectives, "a study", stopped or [], halving)


def observed(space: ToySpace, count: int) -> Iterator[Observation]:
    generator = np.random.default_rng(5)
    found = list(dict.fromkeys(space.sample(generator) for _ in range(5 * count)))
    for number, architecture in enumerate(found[:count]):
        yield Observation(number, architecture, (score(architecture),))


def study_with(sampler: PriorBandSampler, pruner: optuna.pruners.BasePruner | None = None) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name="priorband", direction="maximize", sampler=sampler, pruner=pruner or NopPruner()
    )


def drawn(study: optuna.Study) -> list[str]:
    return [trial.system_attrs.get(NOTE, {}).get("drawn", "") for trial in study.trials]


def train(space: ToySpace, trial: optuna.Trial, epochs: int = 9) -> float:
    """Curves that cross nowhere: the better architecture is ahead after the first epoch."""
    architecture = space.suggest(trial)
    rate = trial.suggest_float("rate", RATE.low, RATE.high, log=True)
    value = score(architecture) - abs(math.log10(rate) + 2)
    for epoch in range(epochs):
        trial.report(value - 1 / (epoch + 1), epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return value


# Weights.


@pytest.mark.parametrize(("rung", "random"), [(0, 1 / 2), (1, 1 / 4), (2, 1 / 10), (3, 1 / 28)])
def test_random_draws_fall_geometrically_with_the_rung_that_a_bracket_begins_at(
    rung: int, random: float, space: ToySpace
) -> None:
    log = log_of([], Halving(factor=3, rungs=4, rung=rung))
    sampler = PriorBandSampler(space, priors=[all_a(space)])
    assert sampler.weights(log) == pytest.approx((random, 1 - random, 0.0))
    assert PriorBandSampler(space).weights(log) == (1.0, 0.0, 0.0)


def test_prior_and_incumbent_share_by_the_likelihood_of_the_best_trials(space: ToySpace) -> None:
    observations = list(observed(space, 12))
    sampler = PriorBandSampler(space, priors=[all_a(space)])
    best = sorted(observations, key=lambda one: one.scores, reverse=True)[:4]
    incumbent = Vicinity(space, best[0].architecture, {})
    prior = Vicinity(space, all_a(space), {})

    def likelihood(vicinity: Vicinity) -> float:
        ranked = zip((4, 3, 2, 1), best, strict=True)
        return sum(rank * math.exp(vicinity.log_likelihood(one.architecture, {})) for rank, one in ranked)

    share = likelihood(prior) / (likelihood(prior) + likelihood(incumbent))
    weights = sampler.weights(log_of(observations, Halving(3, 1, 1)))
    assert weights == pytest.approx((0.25, 0.75 * share, 0.75 * (1 - share)))


def test_several_priors_are_each_as_likely_as_the_others(space: ToySpace) -> None:
    observations = list(observed(space, 9))
    priors = [all_a(space), all_b(space, 3)]
    alone = [PriorBandSampler(space, priors=[prior]).weights(log_of(observations)) for prior in priors]
    odds = [weights.prior / weights.incumbent for weights in alone]
    both = PriorBandSampler(space, priors=priors).weights(log_of(observations))
    assert both.prior / both.incumbent == pytest.approx(np.mean(odds))


def test_weights_go_where_it_paid(space: ToySpace) -> None:
    good = PriorBandSampler(space, priors=[all_b(space, 3)])
    bad = PriorBandSampler(space, priors=[all_a(space)])
    near, far = Vicinity(space, all_b(space, 3), {}), np.random.default_rng(0)
    observations = [
        Observation(number, architecture, (score(architecture),))
        for number, architecture in enumerate(dict.fromkeys(near.draw(far) for _ in range(30)))
    ]
    assert good.weights(log_of(observations)).prior > 0.3
    assert bad.weights(log_of(observations)).prior < 0.05


def test_without_priors_it_is_random_and_incumbent(space: ToySpace) -> None:
    weights = PriorBandSampler(space).weights(log_of(list(observed(space, 9))))
    assert weights.prior == 0.0
    assert weights.random + weights.incumbent == pytest.approx(1.0)


# The incumbent.


def test_there_is_an_incumbent_once_a_rung_is_full_and_a_bracket_is_paid_for(space: ToySpace) -> None:
    one, two, three, *rest = (
        Observation(each.number, each.architecture, each.scores, rungs={0: each.scores[0]})
        for each in observed(space, 30)
    )
    halving = Halving(factor=3, rungs=3, rung=0)
    incumbent = PriorBandSampler(space).incumbent
    assert incumbent(log_of([])) is None
    assert incumbent(log_of([one, two])) is None
    assert incumbent(log_of([one, two, three])) is max(one, two, three, key=lambda each: each.scores)
    # Each that was stopped at the first of three rungs has cost a ninth of a full training.
    assert incumbent(log_of([one], halving, [two, three])) is None
    assert incumbent(log_of([one], halving, rest[:17])) is None
    assert incumbent(log_of([one], halving, rest[:18])) is one
    assert incumbent(log_of([], halving, rest)) is None


def test_the_best_are_those_at_the_highest_rung_with_enough_trials(space: ToySpace) -> None:
    """Of the trials that were stopped, those at a low rung count until enough came further."""
    first, *others = (
        Observation(each.number, each.architecture, each.scores, rungs={0: each.scores[0]})
        for each in observed(space, 28)
    )
    prior = max(others, key=lambda one: one.scores).architecture
    sampler = PriorBandSampler(space, priors=[prior])
    halving = Halving(3, 3, 0)
    # The incumbent is one of few that were trained to the end; the others' best lie round the prior.
    low = sampler.weights(log_of([first], halving, others))
    high = sampler.weights(log_of([first, *observed_round(space, first.architecture)], halving, others))
    assert low.prior > high.prior


def observed_round(space: ToySpace, architecture: Architecture) -> list[Observation]:
    generator = np.random.default_rng(0)
    near = Vicinity(space, architecture, {})
    drawn = [near.draw(generator) for _ in range(8)]
    return [Observation(100 + place, each, (-float(place),)) for place, each in enumerate(drawn)]


def test_what_keeps_the_constraints_is_the_incumbent_before_what_does_not(space: ToySpace) -> None:
    better, worse, worst = (
        Observation(each.number, each.architecture, (float(-each.number),), violation=each.number == 0)
        for each in observed(space, 3)
    )
    assert PriorBandSampler(space).incumbent(log_of([better, worse, worst])) is worse


def test_with_a_cost_the_incumbent_is_the_point_of_the_front_with_the_largest_box(space: ToySpace) -> None:
    # Score and cost, as numbers of which larger is better; the corner lies at (-0.1, -1.0).
    points = [(1.0, -10.0), (0.8, -2.0), (0.5, -1.0), (0.0, 0.0), (0.7, -3.0)]
    boxes = [1.1 * 1.0, 0.9 * 9.0, 0.6 * 10.0, 0.1 * 11.0]
    known = list(observed(space, len(points)))
    observations = [Observation(one.number, one.architecture, point) for one, point in zip(known, points, strict=True)]
    incumbent = PriorBandSampler(space).incumbent(log_of(observations, objectives=2))
    assert incumbent is observations[int(np.argmax(boxes))]


# Draws.


def test_each_prior_is_tried_as_it_is_before_anything_else_and_only_once(space: ToySpace) -> None:
    priors = [all_a(space), all_b(space, 3)]
    study = study_with(PriorBandSampler(space, priors=priors))
    study.enqueue_trial(dict(priors[1]))
    study.optimize(lambda trial: score(space.suggest(trial)), n_trials=12)
    tried = [space.architecture(trial.params) for trial in study.trials]
    assert tried[:2] == [priors[1], priors[0]]
    assert len(set(tried)) == 12
    assert drawn(study)[:2] == ["", "as the prior"]


def test_draws_come_from_all_three_as_often_as_the_weights_say(space: ToySpace) -> None:
    log = log_of(list(observed(space, 20)), Halving(3, 1, 1))
    sampler = PriorBandSampler(space, priors=[observed_best(space).architecture])
    # The prior was tried, and is the incumbent: both share evenly.
    proposals = [sampler.propose(log, np.random.default_rng(seed)) for seed in range(400)]
    counts = Counter(proposal.note["drawn"] for proposal in proposals)
    assert sampler.weights(log) == pytest.approx((0.25, 0.375, 0.375))
    for drawn_from, share in (("at random", 0.25), ("round a prior", 0.375), ("round the incumbent", 0.375)):
        assert counts[drawn_from] / 400 == pytest.approx(share, abs=0.08)
    assert not {proposal.architecture for proposal in proposals} & log.seen


def observed_best(space: ToySpace) -> Observation:
    return max(observed(space, 20), key=lambda one: one.scores)


def test_the_references_of_a_space_that_was_narrowed_to_a_task_are_its_priors() -> None:
    from gnn_space import AGNNSpace

    space, task = AGNNSpace(layers=2), Task("node", "classes", in_channels=8, out_channels=3)
    assert PriorBandSampler(space).priors == []
    unlimited = {"params": None, "macs": None, "activations": None}
    assert PriorBandSampler(space.within(task, unlimited)).priors == list(space.references(task).values())


def test_draws_keep_the_limits_of_a_narrowed_space() -> None:
    from gnn_space import AGNNSpace

    task = Task("node", "classes", in_channels=8, out_channels=3)
    whole = AGNNSpace(layers=2)
    references = whole.references(task)
    tight = min(whole.num_parameters(each, task) for each in references.values())
    narrowed = whole.within(task, {"params": tight, "macs": None, "activations": None})
    study = study_with(PriorBandSampler(narrowed))
    for _ in range(10):
        trial = study.ask()
        architecture = narrowed.suggest(trial)  # raises TrialPruned beyond the limits
        assert whole.num_parameters(architecture, task) <= tight
        study.tell(trial, -float(whole.num_parameters(architecture, task)))


# Parameters beside the architecture.


def test_a_prior_and_what_was_enqueued_take_the_defaults(space: ToySpace) -> None:
    study = study_with(PriorBandSampler(space, priors=[all_a(space)], defaults={"rate": 0.02, "width": "wide"}))
    study.enqueue_trial(dict(all_b(space, 3)))
    study.optimize(lambda trial: train(space, trial), n_trials=2)
    assert [trial.params["rate"] for trial in study.trials] == [0.02, 0.02]


def test_parameters_beside_the_architecture_are_drawn_with_it(space: ToySpace) -> None:
    sampler = PriorBandSampler(space, priors=[all_a(space)], defaults={"rate": 1e-4})
    study = study_with(sampler)
    study.optimize(lambda trial: train(space, trial), n_trials=120)
    distances: dict[str, list[float]] = {"at random": [], "round a prior": [], "round the incumbent": []}
    trials = study.trials
    for trial, how in zip(trials, drawn(study), strict=True):
        note = trial.system_attrs[NOTE]
        if how in distances:
            centre = trials[note["incumbent"]].params["rate"] if "incumbent" in note else 1e-4
            distances[how].append(abs(math.log10(trial.params["rate"] / centre)) / 3)
    means = {how: np.mean(each) for how, each in distances.items() if each}
    assert means["round the incumbent"] < 0.25 < means["at random"]
    assert study.best_value > 3.0
    best = study.best_trial.params
    assert abs(math.log10(best["rate"]) + 2) < 0.5


def test_an_architecture_may_come_again_with_other_parameters(space: ToySpace) -> None:
    study = study_with(PriorBandSampler(space, priors=[all_b(space, 3)], defaults={"rate": 1e-4}))
    study.optimize(lambda trial: train(space, trial), n_trials=60)
    tried = Counter(space.architecture(trial.params) for trial in study.trials)
    assert tried[all_b(space, 3)] > 1
    assert len({tuple(sorted(trial.params.items())) for trial in study.trials}) == 60


def test_weights_are_moved_by_parameters_beside_the_architecture_too(space: ToySpace) -> None:
    def observations(rate: float) -> list[Observation]:
        return [
            Observation(each.number, all_a(space), each.scores, parameters={"rate": (RATE, rate)})
            for each in observed(space, 9)
        ]

    sampler = PriorBandSampler(space, priors=[all_a(space)], defaults={"rate": 1e-3})
    near, far = (sampler.weights(log_of(observations(rate))).prior for rate in (1e-3, 1e-1))
    assert near == pytest.approx(0.45, abs=0.3)
    assert far < near / 5


# Studies.


@pytest.mark.parametrize(
    "make",
    [lambda: HyperbandPruner(max_resource=9), lambda: SuccessiveHalvingPruner(), NopPruner],
    ids=["hyperband", "halving", "none"],
)
def test_a_study_that_is_killed_after_each_trial_is_as_one_that_was_not(make: Any, space: ToySpace) -> None:
    def params(is_killed: bool) -> list[Mapping[str, Any]]:
        storage = optuna.storages.InMemoryStorage()
        made = {"sampler": None, "pruner": None}
        for _ in range(30):
            if is_killed or made["sampler"] is None:
                sampler = PriorBandSampler(ToySpace(), 3, [all_a(space)], {"rate": 1e-3})
                made = {"sampler": sampler, "pruner": make()}
            study = optuna.create_study(
                storage=storage, study_name="one", direction="maximize", load_if_exists=True, **made
            )
            study.optimize(lambda trial: train(space, trial), n_trials=1)
        return [{**trial.params, "drawn": trial.system_attrs.get(NOTE)} for trial in study.trials]

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    whole = params(is_killed=False)
    assert whole == params(is_killed=True)
    assert {each["drawn"]["drawn"] for each in whole} >= {"at random", "round the incumbent"}


def test_hyperband_s_brackets_settle_the_weights_and_stopped_trials_teach(space: ToySpace) -> None:
    study = study_with(PriorBandSampler(space), HyperbandPruner(max_resource=9))
    study.optimize(lambda trial: train(space, trial), n_trials=60)
    log = study.sampler.log(study)
    pruned = [trial.number for trial in study.trials if trial.state is optuna.trial.TrialState.PRUNED]
    assert [one.number for one in log.stopped] == pruned
    assert len(pruned) > 20
    for one in [*log.stopped, *log.observations]:
        trial = study.trials[one.number]
        bracket = study.pruner._get_bracket_id(study, trial)
        # Rungs are after 1, 3 and 9 epochs and more, counted from 0; a bracket begins at its own.
        reached = [rung for rung in range(bracket, 3) if trial.last_step >= 3**rung]
        assert list(one.rungs) == reached
        assert [one.rungs[rung] for rung in reached] == [trial.intermediate_values[3**rung] for rung in reached]


def test_trials_that_failed_or_ended_with_nan_teach_nothing(space: ToySpace) -> None:
    study = study_with(PriorBandSampler(space, priors=[all_a(space)]), HyperbandPruner(max_resource=9))
    outcomes = [math.nan, math.inf, None]

    def objective(trial: optuna.Trial) -> float:
        space.suggest(trial)
        trial.report(math.nan, 4)
        if trial.should_prune():
            raise optuna.TrialPruned
        outcome = outcomes[trial.number % 3]
        if outcome is None:
            raise RuntimeError("the loss exploded")
        return outcome

    study.optimize(objective, n_trials=12, catch=RuntimeError)
    log = study.sampler.log(study)
    assert not log.observations
    assert not log.stopped
    assert study.sampler.weights(log).incumbent == 0.0


@pytest.mark.parametrize(
    ("priors", "message"),
    [
        ([{"depth": 2}], r"priors: .*layer0"),
        (["gcn"], r"priors: each is an architecture, or a mapping of its choices; got 'gcn'"),
        ([Architecture("agnn", 2, {})], r"priors: the architecture is of the space 'agnn', not of 'toy'"),
    ],
)
def test_a_prior_that_is_none_of_the_space_is_named(priors: Any, message: str, space: ToySpace) -> None:
    with pytest.raises(ValueError, match=message):
        PriorBandSampler(space, priors=priors)
