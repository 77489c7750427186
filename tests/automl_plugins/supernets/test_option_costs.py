"""What options cost, on the real spaces."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from perceptron_space.space import PerceptronSpace
from torch import Tensor, nn

from automl_plugins import Architecture, Task
from automl_plugins.measures.activations import activation_mib
from automl_plugins.supernets import SupernetSpace
from automl_plugins.supernets.gates import option_mask
from automl_plugins.supernets.option_costs import expected_cost, middle
from gnn_space import AGNNSpace, EGNASSpace
from seg_space import AutoDeepLabSpace

GRAPH = Task("graph", "regression", 5, 1)
PIXEL = Task("pixel", "classes", 3, 4)
SPACES: dict[str, tuple[Callable[[], SupernetSpace], Task]] = {
    "agnn": (lambda: AGNNSpace(layers=1, hidden_channels=(4, 8), heads=(1, 2)), GRAPH),
    "egnas": (lambda: EGNASSpace(cells=2, nodes=2, node_channels=4, edge_channels=2), GRAPH),
    "egnas, three inputs": (lambda: EGNASSpace(cells=1, nodes=2, inputs=3, node_channels=4, edge_channels=2), GRAPH),
    "auto-deeplab": (lambda: AutoDeepLabSpace(layers=2, blocks=1, filters=2, stem=(2, 2)), PIXEL),
    "several paths": (lambda: AutoDeepLabSpace(layers=2, blocks=1, filters=2, stem=(2, 2), multi_path=True), PIXEL),
}


def drawn(space: SupernetSpace, count: int) -> list[Architecture]:
    generator = np.random.default_rng(0)
    return [space.sample(generator) for _ in range(count)]


@pytest.mark.parametrize("name", ["egnas", "egnas, three inputs"])
def test_parameters_that_add_up_over_gates_add_up_exactly(name: str) -> None:
    make, task = SPACES[name]
    space = make()
    costs = space.option_costs(task, figure="params")
    architectures = drawn(space, 20)
    counts = [space.num_parameters(architecture, task) for architecture in architectures]
    expected = [float(expected_cost(space.gates(architecture), costs)) for architecture in architectures]
    assert np.ptp(counts) > 0
    assert {count - cost for count, cost in zip(counts, expected, strict=True)} == {counts[0] - expected[0]}


@pytest.mark.parametrize("name", SPACES)
def test_a_difference_of_costs_is_that_of_networks_which_differ_in_one_gate(name: str) -> None:
    make, task = SPACES[name]
    space = make()
    costs = space.option_costs(task, figure="params")
    assert costs.shape == (len(space.gate_choices), max(len(choice.options) for choice in space.gate_choices))
    assert (costs >= 0).all()
    assert not costs[~option_mask(space.gate_choices)].any()
    used = space.gates(middle(space)).matrix.bool()
    for row, choice in enumerate(space.gate_choices):
        if not used[row].any() or choice.name not in {each.name for each in space.choices}:
            continue
        counts = {
            option: space.num_parameters(space.architecture({**middle(space), choice.name: option}), task)
            for option in choice.options
            if is_valid(space, {**middle(space), choice.name: option})
        }
        for option, count in counts.items():
            difference = float(costs[row, choice.index(option)] - costs[row, choice.index(min(counts, key=counts.get))])
            assert difference == count - min(counts.values())


def is_valid(space: SupernetSpace, values: dict[str, object]) -> bool:
    try:
        space.architecture(values)
    except ValueError:
        return False
    return True


def test_a_cost_of_your_own_reference() -> None:
    space = PerceptronSpace()
    task = Task("pixel", "regression", 3, 1)
    narrow = space.architecture({"depth": 2, "layer0.width": 2, "layer1.width": 2, "activation": "relu"})
    wide = space.architecture({**narrow, "layer0.width": 16})
    costs = [space.option_costs(task, figure="params", reference=each)[2] for each in (narrow, wide)]
    # A channel of the second layer has a weight for each of the first layer's, a bias, and one in the output.
    assert costs[0].tolist() == [0, 2 * 4, 6 * 4, 14 * 4]
    assert costs[1].tolist() == [0, 2 * 18, 6 * 18, 14 * 18]


@pytest.mark.parametrize("figure", ["macs", "activation_mib", "latency_ms"])
def test_costs_on_real_inputs_grow_with_the_width(figure: str) -> None:
    space = PerceptronSpace(widest=64)
    torch.manual_seed(0)
    costs = space.option_costs(Task("pixel", "regression", 3, 1), (torch.randn(2, 3, 64, 64),), figure)
    (width,) = (costs[row] for row, choice in enumerate(space.choices) if choice.name == "layer1.width")
    assert width[0] == 0 or figure == "latency_ms"
    assert width[-1] > 0
    assert figure == "latency_ms" or (width.diff() > 0).all()
    if figure == "macs":
        # Each channel of the second layer has 16 of the first layer and 1 of the output, at 2 x 64 x 64 pixels.
        assert width.tolist() == [2 * 64 * 64 * 17 * (channels - 2) for channels in (2, 4, 8, 16, 32, 64)]


def test_the_expected_cost_is_differentiable_and_of_one_hot_gates_that_of_the_architecture() -> None:
    make, task = SPACES["egnas"]
    space = make()
    costs = space.option_costs(task, figure="params")
    probabilities = space.searchable(task).probabilities().matrix.double().requires_grad_()
    cost = expected_cost(probabilities, costs)
    cost.backward()
    assert torch.equal(probabilities.grad, costs)
    assert cost.item() == pytest.approx((probabilities * costs).sum().item())
    with pytest.raises(ValueError, match="probabilities are gates or a matrix"):
        expected_cost(probabilities[1:], costs)


def test_an_unknown_figure_is_refused() -> None:
    with pytest.raises(ValueError, match="is one of params, macs, activation_mib, latency_ms; got 'flops'"):
        PerceptronSpace().option_costs(Task("pixel", "regression", 3, 1), (torch.randn(1, 3, 2, 2),), "flops")


class Squares(nn.Module):
    """Keeps its input once, and what is squared first."""

    def forward(self, values: Tensor) -> Tensor:
        return (values * 2).square().square()


def test_activations_are_what_is_kept_for_the_backward_pass() -> None:
    values = torch.randn(2**18, requires_grad=True)
    assert activation_mib(Squares(), (values,)) == 2.0
    assert activation_mib(nn.Identity(), (values,)) == 0.0


def test_a_figure_that_is_measured_needs_inputs() -> None:
    space = AutoDeepLabSpace(layers=2, blocks=1, filters=1, stem=(2,), stem_stride=1)
    with pytest.raises(ValueError, match="figure='macs' is measured on inputs"):
        space.option_costs(Task("pixel", "classes", 3, 2), figure="macs")
