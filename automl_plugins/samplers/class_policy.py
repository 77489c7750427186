"""The recurrent policy of one action class, which the controller sampler trains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice
from automl_plugins.spaces.space import SearchSpace

_MOST_GRADIENT = 5.0
_MOST_ADVANTAGE = 1e6
_TEMPERATURE, _TANH_CONSTANT = 5.0, 2.5
"""The logits are `2.5 tanh(logits / 5)`, as in ENAS."""
ENTROPY = 1e-4
"""The weight of a policy's entropy."""


class ClassPolicy:
    """Reads the actions of the other classes and gives a distribution for each action of its own.

    An LSTM reads the embeddings of the other actions, in the order of the space, then goes on for one step
    for each choice of its class, fed with an embedding of that choice; a linear layer makes its state logits.

    Args:
        space: of the architectures.
        choices: those of the class.
        seed: of the weights, which are uniform between -0.1 and 0.1.
        hidden: the width of the LSTM and of the embeddings.
        learning_rate: of Adam.
    """

    def __init__(
        self, space: SearchSpace, choices: Sequence[Choice], seed: int, hidden: int, learning_rate: float
    ) -> None:
        mine = {choice.name for choice in choices}
        self.choices = tuple(choices)
        self._others = [choice for choice in space.choices if choice.name not in mine]
        self._tokens: dict[str, int] = {}
        count = 0
        for choice in self._others:
            self._tokens[choice.name] = count
            count += len(choice.options)
        for choice in self.choices:
            self._tokens[choice.name] = count
            count += 1
        self._embedding = torch.empty(count, hidden)
        self._cell = nn.LSTMCell(hidden, hidden)
        # One row for each option of the class, those that several choices share being one.
        options = list(dict.fromkeys((type(option), option) for choice in self.choices for option in choice.options))
        self._rows = {
            choice.name: torch.tensor([options.index((type(option), option)) for option in choice.options])
            for choice in self.choices
        }
        self._weight, self._bias = torch.empty(len(options), hidden), torch.empty(len(options))
        self._parameters = [self._embedding, self._weight, self._bias, *self._cell.parameters()]
        generator = torch.Generator().manual_seed(seed)
        for parameter in self._parameters:
            parameter.requires_grad_(False).uniform_(-0.1, 0.1, generator=generator)
            parameter.requires_grad_(True)
        self._optimizer = torch.optim.Adam(self._parameters, learning_rate)

    def parameters(self) -> list[Tensor]:
        """All weights, detached."""
        return [parameter.detach() for parameter in self._parameters]

    def probabilities(self, architecture: Architecture) -> dict[str, np.ndarray]:
        """For each active choice of the class, how likely each option is, `[num_options]`."""
        with torch.no_grad():
            logs = self._log_probabilities(architecture)
        shares = {name: np.exp(log.double().numpy()) for name, log in logs.items()}
        return {name: share / share.sum() for name, share in shares.items()}

    def reinforce(self, parent: Architecture, offspring: Architecture, advantage: float) -> None:
        """One step of Adam along `advantage * grad log p(offspring | parent) + ENTROPY * grad H`."""
        # The gradient is clipped in any case; what float32 cannot hold would end as nan.
        advantage = min(max(advantage, -_MOST_ADVANTAGE), _MOST_ADVANTAGE)
        terms: list[Tensor] = []
        logs = self._log_probabilities(parent)
        for choice in self.choices:
            if choice.name in logs and choice.name in offspring:
                log = logs[choice.name]
                terms += advantage * log[choice.index(offspring[choice.name])], -ENTROPY * (log.exp() * log).sum()
        if not terms:
            return
        objective = torch.stack(terms).sum()
        self._optimizer.zero_grad()
        (-objective).backward()
        nn.utils.clip_grad_norm_(self._parameters, _MOST_GRADIENT)
        self._optimizer.step()

    def _log_probabilities(self, architecture: Architecture) -> dict[str, Tensor]:
        read = [
            self._tokens[choice.name] + choice.index(architecture[choice.name])
            for choice in self._others
            if choice.name in architecture
        ]
        state: tuple[Tensor, Tensor] | None = None
        for token in read:
            state = self._cell(self._embedding[token], state)
        logs: dict[str, Tensor] = {}
        for choice in self.choices:
            if choice.name in architecture:
                state = self._cell(self._embedding[self._tokens[choice.name]], state)
                rows = self._rows[choice.name]
                logits = self._weight[rows] @ state[0] + self._bias[rows]
                bounded = _TANH_CONSTANT * torch.tanh(logits / _TEMPERATURE)
                logs[choice.name] = bounded.log_softmax(0)
        return logs
