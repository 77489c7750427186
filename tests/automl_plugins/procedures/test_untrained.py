"""Searches without training: FreeNAS's saliencies and NASI's traces, on real spaces."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from automl_plugins import Project, Task
from automl_plugins.errors import DivergedError
from automl_plugins.estimators import Context, rank
from automl_plugins.estimators.flow import WithoutNormalisation, as_flow, flow_inputs
from automl_plugins.estimators.freeflow import FreeflowEstimator, flow_example, gate_shares
from automl_plugins.estimators.nasi import NasiEstimator
from automl_plugins.procedures import nasi as module_of_nasi
from automl_plugins.procedures.fits import searchable_of
from automl_plugins.procedures.freenas import freenas
from automl_plugins.procedures.nasi import nasi
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.searchable import Searchable
from gnn_space import AGNNSpace, EGNASSpace, GNNPlusSpace
from gnn_space.data import ClusterData, EdgeCommunityData
from seg_space import AutoDeepLabSpace, SmpSpace

PIXELS = Task("pixel", "classes", in_channels=3, out_channels=3)
SPACES: dict[str, Callable[[], tuple[Any, Task]]] = {
    "agnn": lambda: (AGNNSpace(layers=2, hidden_channels=(4, 8), heads=(1, 2)), Task("node", "classes", 6, 3)),
    "egnas": lambda: (EGNASSpace(cells=1, nodes=1), Task("edge", "binary", 6, 1, edge_channels=3)),
    "gnn-plus": lambda: (GNNPlusSpace(), Task("graph", "regression", 2, 1, node_categories=(4, 5))),
    "auto-deeplab": lambda: (AutoDeepLabSpace(layers=2, blocks=1, filters=2), PIXELS),
}


def searchable_for(name: str) -> Searchable:
    space, task = SPACES[name]()
    torch.manual_seed(0)
    return space.searchable(task, joint=False)


@pytest.mark.parametrize("name", SPACES)
def test_a_saliency_is_the_derivative_by_finite_differences(name: str) -> None:
    space, task = SPACES[name]()
    inputs = flow_example(Context(space, task))
    searchable = searchable_for(name)
    shares = gate_shares(searchable, inputs)
    searchable = searchable_for(name)
    supernet, mask = as_flow(searchable.supernet), searchable.mask
    gates = mask.double() / mask.sum(1, keepdim=True)

    def flow(matrix: Tensor) -> float:
        with torch.no_grad(), WithoutNormalisation():
            return float(supernet(*flow_inputs(inputs), gates=Gates(searchable.choices, matrix)).sum())

    row = int((shares > 0).sum(1).argmax())
    saliencies = []
    for option in range(int(mask[row].sum())):
        step = torch.zeros_like(gates)
        step[row, option] = 1e-6 * gates[row, option]
        saliencies.append(abs(flow(gates + step) - flow(gates - step)) / 2e-6)
    expected = torch.tensor(saliencies) / sum(saliencies)
    torch.testing.assert_close(shares[row, mask[row]].float(), expected.float(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", SPACES)
def test_shares_are_of_open_options_alone(name: str) -> None:
    space, task = SPACES[name]()
    searchable = searchable_for(name)
    choice = searchable.choices[-1]
    searchable.close(choice.name, choice.options[-1])
    shares = gate_shares(searchable, flow_example(Context(space, task)))
    assert shares.dtype == torch.float64
    assert not shares[~searchable.mask].any()
    assert ((shares.sum(1) - 1).abs() < 1e-9).logical_or(shares.sum(1) == 0).all()


@pytest.mark.parametrize("name", SPACES)
def test_in_rounds_one_option_of_each_gate_outlives_the_others(name: str) -> None:
    space, task = SPACES[name]()
    searchable = searchable_for(name)
    shares = gate_shares(searchable, flow_example(Context(space, task)), rounds=3)
    last = (shares > 2 / 3 - 1e-9).sum(1)
    assert (last >= 1).all()
    assert int(last.sum()) < int(searchable.mask.sum())


def graphs(space: Any, folder: Path, **arguments: Any) -> Project:
    data = EdgeCommunityData(4, 2, 2, batch_size=2) if isinstance(space, EGNASSpace) else ClusterData(2, 1, 1)
    return Project(space, data, trainer={"max_epochs": 1, "accelerator": "cpu"}, folder=folder, **arguments)


PROJECTS: list[Callable[[Path], Project]] = [
    lambda folder: graphs(AGNNSpace(layers=1, hidden_channels=(4, 8), heads=(1, 2)), folder),
    lambda folder: graphs(EGNASSpace(cells=1, nodes=1), folder),
    lambda folder: graphs(GNNPlusSpace(), folder),
]


@pytest.mark.parametrize("make", [PROJECTS[0], PROJECTS[2]])
def test_freenas_finds_the_best_architecture_by_freeflow(make: Callable[[Path], Project], tmp_path: Path) -> None:
    project = make(tmp_path)
    (found,) = freenas(project)
    assert found == freenas(project)[0]
    generator = torch.Generator().manual_seed(0)
    others = [project.space.sample(generator) for _ in range(20)]
    estimates = FreeflowEstimator().estimate_all([*others, found.architecture], Context.of(project))
    # Where choices open others, an architecture with more gates may have more to sum.
    means = [each.score / each.figures["gates"] for each in estimates]
    assert rank(means)[0] == 20
    assert not list(tmp_path.iterdir()), "a procedure without fits leaves nothing"


@pytest.mark.parametrize("make", PROJECTS)
def test_nasi_is_settled_by_the_seed_and_keeps_limits(make: Callable[[Path], Project], tmp_path: Path) -> None:
    project = make(tmp_path)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    (found,) = nasi(project, draws=2)
    assert torch.equal(before, torch.get_rng_state())
    assert found == nasi(project, draws=2)[0]
    assert found.figures["trace"] > 0
    most = project.space.num_parameters(found.architecture, project.task) - 1
    smaller = project.replace(limits={"params": most})
    (other,) = nasi(smaller, draws=2)
    assert project.space.num_parameters(other.architecture, project.task) <= most


def test_the_gradient_of_a_trace_is_that_of_finite_differences(tmp_path: Path) -> None:
    project = PROJECTS[0](tmp_path)
    context = Context.of(project)
    searchable = searchable_of(project, "softmax", joint=False).double().train()
    object.__setattr__(context, "__dict__", {**context.__dict__, "inputs": flow_inputs(context.inputs)})
    for part in searchable.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0

    def trace() -> float:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return module_of_nasi._draw(searchable, context, 0)[0]

    with torch.random.fork_rng():
        torch.manual_seed(0)
        gradient = module_of_nasi._draw(searchable, context, 0)[1]
    place = divmod(int(gradient.abs().argmax()), gradient.shape[1])
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            searchable.logits[place] += sign * 1e-5
        values.append(trace())
        with torch.no_grad():
            searchable.logits[place] -= sign * 1e-5
    assert (values[0] - values[1]) / 2e-5 == pytest.approx(float(gradient[place]), rel=1e-3)


def test_beyond_a_bound_the_trace_is_penalised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = PROJECTS[0](tmp_path)
    gradient = torch.full_like(searchable_of(project).logits, 2.0)
    monkeypatch.setattr(module_of_nasi, "_draw", lambda searchable, context, draw: (10.0, gradient))
    logits: list[Tensor] = []
    decode = Searchable.architecture

    def spy(searchable: Searchable) -> Any:
        logits.append(searchable.logits.detach().clone())
        return decode(searchable)

    monkeypatch.setattr(Searchable, "architecture", spy)
    for bound, share in ((20.0, 0.0), (5.0, 1.0)):
        assert nasi(project, draws=4, penalty=3.0, bound=bound)[0].figures["beyond_bound"] == share
    unit = gradient / gradient.norm()
    torch.testing.assert_close(logits[0], unit)
    torch.testing.assert_close(logits[1], -unit)


def test_a_trace_that_is_no_number_ends_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = PROJECTS[0](tmp_path)
    monkeypatch.setattr(Context, "loss", lambda context, outputs, targets: outputs.sum() * math.nan)
    with pytest.raises(DivergedError, match="the trace of draw 0 is nan"):
        nasi(project, draws=1)


@pytest.mark.parametrize("procedure", [freenas, nasi])
def test_a_space_without_a_supernet_is_refused(procedure: Callable[..., Any], tmp_path: Path) -> None:
    project = Project(SmpSpace(), ClusterData(2, 1, 1), task=PIXELS, trainer={"max_epochs": 1}, folder=tmp_path)
    with pytest.raises(TypeError, match=r"searches in supernets; the space 'smp' has none"):
        procedure(project)
    with pytest.raises(ValueError, match="freeflow reads the gates of a supernet; the space 'smp' has none"):
        FreeflowEstimator().check(Context(SmpSpace(), PIXELS))


def test_a_trace_norm_is_the_squared_gradient() -> None:
    space, task = SPACES["agnn"]()
    context = Context(space, task)
    network = context.network(space.sample(torch.Generator().manual_seed(0)))
    traces = []
    for draw in range(3):
        copied = context.network(network).train()
        with context.seeded():
            context.random_loss(copied, draw).backward()
        traces.append(
            sum(float(weight.grad.square().sum()) for weight in copied.parameters() if weight.grad is not None)
        )
    with context.seeded():
        estimate = NasiEstimator(draws=1).estimate(network, context)
    assert estimate.score == pytest.approx(traces[0], rel=1e-4)
    assert NasiEstimator(draws=3).estimate_all([network], context)[0].std > 0
