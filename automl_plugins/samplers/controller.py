"""AGNN's reinforced conservative controller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from automl_plugins.samplers.base import ArchitectureSampler, Fold, Observation, Proposal, TrialLog
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.spaces.space import SearchSpace

if TYPE_CHECKING:
    from automl_plugins.samplers.encoder import ClassEncoder


@dataclass
class Controller:
    """What the controller has learned.

    Args:
        encoders: one for each action class.
        best: the best trial so far; None before the first.
        baseline: the moving average of the rewards.
        architectures: of all trials so far, by number: whose offspring a trial is, is told by number.
    """

    encoders: dict[str, ClassEncoder]
    best: Observation | None
    baseline: float
    architectures: dict[int, Architecture]


class ControllerSampler(ArchitectureSampler):
    """Reinforced conservative search of AGNN (Zhou et al., arXiv 1909.03184, section 4).

    The best architecture so far is kept, and every proposal changes all actions of one class in it (a class is what
    choices share after the last dot of their names: `layer0.attention` and `layer1.attention`). A recurrent encoder
    per class reads the other actions and gives a distribution for each action of its class; the class is drawn by the
    softmax of these distributions' entropies. REINFORCE trains the encoder of the changed class: the reward is the
    offspring's score less the best one's, less a moving baseline.

    The first `startup` trials are random, where the paper starts from one architecture. An encoder's distributions for
    several layers are independent of one another given what it has read. No architecture is tried twice: what
    was seen is drawn again. Trials that break a constraint count as worse than those that keep all, and are not
    learned from.

    Args:
        space: see `ArchitectureSampler`.
        seed: see `ArchitectureSampler`.
        startup: how many trials are drawn at random before the controller takes over.
        choose: `sample` draws the class by entropy, `largest` takes the one with most.
        hidden: the width of encoders and embeddings.
        learning_rate: of Adam; the paper's 3.5e-4 learns nothing within a few hundred trials.
        entropy: the weight of the changed class's entropy.
        decay: of the baseline.
        temperature: the logits are `tanh_constant * tanh(logits / temperature)`.
        tanh_constant: see `temperature`.

    Raises:
        ValueError: a number out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        startup: int = 10,
        choose: Literal["sample", "largest"] = "sample",
        hidden: int = 100,
        learning_rate: float = 0.01,
        entropy: float = 1e-4,
        decay: float = 0.95,
        temperature: float = 5.0,
        tanh_constant: float = 2.5,
    ) -> None:
        for name, value, least in (("startup", startup, 1), ("hidden", hidden, 1), ("entropy", entropy, 0)):
            if value < least:
                raise ValueError(f"{name} is at least {least}; got {value}")
        for name, positive in (
            ("learning_rate", learning_rate),
            ("temperature", temperature),
            ("tanh_constant", tanh_constant),
        ):
            if positive <= 0:
                raise ValueError(f"{name} is above 0; got {positive}")
        if not 0 <= decay < 1:
            raise ValueError(f"decay is at least 0 and below 1; got {decay}")
        if choose not in ("sample", "largest"):
            raise ValueError(f"choose is sample or largest; got {choose!r}")
        super().__init__(space, seed)
        self.startup = startup
        self.choose = choose
        self.hidden = hidden
        self.learning_rate = learning_rate
        self.entropy = entropy
        self.decay = decay
        self.temperature = temperature
        self.tanh_constant = tanh_constant
        self.classes: dict[str, list[Choice]] = {}
        for choice in space.choices:
            if len(choice.options) > 1:
                self.classes.setdefault(choice.kind, []).append(choice)
        self._fold = Fold(self._start, self._step)

    def controller(self, log: TrialLog) -> Controller:
        """What the controller has learned from all trials of a log that ended."""
        return self._fold(log)

    def propose(self, log: TrialLog, generator: np.random.Generator) -> Proposal:
        if len(log.observations) < self.startup or not self.classes:
            return Proposal(self.unseen_at_random(log, generator))
        controller = self.controller(log)
        best = controller.best
        if best is None:
            return Proposal(self.unseen_at_random(log, generator))
        policies = {
            name: controller.encoders[name].probabilities(best.architecture)
            for name, choices in self.classes.items()
            if any(choice.name in best.architecture for choice in choices)
        }
        changed = ""

        def offspring() -> Architecture:
            nonlocal changed
            changed = self._draw_class(policies, generator)
            return self._replace(best.architecture, policies[changed], generator)

        architecture = self.unseen(log, offspring)
        if architecture is None:
            # The best one's surroundings are known; the next better one may be anywhere.
            return Proposal(self.unseen_at_random(log, generator))
        return Proposal(architecture, {"parent": best.number, "class": changed})

    def _draw_class(self, policies: dict[str, dict[str, np.ndarray]], generator: np.random.Generator) -> str:
        entropies = np.array([sum(map(_entropy, policy.values())) for policy in policies.values()])
        if self.choose == "largest":
            return list(policies)[int(entropies.argmax())]
        weights = np.exp(entropies - entropies.max())
        return list(policies)[int(generator.choice(len(weights), p=weights / weights.sum()))]

    def _replace(
        self, parent: Architecture, policy: dict[str, np.ndarray], generator: np.random.Generator
    ) -> Architecture:
        """The parent with the actions of one class drawn anew; what thereby becomes active is drawn at random."""
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
        from automl_plugins.samplers.encoder import ClassEncoder

        encoders = {
            name: ClassEncoder(
                self.space,
                choices,
                seed=int(np.random.SeedSequence([self.seed, position]).generate_state(1)[0]),
                hidden=self.hidden,
                learning_rate=self.learning_rate,
                temperature=self.temperature,
                tanh_constant=self.tanh_constant,
            )
            for position, (name, choices) in enumerate(self.classes.items())
        }
        return Controller(encoders, None, 0.0, {})

    def _step(self, controller: Controller, observation: Observation) -> None:
        controller.architectures[observation.number] = observation.architecture
        best = controller.best
        note = observation.note if isinstance(observation.note, dict) else {}
        parent = controller.architectures.get(note.get("parent", -1))
        name = note.get("class")
        if best is not None and parent is not None and name in controller.encoders and observation.violation == 0:
            advantage = observation.scores[0] - best.scores[0] - controller.baseline
            controller.baseline += (1 - self.decay) * advantage
            controller.encoders[name].reinforce(parent, observation.architecture, advantage, self.entropy)
        if best is None or observation.fitness > best.fitness:
            controller.best = observation


def _entropy(probabilities: np.ndarray) -> float:
    return float(-(probabilities * np.log(probabilities)).sum())
