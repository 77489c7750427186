"""The contract of supernets finds what it is for: each supernet here breaks one promise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
import torch
from perceptron_space.space import PerceptronSpace
from perceptron_space.supernet import PerceptronSupernet
from torch import Tensor, nn

from automl_plugins import Architecture, Choice, Task
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.relaxations import Softmax
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.testing import SupernetContract

TASK = Task("pixel", "regression", 3, 1)


class RunsAll(PerceptronSupernet):
    """Multiplies by zero what it should not have run."""

    def forward(self, image: Tensor, *, gates: Mapping[str, Tensor]) -> Tensor:
        gates = Gates.of(self.choices, gates)
        state = self._layer(0, image, gates)
        shallow, deep = gates["depth"]
        every = Gates.of(self.choices, {**gates, "layer1.width": gates["layer1.width"] + 1e-300})
        return self.output(shallow * state + deep * self._layer(1, state, every))


class ForgetsABias(PerceptronSupernet):
    def inherit(self, network: nn.Module, architecture: Architecture) -> None:
        kept = network[0].bias.detach().clone()
        super().inherit(network, architecture)
        with torch.no_grad():
            network[0].bias.copy_(kept)


class LendsItsWeights(PerceptronSupernet):
    def inherit(self, network: nn.Module, architecture: Architecture) -> None:
        super().inherit(network, architecture)
        network[-1].bias = self.output.bias


class CutsTheGatesOff(PerceptronSupernet):
    def forward(self, image: Tensor, *, gates: Mapping[str, Tensor]) -> Tensor:
        gates = Gates.of(self.choices, gates)
        # Of one choice alone, as such mistakes are made.
        return super().forward(image, gates={**gates, "depth": gates["depth"].detach()})


class DetachedConvolution(nn.Conv2d):
    def forward(self, image: Tensor) -> Tensor:
        return nn.functional.conv2d(image, self.weight.detach(), self.bias)


class CutsAWeightOff(PerceptronSupernet):
    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        first = self.hidden[0]
        self.hidden[0] = DetachedConvolution(first.in_channels, first.out_channels, 1)


class OwnRandomness(PerceptronSupernet):
    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        nn.init.constant_(self.output.bias, np.random.default_rng().normal())


class StateOutsideStateDict(PerceptronSupernet):
    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self.scale = torch.rand(())

    def forward(self, image: Tensor, *, gates: Mapping[str, Tensor]) -> Tensor:
        return super().forward(image, gates=gates) * self.scale


class IgnoresItsMode(PerceptronSupernet):
    def train(self, mode: bool = True) -> PerceptronSupernet:
        return super().train()


def space_with(made: type[PerceptronSupernet]) -> type[PerceptronSpace]:
    class Space(PerceptronSpace):
        def build_supernet(self, task: Task) -> PerceptronSupernet:
            return made(task, self.choices, {"relu": nn.ReLU, "tanh": nn.Tanh})

    return Space


class DecodesTheWorst(PerceptronSpace):
    def decode(self, scores: Mapping[str, Tensor]) -> Architecture:
        return super().decode({name: -score for name, score in scores.items()})


class DecodesWhatIsInactive(PerceptronSpace):
    def decode(self, scores: Mapping[str, Tensor]) -> Architecture:
        values = {choice.name: choice.options[int(scores[choice.name].argmax())] for choice in self.choices}
        return Architecture(self.name, self.version, values)


class NamesAGateTwice(PerceptronSpace):
    @property
    def gate_choices(self) -> tuple[Choice, ...]:
        return (*self.choices, Choice("activation", ("relu", "tanh")))


class LeavesAGateOut(PerceptronSpace):
    def gate_values(self, architecture: Architecture) -> Mapping[str, object]:
        return {name: value for name, value in architecture.items() if name != "activation"}


class DerivesTheDefault(PerceptronSpace):
    """The bug that retrains the paper's architecture instead of the one found."""

    def build(self, architecture: Architecture, task: Task) -> nn.Module:
        return super().build({"depth": 1, "layer0.width": 4, "activation": "relu"}, task)

    def build_supernet(self, task: Task) -> PerceptronSupernet:
        return PerceptronSupernet(task, self.choices, {"relu": nn.ReLU, "tanh": nn.Tanh})


