"""Derivatives of any order and mode through the supernets of all spaces are right, or refused in words."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

import automl_plugins
import gnn_space
import seg_space
from automl_plugins import Task
from automl_plugins.supernets.derivatives import HandWritten
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.space import SupernetSpace
from gnn_space import AGNNSpace, EGNASSpace
from gnn_space.aggregation import _Softmax
from gnn_space.attention import _Attended
from gnn_space.egnas.graph_index import GraphIndex, _Gather, _Sum
from gnn_space.products import _Dots, _Ends, _Product
from seg_space import AutoDeepLabSpace
from seg_space.auto_deeplab.depthwise import _Depthwise

REFUSAL = r"hand-written derivatives of a joint supernet; make the supernet with joint=False"
GRAPH = Task("graph", "regression", 3, 1, edge_channels=2)
PIXEL = Task("pixel", "classes", 3, 2)
SMALL: dict[str, Any] = {"layers": 2, "blocks": 2, "filters": 2, "stem": (2, 4)}
# Whether there is a joint form, beside the plain one.
SECOND_ORDER = ("egnas", "egnas, recomputed")
"""The spaces whose joint form can be differentiated twice."""
SPACES: dict[str, tuple[SupernetSpace, bool]] = {
    "agnn": (AGNNSpace(layers=1, hidden_channels=(2, 4), heads=(1, 2), dropout=0.0), False),
    "egnas": (EGNASSpace(cells=1, nodes=2, node_channels=4, edge_channels=3), True),
    "egnas, recomputed": (EGNASSpace(cells=1, nodes=1, node_channels=4, edge_channels=3, checkpointing=True), True),
    "auto-deeplab": (AutoDeepLabSpace(**SMALL), True),
    "auto-deeplab, recomputed": (AutoDeepLabSpace(**SMALL, checkpointing=True), True),
    "auto-deeplab, merged": (AutoDeepLabSpace(**SMALL, merge_inputs=True), True),
    "auto-deeplab, several paths": (AutoDeepLabSpace(**{**SMALL, "blocks": 1}, multi_path=True), True),
}


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def supernet_of(name: str, joint: bool) -> tuple[nn.Module, Tensor, Callable[[nn.Module, Tensor], Tensor]]:
    """A supernet in training mode, soft gates, and a smooth loss of both."""
    space, _ = SPACES[name]
    torch.manual_seed(0)
    task = PIXEL if name.startswith("auto") else GRAPH
    supernet = space.supernet(task, joint=joint).train()
    if task is PIXEL:
        inputs: tuple[Any, ...] = (torch.randn(2, 3, 8, 8),)
    else:
        edges = torch.randint(0, 5, (2, 12))
        inputs = (torch.randn(5, 3), edges, torch.randn(12, 2), torch.tensor([0, 0, 0, 1, 1]), 2)
    torch.manual_seed(0)
    gates = space.searchable(task).gates().matrix.detach()

    def loss(network: nn.Module, matrix: Tensor) -> Tensor:
        return network(*inputs, gates=Gates(space.gate_choices, matrix)).square().mean()

    return supernet, gates, loss


def penalty(supernet: nn.Module, matrix: Tensor, loss: Callable[[nn.Module, Tensor], Tensor]) -> Tensor:
    """The squared norm of a loss's gradient with respect to the weights."""
    weights = [weight for weight in supernet.parameters() if weight.requires_grad]
    gradients = torch.autograd.grad(loss(supernet, matrix), weights, create_graph=True, allow_unused=True)
    return torch.stack([each.square().sum() for each in gradients if each is not None]).sum()


def test_every_function_with_a_derivative_of_its_own_refuses_a_second_one_or_has_it() -> None:
    for package in (automl_plugins, gnn_space, seg_space):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)

    def below(kind: type) -> Iterator[type[Any]]:
        for each in kind.__subclasses__():
            yield each
            yield from below(each)

    ours = [
        each
        for each in below(torch.autograd.Function)
        if each.__module__.split(".")[0].endswith(("_space", "_plugins"))
    ]
    assert {"_Gather", "_Sum", "_Stage", "_Depthwise"} <= {each.__name__ for each in ours}
    for function in ours:
        # The others are right: see below, and tests/gnn_space/test_aggregation.py and test_attention.py.
        if function in (HandWritten, _Depthwise, _Gather, _Sum, _Product, _Dots, _Ends, _Softmax, _Attended):
            continue
        with torch.enable_grad(), pytest.raises(RuntimeError, match=f"{REFUSAL}|the mean loss of several paths"):
            function.backward(None, None)


