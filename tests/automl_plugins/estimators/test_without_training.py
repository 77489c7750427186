"""Estimators of untrained networks: their formulas, and that they judge networks of all spaces and of others."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins import Architecture, Task
from automl_plugins.estimators import Context, Estimator, make_estimator, rank
from automl_plugins.estimators.activations import Recorder, signs
from automl_plugins.estimators.az_nas import AzNasEstimator
from automl_plugins.estimators.grad_norm import GradNormEstimator
from automl_plugins.estimators.jacov import JacovEstimator
from automl_plugins.estimators.naswot import NaswotEstimator
from automl_plugins.estimators.random_order import RandomOrder
from automl_plugins.estimators.rank_sum import RankSumEstimator, log_rank_sum
from automl_plugins.estimators.size import MacsEstimator, ParamsEstimator
from automl_plugins.estimators.swap import SwapEstimator
from automl_plugins.estimators.synflow import SynflowEstimator
from automl_plugins.estimators.zico import ZicoEstimator
from automl_plugins.testing import EstimatorContract
from gnn_space import AGNNSpace, EGNASSpace, GNNPlusSpace
from seg_space import AutoDeepLabSpace, SmpSpace

ESTIMATORS: dict[str, Callable[[], Estimator]] = {
    "params": ParamsEstimator,
    "macs": MacsEstimator,
    "naswot": NaswotEstimator,
    "naswot, normalised": lambda: NaswotEstimator(normalised=True, positions=True),
    "swap": SwapEstimator,
    "jacov": JacovEstimator,
    "grad-norm": GradNormEstimator,
    "zico": ZicoEstimator,
    "synflow": SynflowEstimator,
    "az-nas": AzNasEstimator,
    "ranks": lambda: RankSumEstimator([NaswotEstimator(), MacsEstimator()]),
}
PIXELS = Task("pixel", "classes", in_channels=3, out_channels=3)
IMAGES = (torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)),)
CONTEXTS: dict[str, Callable[[], Context]] = {
    "agnn": lambda: Context(AGNNSpace(layers=2, hidden_channels=(4, 8), heads=(1, 2)), Task("node", "classes", 6, 3)),
    "egnas": lambda: Context(EGNASSpace(cells=1, nodes=1), Task("edge", "binary", 6, 1, edge_channels=3)),
    "gnn-plus": lambda: Context(
        GNNPlusSpace(), Task("graph", "regression", 2, 1, edge_channels=1, node_categories=(4, 5), edge_categories=(3,))
    ),
    "auto-deeplab": lambda: Context(AutoDeepLabSpace(layers=2, blocks=1, filters=2), PIXELS, example=IMAGES),
    "smp": lambda: Context(SmpSpace(), PIXELS, example=IMAGES),
}


class Contract(EstimatorContract):
    name: str
    on: str

    def estimator(self) -> Estimator:
        return ESTIMATORS[self.name]()

    def context(self) -> Context:
        return CONTEXTS[self.on]()

    def architectures(self) -> list[Architecture]:
        drawn = super().architectures()
        if self.on != "agnn":
            return drawn
        # A network of linear layers has no activations that could be judged.
        values = [{**each, "layer0.activation": "elu", "layer1.activation": "relu6"} for each in drawn]
        return [self.context().space.architecture(each) for each in values]


for _name in ESTIMATORS:
    for _on in ("agnn", "gnn-plus"):
        _label = "Test" + f"{_name} on {_on}".title().replace("-", "").replace(" ", "").replace(",", "")
        globals()[_label] = type(_label, (Contract,), {"name": _name, "on": _on, "__module__": __name__})


class TestRandomOrder(Contract):
    name, on, judges_modules = "random", "agnn", False

    def estimator(self) -> Estimator:
        return RandomOrder()


@pytest.mark.parametrize(
    ("on", "names"),
    [
        ("egnas", set(ESTIMATORS) - {"naswot, normalised"}),
        ("auto-deeplab", set(ESTIMATORS)),
        pytest.param("smp", {"naswot", "jacov"}, marks=pytest.mark.slow),
    ],
    ids=["egnas", "auto-deeplab", "smp"],
)
def test_networks_of_every_space_are_judged(on: str, names: set[str]) -> None:
    context = CONTEXTS[on]()
    architectures = [context.space.sample(np.random.default_rng(seed)) for seed in range(1 if on == "smp" else 2)]
    for name in sorted(names):
        estimates = ESTIMATORS[name]().estimate_all(architectures, context)
        assert {estimate.reason for estimate in estimates} == {""}, name


def test_what_a_network_has_too_little_of_is_said() -> None:
    """A network on edges may bend no features of nodes."""
    context = CONTEXTS["egnas"]()
    architecture = context.space.sample(np.random.default_rng(0))
    (estimate,) = NaswotEstimator(positions=True).estimate_all([architecture], context)
    assert not estimate.valid
    assert estimate.reason.startswith("ValueError: the network has no activations over its samples")


# A network that is not ours.


class Foreign(nn.Module):
    """Functional activations, a normalisation, and a dead branch."""

    def __init__(self, activation: Callable[[Tensor], Tensor] = functional.relu) -> None:
        super().__init__()
        self.activation = activation
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1, stride=2)
        self.dead = nn.Conv2d(8, 64, 1)
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        state = self.activation(self.norm(self.first(images)))
        self.activation(self.dead(state))
        state = self.activation(self.second(state))
        return functional.interpolate(self.head(state), images.shape[-2:])


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_network_that_is_not_ours_is_judged_and_left_as_it_was(name: str) -> None:
    context = CONTEXTS["auto-deeplab"]()
    network = Foreign()
    network.norm.eval()
    network.first.weight.requires_grad = False
    before = {key: value.clone() for key, value in network.state_dict().items()}
    (estimate,) = ESTIMATORS[name]().estimate_all([network], context)
    assert estimate.valid, estimate.reason
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert [network.training, network.norm.training, network.first.weight.requires_grad] == [True, False, False]
    assert all(weight.grad is None for weight in network.parameters())


ACTIVATIONS: list[Callable[[Tensor], Tensor]] = [
    functional.relu,
    torch.relu,
    torch.relu_,
    Tensor.relu,
    nn.ReLU(inplace=True),
    functional.leaky_relu,
    nn.PReLU(),
    nn.GELU(),
    functional.silu,
    nn.Hardswish(),
    torch.tanh,
]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_functions_and_modules_that_bend_are_seen_alike(activation: Callable[[Tensor], Tensor]) -> None:
    context = CONTEXTS["auto-deeplab"]()
    torch.manual_seed(0)
    network = Foreign(activation)
    torch.manual_seed(0)
    expected = []
    relu = Foreign()
    relu.norm.register_forward_hook(lambda module, inputs, output: expected.append(output.flatten(1) > 0))
    relu(*IMAGES)
    found = signs(network, context, 128, False, None)
    assert [each.shape for each in found] == [(4, 8 * 32 * 32), (4, 8 * 16 * 16)], "the dead branch counts"
    assert torch.equal(found[0], expected[0])


def test_sign_codes_are_compared_by_hamming_distance() -> None:
    context = CONTEXTS["auto-deeplab"]()
    network = Foreign()
    codes = torch.cat(signs(context.network(network), context, 128, False, None), dim=1).tolist()
    units = len(codes[0])
    kernel = np.array([[sum(a == b for a, b in zip(one, two, strict=True)) for two in codes] for one in codes])
    exact = _with_all_units(NaswotEstimator(epsilon=0), context, network)
    assert exact == pytest.approx(np.linalg.slogdet(kernel)[1], rel=1e-9)
    regular = _with_all_units(NaswotEstimator(epsilon=1e-2), context, network)
    assert regular == pytest.approx(np.linalg.slogdet(kernel + 1e-2 * units * np.eye(4))[1], rel=1e-9)


def _with_all_units(estimator: Estimator, context: Context, network: nn.Module) -> float:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("automl_plugins.estimators.naswot._MOST_FEATURES", None)
        return estimator.estimate(network, context).score


def test_layers_count_alike_where_the_kernel_is_normalised() -> None:
    context = CONTEXTS["auto-deeplab"]()
    network = Foreign()
    first, second = (each.double() for each in signs(context.network(network), context, 128, False, None))
    mean = sum((each @ each.T + (1 - each) @ (1 - each).T) / each.shape[1] for each in (first, second)) / 2
    expected = torch.linalg.slogdet(mean + 1e-6 * torch.eye(4))[1]
    assert _with_all_units(NaswotEstimator(normalised=True), context, network) == pytest.approx(float(expected))


def test_equal_samples_have_no_paper_score_and_a_finite_one_with_epsilon() -> None:
    images = (torch.ones(3, 3, 32, 32),)
    context = Context(CONTEXTS["auto-deeplab"]().space, PIXELS, example=images)
    paper, ours = (NaswotEstimator(epsilon=each).estimate_all([Foreign()], context)[0] for each in (0.0, 1e-6))
    assert paper.reason == "ValueError: the kernel is singular: two samples have the same code"
    assert ours.valid


def test_swap_counts_patterns() -> None:
    context = CONTEXTS["auto-deeplab"]()
    network = Foreign()
    codes = torch.cat(signs(context.network(network), context, 128, False, None), dim=1)
    assert SwapEstimator().estimate(network, context).score == len({tuple(unit) for unit in codes.T.tolist()})


class TwoLayers(nn.Module):
    """Positive weights, so that a flow is the outputs' sum."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1, bias=False)
        self.norm = nn.GroupNorm(2, 4)
        self.second = nn.Conv2d(4, 3, 1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.second(torch.relu(self.norm(self.first(images))))


def test_synflow_is_the_flow_through_every_layer_of_weights() -> None:
    context = CONTEXTS["auto-deeplab"]()
    network = TwoLayers()
    first, second = (layer.weight.detach().double().abs()[:, :, 0, 0] for layer in (network.first, network.second))
    expected = math.log(3 * float(second.sum(0) @ first.sum(1)) * 4 * 32 * 32)  # three tensors of weights carry it all
    assert SynflowEstimator().estimate(network, context).score == pytest.approx(expected, rel=1e-6)


def test_gradient_figures_are_those_of_the_loss() -> None:
    context = CONTEXTS["auto-deeplab"]()
    network = Foreign()
    by_draw = []
    for draw in range(2):
        copied = context.network(network).train()
        context.random_loss(copied, draw).backward()
        by_draw.append([weight.grad for weight in copied.parameters() if weight.grad is not None])
    norms = sum(float(gradient.norm()) for gradient in by_draw[0])
    assert GradNormEstimator().estimate(network, context).score == pytest.approx(norms, rel=1e-5)
    zico = 0.0
    for pair in zip(*by_draw, strict=True):
        if pair[0].dim() > 1:
            sizes = torch.stack(pair).double().abs()
            ratio = sizes.mean(0) / sizes.std(0, correction=0)
            zico += math.log(float(ratio[sizes.std(0, correction=0) > 0].sum()))
    assert ZicoEstimator().estimate(network, context).score == pytest.approx(zico, rel=1e-5)


def test_derivatives_that_are_all_alike_score_worst() -> None:
    """Of a linear network they are equal, whatever the input."""

    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, images: Tensor) -> Tensor:
            return self.conv(images)

    context = CONTEXTS["auto-deeplab"]()
    linear, bent = (JacovEstimator().estimate(network, context).score for network in (Linear(), Foreign()))
    expected = -3 * (math.log(1e-5) + 1e5) - math.log(4) - 1 / 4
    assert linear == pytest.approx(expected, rel=1e-2)
    assert bent > linear