class TestPerceptronSpace(SupernetContract):
    samples = 10

    def space(self) -> SupernetSpace:
        return PerceptronSpace()

    def tasks(self) -> Sequence[Task]:
        return [TASK]

    def loss(self, network: nn.Module, task: Task) -> Tensor:
        return network(torch.randn(2, task.in_channels, 2, 2)).square().mean()


class Contract(TestPerceptronSpace):
    def __init__(self, space: Callable[[], SupernetSpace]) -> None:
        self.space = space


BROKEN = {
    "decodes the worst": ("test_an_architecture_has_one_hot_gates_that_decode_to_it", DecodesTheWorst, {}),
    "prefers the worst": ("test_preferred_logits_decode_to_the_architecture", DecodesTheWorst, {}),
    "decodes what is inactive": ("test_any_scores_decode_to_a_valid_architecture", DecodesWhatIsInactive, {}),
    "names a gate twice": ("test_the_gates_are_named_once_and_tell_what_has_no_weights", NamesAGateTwice, {}),
    "leaves a gate out": ("test_every_architecture_has_gates_of_its_own", LeavesAGateOut, {}),
    "own randomness": ("test_a_supernet_is_settled_by_the_seed", space_with(OwnRandomness), {"task": TASK}),
    "forgets a bias": (
        "test_one_hot_gates_compute_what_the_network_computes",
        space_with(ForgetsABias),
        {"task": TASK},
    ),
    "cuts a weight off": (
        "test_one_hot_gates_compute_what_the_network_computes",
        space_with(CutsAWeightOff),
        {"task": TASK},
    ),
    "builds the default": ("test_one_hot_gates_compute_what_the_network_computes", DerivesTheDefault, {"task": TASK}),
    "runs all": ("test_what_an_architecture_does_not_use_is_not_run", space_with(RunsAll), {"task": TASK}),
    "lends its weights": (
        "test_inheriting_leaves_the_supernet_and_its_network_apart",
        space_with(LendsItsWeights),
        {"task": TASK},
    ),
    "cuts the gates off": (
        "test_the_gradient_of_soft_gates_is_the_derivative_of_the_loss",
        space_with(CutsTheGatesOff),
        {"task": TASK},
    ),
    "cuts all gates off": (
        "test_any_relaxation_trains_weights_and_logits",
        space_with(PerceptronSupernet),
        {"task": TASK, "relaxation": type("Cut", (Softmax,), {"__call__": lambda *_: Softmax.__call__(*_).detach()})},
    ),
    "state outside": (
        "test_a_searchable_survives_copies_and_its_state_dict",
        space_with(StateOutsideStateDict),
        {"task": TASK},
    ),
    "ignores its mode": (
        "test_a_searchable_has_the_modes_of_any_module",
        space_with(IgnoresItsMode),
        {"task": TASK},
    ),
    "derives the default": ("test_a_derived_network_is_that_of_the_architecture", DerivesTheDefault, {"task": TASK}),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_promise_is_found(broken: str) -> None:
    name, space, arguments = BROKEN[broken]
    with pytest.raises((AssertionError, RuntimeError, ValueError, pytest.fail.Exception)):
        getattr(Contract(space), name)(**arguments)


def test_a_wrong_gradient_is_named_by_its_weight() -> None:
    contract = Contract(space_with(CutsAWeightOff))
    with pytest.raises(pytest.fail.Exception, match=r"hidden\.0\.weight"):
        contract.test_one_hot_gates_compute_what_the_network_computes(TASK)