def test_depthwise_convolutions_of_networks_have_second_derivatives() -> None:
    torch.manual_seed(0)
    for kernel, dilation in ((3, 1), (5, 2)):
        x = torch.randn(2, 2, 5, 4, requires_grad=True)
        weight = torch.randn(2, 1, kernel, kernel, requires_grad=True)
        assert torch.autograd.gradgradcheck(lambda *each, by=dilation: _Depthwise.apply(*each, by), (x, weight))


@pytest.mark.parametrize("name", ["of_sources", "of_targets", "sum", "max"])
def test_gathering_and_reducing_along_edges_have_second_derivatives(name: str) -> None:
    torch.manual_seed(0)
    graph = GraphIndex(torch.randint(0, 5, (2, 12)), 5)
    rows = torch.randn(2, 5 if name.startswith("of") else 12, 3, requires_grad=True)
    assert torch.autograd.gradcheck(getattr(graph, name), (rows,))
    assert torch.autograd.gradgradcheck(getattr(graph, name), (rows,))


@pytest.mark.parametrize("name", SPACES)
def test_gradients_of_gradients_are_right_without_a_joint_supernet_and_refused_by_it_or_right(name: str) -> None:
    if SPACES[name][1] and name not in SECOND_ORDER:
        supernet, gates, loss = supernet_of(name, joint=True)
        matrix = gates.clone().requires_grad_()
        with pytest.raises(RuntimeError, match=REFUSAL):
            penalty(supernet, matrix, loss)
        with pytest.raises(RuntimeError, match=REFUSAL):
            torch.autograd.grad(loss(supernet, matrix), [matrix], create_graph=True)
        with pytest.raises(RuntimeError, match=REFUSAL):
            loss(supernet, matrix).backward(create_graph=True)
        loss(supernet, matrix).backward()
    for joint in (True, False) if name in SECOND_ORDER else (False,):
        supernet, gates, loss = supernet_of(name, joint)
        torch.manual_seed(1)
        direction = torch.where(gates > 0, torch.randn(gates.shape), 0.0)
        matrix = gates.clone().requires_grad_()
        (second,) = torch.autograd.grad(penalty(supernet, matrix, loss), matrix)
        step = 1e-6
        above, below = (penalty(supernet, gates + sign * step * direction, loss).item() for sign in (1, -1))
        assert float((second * direction).sum()) == pytest.approx((above - below) / (2 * step), rel=1e-3, abs=1e-7)


def test_recomputation_does_not_change_a_second_derivative() -> None:
    seconds = []
    for name in ("auto-deeplab", "auto-deeplab, recomputed"):
        plain, gates, loss = supernet_of(name, joint=False)
        matrix = gates.clone().requires_grad_()
        seconds += torch.autograd.grad(penalty(plain, matrix, loss), matrix)
    torch.testing.assert_close(*seconds)


@pytest.mark.parametrize("name", [name for name, (_, joint) in SPACES.items() if joint and "recomputed" not in name])
def test_forward_mode_is_refused_by_a_joint_supernet(name: str) -> None:
    supernet, gates, loss = supernet_of(name, joint=True)
    with forward_ad.dual_level(), pytest.raises(RuntimeError, match=REFUSAL):
        loss(supernet, forward_ad.make_dual(gates.requires_grad_(), torch.ones_like(gates)))


@pytest.mark.parametrize("name", ["agnn", "egnas", "auto-deeplab"])
def test_transforms_of_functions_are_right_without_a_joint_supernet_and_refused_by_it(name: str) -> None:
    plain, gates, loss = supernet_of(name, joint=False)
    matrix = gates.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(plain, matrix), matrix)
    if name != "auto-deeplab":  # its statistics are moved in place, which torch refuses
        _forget_statistics(plain)
        torch.testing.assert_close(torch.func.grad(lambda each: loss(plain, each))(gates), expected)
    if SPACES[name][1]:
        supernet, gates, loss = supernet_of(name, joint=True)
        _forget_statistics(supernet)
        for transform in (torch.func.grad, torch.func.hessian):
            with pytest.raises(RuntimeError, match=REFUSAL):
                transform(lambda each: loss(supernet, each))(gates)
        with pytest.raises(RuntimeError, match=REFUSAL):
            torch.func.jvp(lambda each: loss(supernet, each), (gates,), (torch.ones_like(gates),))


def _forget_statistics(network: nn.Module) -> None:
    """What a batch moves in place is no part of a function."""
    for norm in network.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            norm.track_running_stats = False
            norm.running_mean = norm.running_var = norm.num_batches_tracked = None
