"""AGNN's reinforced conservative controller, rewarded by trials or, as in CTNAS, by an estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from automl_plugins.estimators.base import Estimator
from automl_plugins.estimators.make import EstimatorConfig, make_estimator
from automl_plugins.samplers.base import ArchitectureSampler, Fold, Observation, Proposal, TrialLog, penalised
from automl_plugins.samplers.judge import Judge, LazyContext
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.system.arguments import at_least, one_of, positive

if TYPE_CHECKING:
    from automl_plugins.samplers.class_policy import ClassPolicy

_DECAY = 0.95
"""Of the moving mean of the rewards."""
_ROUNDS, _OFFSPRING = 10, 10
"""Baselines that an estimator may raise for one proposal, and what is drawn for each."""

Policies = Mapping[str, "ClassPolicy"]
"""One for each class."""


@dataclass
class Controller:
    """The state of the controller.

    Args:
        policies: one for each action class.
        best: the best trial so far; None before the first.
        baseline: the moving mean of the rewards.
        architectures: of all trials so far, by number: a trial names its parent by number.
    """

    policies: dict[str, ClassPolicy]
    best: Observation | None
    baseline: float
    architectures: dict[int, Architecture]


class ControllerSampler(ArchitectureSampler):
    """Reinforced conservative search of AGNN (Zhou et al., arXiv 1909.03184, section 4).

    The best architecture so far is kept, and every proposal changes all actions of one class in it (a class is what
    choices share after the last dot of their names: `layer0.attention` and `layer1.attention`). A recurrent policy
    per class reads the other actions and gives a distribution for each action of its class; the class is drawn by the
    softmax of these distributions' entropies. REINFORCE trains the policy of the changed class: the reward is the
    offspring's score less the best one's, less a moving baseline.

    With `reward`, trials are not what the controller learns from but what the estimator does: for each proposal, a new
    controller climbs by comparison alone (CTNAS; Chen et al., CVPR 2021, section 3.3 and algorithm 1). Its reward is
    the probability that the offspring is better than a baseline; every few offspring, the baseline is raised to the
    best of those that are likelier than not to be better than all baselines before. The paper fits its comparator
    once and searches once; here it is fitted anew to the trials so far, and each proposal is a trial.

    The first `startup` trials are random, where the paper starts from one architecture. A policy's distributions for
    several layers are independent of one another given what it has read. No architecture is tried twice: what
    was seen is drawn again. Trials that break a constraint count as worse than those that keep all, and are not
    learned from.

    Args:
        space: see `ArchitectureSampler`.
        seed: see `ArchitectureSampler`.
        startup: the number of trials that are drawn at random before the controller takes over.
        choose: `sample` draws the class by entropy, `largest` takes the one with most.
        hidden: the width of policies and embeddings.
        learning_rate: of Adam; the paper's 3.5e-4 learns nothing within a few hundred trials.
        reward: an estimator whose judgement is the reward, such as `comparator`; trials' scores where left out.
        context: of the estimator; predictors need none, and a study gives its own.

    Raises:
        ValueError: a number out of range, or no estimator of that name.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        startup: int = 10,
        choose: Literal["sample", "largest"] = "sample",
        hidden: int = 100,
        learning_rate: float = 0.01,
        reward: EstimatorConfig | Estimator | None = None,
        context: LazyContext | None = None,
    ) -> None:
        one_of("choose", choose, ("sample", "largest"))
        super().__init__(space, seed)
        # Two trials at least, where an estimator is fitted to them.
        self.startup = at_least("startup", startup, 1 if reward is None else 2)
        self.choose = choose
        self.hidden = at_least("hidden", hidden, 1)
        self.learning_rate = positive("learning_rate", learning_rate)
        self.reward = reward
        self.context = context
        if reward is not None:
            self._judge(reward, 0)
        self.classes: dict[str, list[Choice]] = {}
        for choice in space.choices:
            if len(choice.options) > 1:
                self.classes.setdefault(choice.kind, []).append(choice)
        self._fold = Fold(self._start, self._step)

    def controller(self, log: TrialLog) -> Controller:
        """The controller after all trials of a log that ended."""
        return self._fold(log)

    def propose(self, log: TrialLog, generator: np.random.Generator) -> Proposal:
        if not log.has_begun(self.startup) or not self.classes:
            return Proposal(self.unseen_at_random(log, generator))
        if self.reward is not None:
            return Proposal(self._climb(self.reward, log, generator))
        controller = self.controller(log)
        best = controller.best
        if best is None:
            return Proposal(self.unseen_at_random(log, generator))
        changed = ""

        def offspring() -> Architecture:
            nonlocal changed
            changed, architecture = self._offspring(best.architecture, probabilities, generator)
            return architecture

        probabilities = self._probabilities(controller.policies, best.architecture)
        architecture = self.unseen(log, offspring)
        if architecture is None:
            # The best one's surroundings are known; the next better one may be anywhere.
            return Proposal(self.unseen_at_random(log, generator))
        return Proposal(architecture, {"parent": best.number, "class": changed})

    # By an estimator.

    def _judge(self, reward: EstimatorConfig | Estimator, seed: int) -> Judge:
        return Judge(make_estimator(reward, self.space, seed), self.context)

    def _climb(
        self, reward: EstimatorConfig | Estimator, log: TrialLog, generator: np.random.Generator
    ) -> Architecture:
        """The architecture that is likeliest to be better than the last baseline, of all that were drawn."""
        judge = self._judge(reward, int(generator.integers(2**31)))
        if judge.estimator.learns:
            known = [observation.architecture for observation in log.observations]
            judge.estimator.fit(known, penalised(log.observations)[:, 0])
        start = max(log.observations, key=lambda observation: observation.fitness).architecture
        baselines, drawn = self.raised(judge, start, generator)
        unseen = [architecture for architecture in drawn if architecture not in log.seen]
        if not unseen:
            return self.unseen_at_random(log, generator)
        return unseen[int(judge.chances(unseen, baselines[-1:])[:, 0].argmax())]

    def raised(
        self, judge: Judge, start: Architecture, generator: np.random.Generator
    ) -> tuple[list[Architecture], list[Architecture]]:
        """Climb by comparison alone, with a new controller.

        Args:
            judge: says of two architectures which one is better.
            start: the first baseline.
            generator: of all draws.

        Returns:
            The baselines, each likelier than not to be better than all before it, and all that was drawn, each once.
        """
        policies = self._start().policies
        baselines, drawn, mean = [start], dict.fromkeys([start]), 0.5
        for _ in range(_ROUNDS):
            parent = baselines[-1]
            probabilities = self._probabilities(policies, parent)
            changed = [self._offspring(parent, probabilities, generator) for _ in range(_OFFSPRING)]
            offspring = [architecture for _, architecture in changed]
            drawn.update(dict.fromkeys(offspring))
            chances = judge.chances(offspring, baselines)
            for (name, architecture), chance in zip(changed, chances[:, -1], strict=True):
                policies[name].reinforce(parent, architecture, float(chance - mean))
                mean += (1 - _DECAY) * float(chance - mean)
            # Compared with all past baselines and not the last alone, it cannot go round in a circle.
            least = chances.min(axis=1)
            if least.max() > 0.5:
                baselines.append(offspring[int(least.argmax())])
        return baselines, list(drawn)

    # Policies.

    def _probabilities(self, policies: Policies, parent: Architecture) -> dict[str, dict[str, np.ndarray]]:
        """For each class with an active choice, the distributions of its choices."""
        return {
            name: policies[name].probabilities(parent)
            for name, choices in self.classes.items()
            if any(choice.name in parent for choice in choices)
        }

    def _offspring(
        self,
        parent: Architecture,
        probabilities: Mapping[str, Mapping[str, np.ndarray]],
        generator: np.random.Generator,
    ) -> tuple[str, Architecture]:
        """The class that is changed, and the parent with its actions drawn anew."""
        changed = self._draw_class(list(probabilities), list(probabilities.values()), generator)
        return changed, self._replace(parent, probabilities[changed], generator)

    def _draw_class(
        self, names: Sequence[str], policies: Sequence[Mapping[str, np.ndarray]], generator: np.random.Generator
    ) -> str:
        entropies = np.array([sum(map(_entropy, policy.values())) for policy in policies])
        if self.choose == "largest":
            return names[int(entropies.argmax())]
        weights = np.exp(entropies - entropies.max())
        return names[int(generator.choice(len(weights), p=weights / weights.sum()))]

    def _replace(
        self, parent: Architecture, policy: Mapping[str, np.ndarray], generator: np.random.Generator
    ) -> Architecture:
        """The parent with the actions of one class drawn anew; choices that become active are drawn at random."""
        values: dict[str, Value] = {}
        for choice in self.space.choices:
            if not choice.is_active(values):
                continue
            if choice.name in policy:
                drawn = int(generator.choice(len(choice.options), p=policy[choice.name]))
                values[choice.name] = choice.options[drawn]
            elif choice.name in parent:
                values[choice.name] = parent[choice.name]
            else:
                values[choice.name] = choice.options[int(generator.integers(len(choice.options)))]
        return Architecture(self.space.name, self.space.version, values)

    def _start(self) -> Controller:
        from automl_plugins.samplers.class_policy import ClassPolicy

        policies = {
            name: ClassPolicy(
                self.space,
                choices,
                seed=int(np.random.SeedSequence([self.seed, position]).generate_state(1)[0]),
                hidden=self.hidden,
                learning_rate=self.learning_rate,
            )
            for position, (name, choices) in enumerate(self.classes.items())
        }
        return Controller(policies, None, 0.0, {})

    def _step(self, controller: Controller, observation: Observation) -> None:
        controller.architectures[observation.number] = observation.architecture
        best = controller.best
        note = observation.note if isinstance(observation.note, dict) else {}
        parent = controller.architectures.get(note.get("parent", -1))
        name = note.get("class")
        if best is not None and parent is not None and name in controller.policies and observation.violation == 0:
            advantage = observation.scores[0] - best.scores[0] - controller.baseline
            controller.baseline += (1 - _DECAY) * advantage
            controller.policies[name].reinforce(parent, observation.architecture, advantage)
        if best is None or observation.fitness > best.fitness:
            controller.best = observation


def _entropy(probabilities: np.ndarray) -> float:
    return float(-(probabilities * np.log(probabilities)).sum())
