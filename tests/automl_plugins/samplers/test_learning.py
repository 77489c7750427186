"""What each sampler does that the others do not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import optuna
import pytest
import torch

from automl_plugins import Architecture, Task
from automl_plugins.estimators import Candidate, Context, Estimate, Estimator, make_estimator
from automl_plugins.estimators.predictors.comparator import ComparatorPredictor
from automl_plugins.estimators.predictors.ridge import RidgePredictor
from automl_plugins.samplers import (
    ControllerSampler,
    EvolutionSampler,
    Observation,
    PredictorSampler,
    ReinforceSampler,
    TrialLog,
)
from automl_plugins.samplers.class_policy import ClassPolicy
from automl_plugins.samplers.evolution import best_first
from automl_plugins.samplers.judge import Judge
from automl_plugins.samplers.reinforce import _softmax
from automl_plugins.samplers.uniform import UniformSampler
from automl_plugins.testing.toy_space import ToySpace, all_b, score


def observed(space: ToySpace, count: int, seed: int = 0) -> list[Observation]:
    generator = np.random.default_rng(seed)
    found = dict.fromkeys(space.sample(generator) for _ in range(5 * count))
    return [Observation(number, each, (score(each),)) for number, each in enumerate(list(found)[:count])]


def log_of(observations: list[Observation], settled: int | None = None) -> TrialLog:
    seen = {observation.architecture for observation in observations}
    return TrialLog(observations, len(observations) if settled is None else settled, seen, 1, "a study")


def late_mean(sampler: object, space: ToySpace) -> float:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(lambda trial: score(space.suggest(trial)), n_trials=80)
    return float(np.mean([trial.value for trial in study.trials[-20:]]))


@pytest.mark.parametrize(
    "make",
    [
        lambda space, seed: EvolutionSampler(space, seed, population=10, tournament=4),
        lambda space, seed: PredictorSampler(space, seed, startup=10),
        lambda space, seed: ReinforceSampler(space, seed),
        lambda space, seed: ControllerSampler(space, seed, hidden=16, learning_rate=0.03),
    ],
    ids=["evolution", "predictor", "reinforce", "controller"],
)
def test_a_sampler_tries_better_architectures_than_chance_does(make: object, space: ToySpace) -> None:
    by_chance = np.mean([late_mean(optuna.samplers.RandomSampler(seed=seed), space) for seed in range(3)])
    learned = np.mean([late_mean(make(space, seed), space) for seed in range(3)])
    assert learned > by_chance + 0.4


@pytest.mark.parametrize("make", [EvolutionSampler, UniformSampler])
def test_parameters_beside_the_architecture_are_learned_but_by_random_search(make: type, space: ToySpace) -> None:
    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("rate", 1e-4, 1e-1, log=True)
        return score(space.suggest(trial)) - 3 * abs(math.log10(rate) + 2)

    study = optuna.create_study(direction="maximize", sampler=make(space, seed=0))
    study.optimize(objective, n_trials=80)
    decades = [abs(math.log10(trial.params["rate"]) + 2) for trial in study.get_trials(deepcopy=False)[-40:]]
    # At random, from four decades to one around the best, the mean distance is 5/6 of a decade.
    assert np.mean(decades) < 0.5 if make is EvolutionSampler else np.mean(decades) == pytest.approx(5 / 6, abs=0.2)


# Evolution.


def test_the_parent_is_one_of_the_latest(space: ToySpace) -> None:
    observations = observed(space, 40)
    sampler = EvolutionSampler(space, population=10, tournament=10)
    child = sampler.propose(log_of(observations), np.random.default_rng(0)).architecture
    best = max(observations[-10:], key=lambda one: one.fitness).architecture
    assert child in set(space.neighbours(best))
    assert child not in {one.architecture for one in observations}


def test_a_proxy_chooses_the_first_trials(space: ToySpace) -> None:
    sampler = EvolutionSampler(space, population=5, tournament=2, proxy=score, proxy_pool=400)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(lambda trial: score(space.suggest(trial)), n_trials=5)
    pool = {space.sample(generator) for generator in [np.random.default_rng(0)] for _ in range(400)}
    assert [trial.value for trial in study.trials] == sorted(map(score, pool), reverse=True)[:5]


FAILURES: list[Callable[[], float | None]] = [
    lambda: math.nan,
    lambda: math.inf,
    lambda: -math.inf,
    lambda: None,
    lambda: 1 / 0,
]


@pytest.mark.parametrize("fail", FAILURES, ids=["nan", "inf", "-inf", "None", "raises"])
@pytest.mark.parametrize("sign", [1, -1])
def test_architectures_that_the_proxy_fails_for_come_last(
    fail: Callable[[], float | None], sign: int, space: ToySpace
) -> None:
    def proxy(architecture: Architecture) -> float | None:
        return fail() if architecture["layer0.operation"] == "b" else sign * score(architecture)

    sampler = EvolutionSampler(space, population=5, tournament=2, proxy=proxy, proxy_pool=400)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    pool = {space.sample(generator) for generator in [np.random.default_rng(0)] for _ in range(400)}
    failed = [architecture for architecture in pool if architecture["layer0.operation"] == "b"]
    told = rf"no finite number for {len(failed)} of {len(pool)} architectures, which come last \(the first: "
    with pytest.warns(UserWarning, match=told):
        study.optimize(lambda trial: score(space.suggest(trial)), n_trials=5)
    best = sorted((sign * score(each) for each in pool.difference(failed)), reverse=True)
    assert [sign * trial.value for trial in study.trials] == best[:5]


class Measured(Estimator):
    """What only a context knows."""

    def __init__(self, sign: int = 1) -> None:
        self.sign = sign

    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        return Estimate(self.sign * score(candidate) * context.task.out_channels)


@pytest.mark.parametrize("sign", [1, -1])
def test_an_estimator_of_networks_is_a_proxy_in_a_context(sign: int, space: ToySpace) -> None:
    config = {"class_path": f"{__name__}.Measured", "init_args": {"sign": sign}}
    asked = []

    def context() -> Context:
        asked.append(True)
        return Context(space, Task("node", "classes", 3, 2))

    sampler = EvolutionSampler(space, population=5, tournament=2, proxy=config, proxy_pool=400, context=context)
    assert not asked  # a study's context reads data
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(lambda trial: score(space.suggest(trial)), n_trials=5)
    pool = {space.sample(generator) for generator in [np.random.default_rng(0)] for _ in range(400)}
    assert [trial.value for trial in study.trials] == sorted(map(score, pool), reverse=sign > 0)[:5]


def test_a_proxy_that_fails_for_all_is_refused(space: ToySpace) -> None:
    sampler = EvolutionSampler(space, population=5, tournament=2, proxy=lambda _: math.nan, proxy_pool=20)
    with pytest.raises(ValueError, match=r"gave no finite number for .* architectures \(the score is nan\); mend it"):
        space.suggest(optuna.create_study(sampler=sampler).ask())


def test_a_predictor_that_gives_nan_chooses_what_it_has_a_number_for(space: ToySpace) -> None:
    class Partly(RidgePredictor):
        def predict(self, architectures: Sequence[Architecture]) -> np.ndarray:
            failed = [architecture["layer0.operation"] == "b" for architecture in architectures]
            return np.where(failed, np.nan, super().predict(architectures))

    for objectives in (1, 2):
        sampler = PredictorSampler(space, predictor=Partly, startup=2)
        observations = [
            Observation(number, one.architecture, one.scores * objectives)
            for number, one in enumerate(observed(space, 30))
        ]
        log = TrialLog(observations, 30, {one.architecture for one in observations}, objectives, object())
        generator = np.random.default_rng(0)
        found = [sampler.propose(log, generator).architecture for _ in range(4)]
        assert all(each["layer0.operation"] != "b" for each in found)


def test_the_population_of_several_objectives_is_the_front_and_what_lies_behind(space: ToySpace) -> None:
    architecture = space.sample(np.random.default_rng(0))
    points = [(0.0, 4.0), (1.0, 1.0), (2.0, 2.0), (4.0, 0.0), (3.0, 1.0), (9.0, 9.0)]
    broken = {5: 1.0}
    observations = [Observation(n, architecture, point, broken.get(n, 0.0)) for n, point in enumerate(points)]
    order = [observation.number for observation in best_first(observations)]
    assert set(order[:2]) == {0, 3}  # the ends of the front
    assert set(order[2:4]) == {2, 4}
    assert order[4:] == [1, 5]  # what is dominated, and last what breaks a constraint


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"population": 0}, "population is at least 1; got 0"),
        ({"population": 3, "tournament": 4}, "tournament is between 1 and the population, 3; got 4"),
        ({"proxy": score, "proxy_pool": 5}, "proxy_pool is at least the population, 20; got 5"),
        ({"proxy": "ridge"}, "proxy: RidgePredictor learns from trials, and there are none before the first"),
        ({"proxy": "nasswot"}, "estimator='nasswot' is unknown"),
        ({"proxy": "training"}, "TrainingEstimator judges networks"),
    ],
)
def test_evolution_names_a_wrong_argument(arguments: dict[str, object], message: str, space: ToySpace) -> None:
    with pytest.raises(ValueError, match=message):
        EvolutionSampler(space, **arguments)


# REINFORCE.


def test_a_step_is_the_gradient_that_autograd_gives(space: ToySpace) -> None:
    sampler = ReinforceSampler(space, learning_rate=0.1, entropy=0.05)
    observations = observed(space, 6)
    for count in range(2, 7):
        before = ReinforceSampler(space, learning_rate=0.1, entropy=0.05).policy(log_of(observations[: count - 1]))
        after = sampler.policy(log_of(observations[:count]))
        weights = torch.tensor(before.weights, requires_grad=True)
        architecture = observations[count - 1].architecture
        advantage = observations[count - 1].scores[0] - before.baseline
        advantage /= math.sqrt(0.95 * before.variance + 0.05 * advantage**2)
        expected = before.weights.copy()
        taken, offset = [weights.shape[1] - 1], 0
        for choice in space.choices:
            if choice.name in architecture:
                rows = slice(offset, offset + len(choice.options))
                logs = weights[rows][:, taken].sum(1).log_softmax(0)
                index = choice.index(architecture[choice.name])
                objective = advantage * logs[index] - 0.05 * (logs.exp() * logs).sum()
                (gradient,) = torch.autograd.grad(objective, weights)
                expected += 0.1 / math.sqrt(len(taken)) * gradient.numpy()
                taken.append(offset + index)
            offset += len(choice.options)
        np.testing.assert_allclose(after.weights, expected, atol=1e-6)


def test_the_noted_probability_is_that_of_the_proposal(space: ToySpace) -> None:
    sampler = ReinforceSampler(space)
    log = log_of(observed(space, 30))
    proposal = sampler.propose(log, np.random.default_rng(0))
    policy = sampler.policy(log)
    generator = np.random.default_rng(1)
    drawn = [sampler._draw(policy, generator) for _ in range(4000)]
    share = drawn.count(proposal.architecture) / len(drawn)
    assert share == pytest.approx(math.exp(proposal.note), abs=4 * math.sqrt(share / len(drawn)) + 1e-3)


def test_a_trial_that_an_older_policy_drew_is_weighed_by_how_much_likelier_it_has_become(space: ToySpace) -> None:
    def move(note: float | None) -> float:
        start, last = observed(space, 3)[:2], observed(space, 3)[2]
        sampler = ReinforceSampler(space, entropy=0.0)
        before = sampler.policy(log_of(start)).weights.copy()
        noted = Observation(last.number, last.architecture, last.scores, note=note)
        return float(
            np.abs(ReinforceSampler(space, entropy=0.0).policy(log_of([*start, noted])).weights - before).sum()
        )

    sampler = ReinforceSampler(space, entropy=0.0)
    start, last = observed(space, 3)[:2], observed(space, 3)[2]
    now = sampler._log_probability(sampler.policy(log_of(start)), last.architecture)
    unweighted = move(None)
    assert move(now) == pytest.approx(unweighted)
    assert move(now + math.log(4)) == pytest.approx(unweighted / 4)
    assert move(now - math.log(1.5)) == pytest.approx(unweighted * 1.5)
    assert move(now - 30) == pytest.approx(unweighted * 2)  # clipped


def test_no_option_is_ever_lost() -> None:
    assert _softmax(np.array([0.0, 900.0])).min() > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": 0}, "learning_rate is a number greater than 0; got 0"),
        ({"learning_rate": math.nan}, "learning_rate is a number greater than 0; got nan"),
        ({"entropy": -1}, "entropy is a number of at least 0; got -1"),
    ],
    ids=str,
)
def test_reinforce_names_a_wrong_argument(arguments: dict[str, float], message: str, space: ToySpace) -> None:
    with pytest.raises(ValueError, match=message):
        ReinforceSampler(space, **arguments)


# AGNN's controller.


def test_an_offspring_differs_from_the_best_in_one_class_only(space: ToySpace) -> None:
    observations = observed(space, 15)
    sampler = ControllerSampler(space, hidden=8)
    best = max(observations, key=lambda one: one.fitness)
    for seed in range(20):
        proposal = sampler.propose(log_of(observations), np.random.default_rng(seed))
        assert proposal.note["parent"] == best.number
        changed = {name for name, value in proposal.architecture.items() if best.architecture.get(name, value) != value}
        assert {name.rpartition(".")[2] for name in changed} == {proposal.note["class"]}


def test_the_class_with_most_entropy_is_taken_where_asked_for(space: ToySpace) -> None:
    sampler = ControllerSampler(space, hidden=8, choose="largest")
    classes = {
        sampler.propose(log_of(observed(space, 12)), np.random.default_rng(seed)).note["class"] for seed in range(8)
    }
    assert classes == {"operation"}  # of four options each; widths have two


def test_only_the_changed_class_s_policy_learns_and_towards_what_was_better(space: ToySpace) -> None:
    sampler = ControllerSampler(space, hidden=8)
    parent = min(observed(space, 12), key=lambda one: one.fitness)
    offspring_values = {**parent.architecture, "layer0.operation": "b", "layer1.operation": "b"}
    offspring = space.architecture({name: offspring_values[name] for name in parent.architecture})
    first = Observation(0, parent.architecture, parent.scores)
    second = Observation(1, offspring, (parent.scores[0] + 1.0,), note={"parent": 0, "class": "operation"})
    before = ControllerSampler(space, hidden=8).controller(log_of([first]))
    after = sampler.controller(log_of([first, second]))
    assert after.best == second
    assert after.baseline == pytest.approx(0.05)
    for name, encoder in after.policies.items():
        moved = any(
            not torch.equal(new, old)
            for new, old in zip(encoder.parameters(), before.policies[name].parameters(), strict=True)
        )
        assert moved is (name == "operation")
    old, new = (each.policies["operation"].probabilities(parent.architecture) for each in (before, after))
    assert all(new[f"layer{layer}.operation"][1] > old[f"layer{layer}.operation"][1] for layer in (0, 1))


def test_a_policy_does_not_see_its_own_class(space: ToySpace) -> None:
    encoder = ControllerSampler(space, hidden=8).controller(log_of(observed(space, 1))).policies["width"]
    values = {"depth": 2, "layer0.operation": "a", "layer0.width": 1, "layer1.operation": "c", "layer1.width": 1}
    other = {**values, "layer0.width": 2, "layer1.width": 2}
    third = {**values, "layer0.operation": "d"}
    first, second, different = (encoder.probabilities(space.architecture(each)) for each in (values, other, third))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
        assert first[name].sum() == pytest.approx(1)
    assert not np.array_equal(first["layer0.width"], different["layer0.width"])


def test_the_baseline_climbs_by_comparison_alone(space: ToySpace) -> None:
    known = observed(space, 100)
    comparator = ComparatorPredictor(space, width=16, epochs=60)
    comparator.fit([one.architecture for one in known], [one.scores[0] for one in known])
    start = min(known, key=lambda one: one.fitness).architecture
    sampler = ControllerSampler(space, hidden=16, reward="comparator")
    baselines, drawn = sampler.raised(Judge(comparator, None), start, np.random.default_rng(0))
    assert baselines[0] == start
    assert set(baselines) <= set(drawn)
    assert score(baselines[-1]) >= score(start) + 2
    chances = comparator.compare(baselines, baselines)
    assert (chances[np.tril_indices(len(baselines), -1)] > 0.5).all()


def test_the_reward_is_the_chance_against_the_baseline_less_its_moving_mean(
    space: ToySpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[tuple[Architecture, Architecture, float]] = []
    monkeypatch.setattr(ClassPolicy, "reinforce", lambda self, *lesson: taught.append(lesson))
    judge = Judge(make_estimator(lambda architecture: 0.0, space), None)  # all are worth the same: no chance but 0.5
    start = observed(space, 1)[0].architecture
    sampler = ControllerSampler(space, hidden=8, reward="comparator")
    baselines, _ = sampler.raised(judge, start, np.random.default_rng(0))
    assert baselines == [start]
    assert len(taught) == 100
    assert {(parent, advantage) for parent, _, advantage in taught} == {(start, 0.0)}
    taught.clear()
    monkeypatch.setattr(judge, "chances", lambda several, known: np.full((len(several), len(known)), 0.25))
    sampler.raised(judge, start, np.random.default_rng(0))
    assert [advantage for *_, advantage in taught] == pytest.approx([-0.25 * 0.95**count for count in range(100)])


def test_a_controller_rewarded_by_a_comparator_proposes_what_is_likely_to_be_better(space: ToySpace) -> None:
    known = observed(space, 60)
    reward = {"class_path": "comparator", "init_args": {"width": 16, "epochs": 60}}
    sampler = ControllerSampler(space, hidden=16, reward=reward)
    first, again = (sampler.propose(log_of(known), np.random.default_rng(0)) for _ in range(2))
    assert first == again
    assert first.architecture not in {one.architecture for one in known}
    assert score(first.architecture) > max(one.scores[0] for one in known) - 1
    assert first.note is None


def test_any_estimator_may_reward_the_controller_and_what_it_fails_for_is_not_proposed(space: ToySpace) -> None:
    class Partly(RidgePredictor):
        def predict(self, architectures: Sequence[Architecture]) -> np.ndarray:
            failed = [architecture["layer0.operation"] == "b" for architecture in architectures]
            return np.where(failed, np.nan, super().predict(architectures))

    sampler = ControllerSampler(space, hidden=8, reward=Partly(space))
    for seed in range(3):
        proposal = sampler.propose(log_of(observed(space, 30)), np.random.default_rng(seed))
        assert proposal.architecture["layer0.operation"] != "b"


def test_chances_of_scores_and_of_failures(space: ToySpace) -> None:
    first, second, third = (one.architecture for one in observed(space, 3))
    scores = {first: 1.0, second: 3.0, third: math.nan}
    judge = Judge(make_estimator(scores.__getitem__, space), None)
    chances = judge.chances([first, second, third], [first, third])
    assert chances[0, 0] == 0.5
    assert chances[1, 0] == pytest.approx(1 / (1 + math.exp(-2 / np.std([1, 3, 1]))))
    assert (chances[:2, 1] > 0.99).all()  # of a baseline that failed
    assert (chances[2] < 0.01).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"startup": 0}, "startup is at least 1"),
        ({"choose": "smallest"}, "choose is one of sample, largest; got 'smallest'"),
        ({"learning_rate": 0}, "learning_rate is a number greater than 0"),
        ({"reward": "comparator", "startup": 1}, "startup is at least 2; got 1"),
        ({"reward": "comperator"}, "did you mean 'comparator'"),
        (
            {"reward": "training"},
            r"TrainingEstimator judges networks, so a sampler needs context=Context.of\(project\)",
        ),
    ],
    ids=str,
)
def test_the_controller_names_a_wrong_argument(arguments: dict[str, object], message: str, space: ToySpace) -> None:
    with pytest.raises(ValueError, match=message):
        ControllerSampler(space, **arguments)


# The predictor's sampler.


def test_with_everything_else_known_the_predictor_proposes_the_best(space: ToySpace) -> None:
    best = all_b(space, 3)
    observations = [one for one in observed(space, 200) if one.architecture != best]
    sampler = PredictorSampler(space, candidates=50)
    proposals = [sampler.propose(log_of(observations), np.random.default_rng(seed)).architecture for seed in range(5)]
    assert proposals.count(best) >= 4


def test_each_proposal_has_a_bootstrap_of_its_own(space: ToySpace) -> None:
    fitted = []

    class Spy(PredictorSampler):
        pass

    class Recorded(RidgePredictor):
        def fit(self, architectures: object, scores: object) -> None:
            fitted.append(tuple(scores))
            super().fit(architectures, scores)

    sampler = Spy(space, predictor=Recorded, startup=5)
    log = log_of(observed(space, 30))
    for seed in range(3):
        sampler.propose(log, np.random.default_rng(seed))
    assert len(set(fitted)) == 3
    assert {len(scores) for scores in fitted} == {30}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"startup": 1}, "startup is at least 2"),
        ({"candidates": 0}, "candidates is at least 1"),
        ({"predictor": "training"}, "TrainingEstimator judges networks"),
        ({"predictor": "ridg"}, "did you mean 'ridge'"),
    ],
    ids=str,
)
def test_the_predictor_s_sampler_names_a_wrong_argument(
    arguments: dict[str, object], message: str, space: ToySpace
) -> None:
    with pytest.raises(ValueError, match=message):
        PredictorSampler(space, **arguments)