def test_a_network_without_activations_says_so_and_ranks_last() -> None:
    context = CONTEXTS["auto-deeplab"]()
    for estimator in (NaswotEstimator(), SwapEstimator()):
        estimates = estimator.estimate_all([nn.Conv2d(3, 3, 1), Foreign()], context)
        assert estimates[0].reason.startswith("ValueError: the network has no activations over its samples")
        assert rank(estimates) == [1, 0]


def test_a_recorder_hears_what_embeddings_give() -> None:
    with Recorder(lambda features: None) as recorder:
        embedded = nn.Embedding(3, 2)(torch.tensor([0, 2]))
    assert recorder.embedded[0] is embedded


# Ranks.


def test_log_ranks_are_summed_and_a_missing_score_has_no_rank() -> None:
    scores = np.array([[1.0, 2.0, 2.0, 5.0, math.nan], [4.0, 3.0, 2.0, 9.0, 9.0]])
    sums = log_rank_sum(scores)
    ranks = np.array([[1, 2.5, 2.5, 4], [3, 2, 1, 4]])
    np.testing.assert_allclose(sums[:4], np.log(ranks / 4).sum(0))
    assert math.isnan(sums[4])


def test_ranks_are_made_by_name() -> None:
    space = CONTEXTS["agnn"]().space
    made = make_estimator(
        {
            "class_path": "automl_plugins.estimators.rank_sum.RankSumEstimator",
            "init_args": {"estimators": [ParamsEstimator(), MacsEstimator()]},
        },
        space,
    )
    assert [type(each) for each in made.estimators] == [ParamsEstimator, MacsEstimator]
    assert make_estimator("training:3", space).epochs == 3


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("training:[", r"estimator='training:\[': '\[' is no YAML value"),
        ("trainnig:3", "did you mean 'training'"),
    ],
)
def test_a_wrong_short_form_is_named(config: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_estimator(config, CONTEXTS["agnn"]().space)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NaswotEstimator(samples=1), "samples is at least 2"),
        (lambda: NaswotEstimator(epsilon=-1.0), "epsilon is a number of at least 0"),
        (lambda: NaswotEstimator(normalised="no"), "normalised is true or false"),
        (lambda: ZicoEstimator(batches=1), "batches is at least 2"),
        (lambda: RankSumEstimator([]), "name at least one estimator"),
    ],
)
def test_an_argument_out_of_range_is_refused(make: Callable[[], Estimator], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
