"""A policy over conditional spaces, learned by REINFORCE."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from automl_plugins.samplers.base import ArchitectureSampler, Fold, Observation, Proposal, TrialLog
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.system.arguments import positive

_DECAY = 0.95
"""Of the moving averages."""
_CLIP = 2.0
"""The largest weight of a trial that another policy drew."""


@dataclass
class Policy:
    """An autoregressive policy: the logits of a choice are linear in the options that were taken before.

    Args:
        weights: `[num_options, num_options + 1]`, all choices' options in order; entry (i, j) is what the
            taking of option j adds to the logit of option i; the last column is the bias.
        baseline: the moving average of the rewards; None before the first.
        variance: the moving average of the squared distance of the rewards from it.
    """

    weights: np.ndarray
    baseline: float | None = None
    variance: float = 0.0
    worst: float = field(default=math.inf)


class ReinforceSampler(ArchitectureSampler):
    """A policy draws choice after choice and is moved towards what scored above average.

    The controller of MONAS (Hsu et al., 2018, section 3) and MnasNet (Tan et al., CVPR 2019, section 4.3):
    an autoregressive policy, REINFORCE with a moving baseline and an entropy bonus. Instead of an LSTM, the logits
    are linear in the options taken before, so that the gradient has a closed form, a thousand trials are
    learned from in a fraction of a second, and choices that are not active simply stand aside. Instead of
    PPO's several steps on a batch, each trial gives one step. Advantages are divided by the rewards' moving
    deviation, so that `learning_rate` means the same for accuracies and for errors.

    Workers learn from one another's trials, which older policies drew: a trial's step is weighed by how much
    likelier its architecture has become since, up to twice. Trials that somebody else proposed count as
    drawn by the present policy. A trial that breaks a constraint is rewarded by the worst score so far less
    its penalty, which grows with its violation from 0 to 1.

    Args:
        space: see `ArchitectureSampler`.
        seed: see `ArchitectureSampler`.
        learning_rate: the size of a step.
        entropy: the weight of the policy's entropy.

    Raises:
        ValueError: a number out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        learning_rate: float = 0.3,
        entropy: float = 0.1,
    ) -> None:
        super().__init__(space, seed)
        self.learning_rate = positive("learning_rate", learning_rate)
        self.entropy = positive("entropy", entropy, zero=True)
        self._columns = _columns(space)
        self._fold = Fold(self._start, self._step)

    def policy(self, log: TrialLog) -> Policy:
        """The policy after all trials of a log that ended."""
        return self._fold(log)

    def propose(self, log: TrialLog, generator: np.random.Generator) -> Proposal:
        policy = self.policy(log)

        def draw() -> Architecture:
            # What is beyond a narrowed space's limits is repaired: the policy hardly finds within tight ones by itself.
            return self.space.repaired(self._draw(policy, generator), generator)

        architecture = self.unseen(log, draw) or self.walk(log, draw(), generator)
        return Proposal(architecture, self._log_probability(policy, architecture))

    def _start(self) -> Policy:
        options = self.space.encoding_length
        return Policy(np.zeros((options, options + 1)))

    def _draw(self, policy: Policy, generator: np.random.Generator) -> Architecture:
        values: dict[str, Value] = {}
        logits = policy.weights[:, -1].copy()
        for choice in self.space.choices:
            if choice.is_active(values):
                columns = self._columns[choice.name]
                taken = int(generator.choice(len(choice.options), p=_softmax(logits[columns])))
                values[choice.name] = choice.options[taken]
                logits += policy.weights[:, columns.start + taken]
        return Architecture(self.space.name, self.space.version, values)

    def _decisions(
        self, policy: Policy, architecture: Architecture
    ) -> Iterator[tuple[slice, list[int], int, np.ndarray]]:
        """For each active choice: its rows, the columns that its logits came from, what was taken, and how likely."""
        logits = policy.weights[:, -1].copy()
        before = [policy.weights.shape[1] - 1]
        for choice in self._active(architecture):
            columns = self._columns[choice.name]
            taken = choice.index(architecture[choice.name])
            yield columns, list(before), taken, _softmax(logits[columns])
            logits += policy.weights[:, columns.start + taken]
            before.append(columns.start + taken)

    def _active(self, architecture: Architecture) -> list[Choice]:
        return [choice for choice in self.space.choices if choice.name in architecture]

    def _log_probability(self, policy: Policy, architecture: Architecture) -> float:
        decisions = self._decisions(policy, architecture)
        return float(sum(math.log(probabilities[taken]) for _, _, taken, probabilities in decisions))

    def _step(self, policy: Policy, observation: Observation) -> None:
        reward = _reward(policy, observation)
        if policy.baseline is None:
            policy.baseline = reward
            return
        advantage = reward - policy.baseline
        policy.variance = _DECAY * policy.variance + (1 - _DECAY) * advantage**2
        policy.baseline += (1 - _DECAY) * advantage
        if policy.variance > 0:
            advantage /= math.sqrt(policy.variance)
        weight = 1.0
        if isinstance(observation.note, float):
            change = self._log_probability(policy, observation.architecture) - observation.note
            weight = min(_CLIP, math.exp(min(change, 50.0)))
        # All gradients are of the policy as it was before the step.
        for columns, before, taken, probabilities in list(self._decisions(policy, observation.architecture)):
            gradient = -probabilities * weight * advantage
            gradient[taken] += weight * advantage
            surprise = -np.log(probabilities)
            gradient += self.entropy * probabilities * (surprise - probabilities @ surprise)
            policy.weights[columns, before] += self.learning_rate / math.sqrt(len(before)) * gradient[:, None]


def _reward(policy: Policy, observation: Observation) -> float:
    score = observation.scores[0]
    if observation.violation == 0:
        policy.worst = min(policy.worst, score)
        return score
    return (policy.worst if math.isfinite(policy.worst) else min(0.0, score)) - observation.penalty


def _columns(space: SearchSpace) -> dict[str, slice]:
    columns: dict[str, slice] = {}
    start = 0
    for choice in space.choices:
        columns[choice.name] = slice(start, start + len(choice.options))
        start += len(choice.options)
    return columns


def _softmax(logits: np.ndarray) -> np.ndarray:
    # A floor, so that no option is ever lost for good and every logarithm is finite.
    exponentials = np.exp(logits - logits.max()) + 1e-9
    return exponentials / exponentials.sum()
