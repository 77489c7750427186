"""A graph hypernetwork: graphs of built networks, their parameters, its training, and its three uses."""

from __future__ import annotations

import copy
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.data import DataLoader, TensorDataset

from automl_plugins import Architecture, Project, SearchSpace, Task
from automl_plugins.estimators import Context, Estimator
from automl_plugins.estimators.ghn import GhnEstimator, training
from automl_plugins.estimators.ghn.decoder import ParameterDecoder
from automl_plugins.estimators.ghn.files import HypernetworkFolder
from automl_plugins.estimators.ghn.graph import NetworkGraph, Weight, graph_of, matrix_shape
from automl_plugins.estimators.ghn.hypernetwork import GraphHypernetwork
from automl_plugins.estimators.ghn.predicted import PredictedNetwork, give_parameters, graph_for
from automl_plugins.estimators.ghn.training import Budget, train_hypernetwork
from automl_plugins.testing import EstimatorContract
from automl_plugins.training.recalibration import recalibrate
from gnn_space import AGNNSpace, EGNASSpace, GNNPlusSpace
from gnn_space.data import ClusterData, EdgeCommunityData
from seg_space import AutoDeepLabSpace

PIXELS = Task("pixel", "classes", in_channels=3, out_channels=3)
GRAPHS = Task("graph", "regression", 6, 2, edge_channels=3)
SPACES: list[tuple[SearchSpace, Task]] = [
    (AGNNSpace(layers=2), Task("node", "classes", 6, 3)),
    (GNNPlusSpace(), GRAPHS),
    (EGNASSpace(cells=1, nodes=2), GRAPHS),
    (AutoDeepLabSpace(layers=4, blocks=2, filters=4, stem=(8, 8)), PIXELS),
]
LEAN: dict[str, Any] = {"accelerator": "cpu", "max_epochs": 1}


class Images(pl.LightningDataModule):
    """The brightest channel of each pixel."""

    task = PIXELS

    def train_dataloader(self) -> DataLoader[Any]:
        images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(images, images.argmax(dim=1)), 4, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.train_dataloader().dataset, 4)


def agnn(**arguments: Any) -> Project:
    space = AGNNSpace(layers=1, hidden_channels=(4, 8), heads=(1, 2), dropout=0.1)
    return Project(space, ClusterData(4, 2, 2, batch_size=1), **{"trainer": LEAN, **arguments})


def gnn_plus() -> Project:
    space = GNNPlusSpace(depths=(1, 2), channels=(8,), heads=1)
    return Project(space, ClusterData(2, 1, 1, batch_size=1), trainer=LEAN)


def egnas() -> Project:
    space = EGNASSpace(cells=1, nodes=1, node_channels=4, edge_channels=2)
    return Project(space, EdgeCommunityData(4, 4, 4, batch_size=4), trainer=LEAN)


def auto_deeplab() -> Project:
    space = AutoDeepLabSpace(layers=2, blocks=1, filters=2, stem=(4, 4))
    return Project(space, Images(), trainer=LEAN)


PROJECTS = {"agnn": agnn, "gnn-plus": gnn_plus, "egnas": egnas, "auto-deeplab": auto_deeplab}


def sampled(space: SearchSpace, count: int, seed: int = 0) -> list[Architecture]:
    generator = np.random.default_rng(seed)
    return list(dict.fromkeys(space.sample(generator) for _ in range(count)))


def small(**arguments: Any) -> GhnEstimator:
    return GhnEstimator(**{"steps": 2, "meta_batch": 2, "architectures": 3, "batches": 1, **arguments})


def alike(one: nn.Module, other: nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())


# Graphs.


class Branching(nn.Module):
    """Two convolutions, one of which an activation follows, added."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 2, 1)
        self.aside = nn.Linear(3, 2)
        self.unused = nn.Linear(5, 5)

    def forward(self, images: Tensor) -> Tensor:
        straight = self.second(self.norm(self.first(images)).relu())
        return straight + self.aside(images.mean(dim=(2, 3)))[:, :, None, None]


def test_a_graph_has_operations_and_parameters_in_order_of_data_flow() -> None:
    graph = graph_of(Branching(), (torch.zeros(2, 3, 8, 8),))
    reads = {kind: {graph.kinds[each] for each in graph.inputs[node]} for node, kind in enumerate(graph.kinds)}
    assert reads["NativeBatchNorm"] == {"Convolution", "BatchNorm2d.weight", "BatchNorm2d.bias"}
    assert reads["Relu"] == {"NativeBatchNorm"}
    assert reads["Addmm"] == {"Linear.weight", "Linear.bias"}, "a transposition alone is no node"
    assert reads["Add"] == {"Convolution", "Addmm"}
    assert all(each < node for node, inputs in enumerate(graph.inputs) for each in inputs)
    weights = {weight.name: weight for weight in graph.weights}
    assert "unused.weight" not in weights
    assert {name: weight.role for name, weight in weights.items()} == {
        "first.weight": "matrix",
        "norm.weight": "scale",
        "norm.bias": "shift",
        "second.weight": "matrix",
        "second.bias": "shift",
        "aside.weight": "matrix",
        "aside.bias": "shift",
    }
    # beta / fan-in, beta 2 where an activation follows.
    assert weights["first.weight"].variance == pytest.approx(2 / 27)
    assert weights["second.weight"].variance == pytest.approx(1 / 4)
    assert weights["aside.weight"].variance == pytest.approx(1 / 3)


@st.composite
def dags(draw: st.DrawFn) -> NetworkGraph:
    count = draw(st.integers(1, 12))
    inputs = [
        tuple(sorted(draw(st.sets(st.integers(0, node - 1), max_size=3)))) if node else () for node in range(count)
    ]
    kinds = [draw(st.sampled_from(["Add", "Relu", "Linear.weight"])) for _ in range(count)]
    weights = [Weight(str(node), node, (2, 3), "matrix", 1.0) for node in range(count) if kinds[node] != "Add"]
    return NetworkGraph(tuple(kinds), tuple(inputs), tuple(weights))


@given(dags())
def test_distances_are_those_of_a_search_in_breadth(graph: NetworkGraph) -> None:
    distances = graph.distances()
    for start in range(len(graph)):
        reached, front, steps = {start: 0}, {start}, 0
        while front:
            steps += 1
            front = {node for node in range(len(graph)) if set(graph.inputs[node]) & front} - set(reached)
            reached |= dict.fromkeys(front, steps)
        assert [reached.get(node, math.inf) for node in range(len(graph))] == distances[start].tolist()


@settings(max_examples=20, deadline=None)
@given(st.lists(dags(), min_size=1, max_size=3))
def test_states_are_those_of_one_node_after_the_other(graphs: list[NetworkGraph]) -> None:
    torch.manual_seed(0)
    hypernetwork = GraphHypernetwork(8).double()
    with torch.no_grad():
        expected = torch.cat([one_by_one(hypernetwork, graph) for graph in graphs])
        torch.testing.assert_close(hypernetwork.states(graphs), expected)


def one_by_one(hypernetwork: GraphHypernetwork, graph: NetworkGraph) -> Tensor:
    """The states by equations 3 and 4, node by node."""
    states = list(hypernetwork._begun([graph]))
    distances = graph.distances()
    nodes = range(len(graph))
    for order, lengths in ((nodes, distances.T), (reversed(nodes), distances)):
        for node in order:
            message, total = torch.zeros(8).double(), 0.0
            far = torch.zeros(8).double()
            for other in nodes:
                near_part, far_part = hypernetwork.messages(states[other]).chunk(2)
                if lengths[node, other] == 1:
                    message = message + near_part
                elif 1 < lengths[node, other] <= 50:
                    far = far + far_part / float(lengths[node, other])
                    total += 1 / float(lengths[node, other])
            message = message + far / max(total, 1.0)
            states[node] = hypernetwork.cell(message[None], states[node][None])[0]
    return hypernetwork.norm(torch.stack(states))


@pytest.mark.parametrize(("space", "task"), SPACES, ids=lambda each: getattr(each, "name", ""))
def test_every_trained_parameter_of_a_spaces_networks_is_predicted(space: SearchSpace, task: Task) -> None:
    torch.manual_seed(0)
    hypernetwork = GraphHypernetwork(16, kernel=3)
    networks = [space.network(each, task) for each in sampled(space, 3)]
    with torch.no_grad():
        parameters = hypernetwork([graph_for(network, task) for network in networks])
    inputs = Context(space, task).inputs
    for network, own in zip(networks, parameters, strict=True):
        assert {name: value.shape for name, value in network.named_parameters()} == {
            name: value.shape for name, value in own.items()
        }
        outputs = functional_call(network.train(), own, inputs)
        assert bool(outputs.isfinite().all())
        assert outputs.std() > 0


@pytest.mark.parametrize(("space", "task"), SPACES, ids=lambda each: getattr(each, "name", ""))
def test_a_graph_is_of_the_architecture_and_not_of_its_weights(space: SearchSpace, task: Task) -> None:
    first, second = sampled(space, 2)
    graphs = []
    for seed, architecture in ((0, first), (1, first), (0, second)):
        torch.manual_seed(seed)
        graphs.append(graph_for(space.network(architecture, task), task))
    assert graphs[0] == graphs[1] != graphs[2]
    one, other = GraphHypernetwork(8).embed([graphs[0], graphs[2]])
    assert not torch.allclose(one, other)


def test_a_network_without_trained_parameters_has_no_graph() -> None:
    with pytest.raises(ValueError, match="depend on no parameter that is trained"):
        graph_of(nn.Flatten(), (torch.zeros(2, 3),))


# Parameters.


@given(
    st.lists(st.integers(1, 150), min_size=2, max_size=2),
    st.sampled_from([(), (1, 1), (3, 3), (5, 5), (1, 7)]),
)
@settings(max_examples=20, deadline=None)
def test_a_matrix_has_the_variance_of_its_fan_in_and_is_sliced_and_tiled(
    channels: list[int], sides: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    decoder = ParameterDecoder(8, kernel=5)
    weight = Weight("w", 0, (*channels, *sides), "matrix", 2 / 30)
    state = torch.randn(1, 8)
    with torch.no_grad():
        (found,) = decoder(state, [weight])
        gain = 2 * torch.sigmoid(decoder.gain(state) / 2).item()
    assert found.shape == weight.shape
    assert found.square().mean().item() == pytest.approx(gain**2 * weight.variance, rel=1e-4)
    if channels[0] > 64:
        assert torch.equal(found[64:], found[: channels[0] - 64][: len(found) - 64])


def test_scales_are_near_one_and_shifts_near_nothing() -> None:
    torch.manual_seed(0)
    decoder = ParameterDecoder(8, kernel=1)
    weights = [Weight(role, 0, (70,), role, 1 / 70) for role in ("scale", "shift", "vector")]
    with torch.no_grad():
        scale, shift, vector = decoder(torch.randn(3, 8), weights)
    assert bool(((scale > 0) & (scale < 2)).all())
    assert bool((shift.abs() < 1).all())
    assert scale.mean().item() == pytest.approx(1, abs=0.1)
    assert vector.square().mean().item() < 4 / 70


def test_the_weights_of_heads_are_matrices() -> None:
    assert matrix_shape((1, 4, 16)) == (4, 16, 1, 1)
    assert matrix_shape((8, 1, 5, 5)) == (8, 1, 5, 5)
    assert matrix_shape((3, 2)) == (3, 2, 1, 1)
    assert matrix_shape((3, 2, 2, 2, 2)) == (3, 2, 2, 4)


def test_what_is_frozen_stays_and_the_network_keeps_device_and_mode() -> None:
    network = Branching()
    network.first.requires_grad_(False)
    network.norm.eval()
    before = copy.deepcopy(network)
    example = torch.Generator().manual_seed(0)
    give_parameters(network, GraphHypernetwork(8), PIXELS, example)
    assert torch.equal(network.first.weight, before.first.weight)
    assert torch.equal(network.unused.weight, before.unused.weight)
    assert not torch.equal(network.second.weight, before.second.weight)
    assert (network.training, network.norm.training) == (True, False)
    assert torch.equal(network.norm.running_mean, before.norm.running_mean)


# Training.


@pytest.mark.parametrize("name", PROJECTS)
def test_networks_with_predicted_parameters_become_better(name: str) -> None:
    project = PROJECTS[name]()
    context = Context.of(project)
    candidates = sampled(context.space, 4)

    def loss(steps: int) -> float:
        hypernetwork = train_hypernetwork(project, Budget(steps, 2, 6), seed=0)
        losses = []
        for each in candidates:
            network = give_parameters(context.network(each), hypernetwork, context.task)
            recalibrate(project.make_module(network), project.batches(2))
            losses.append(project.validate(network)["val_loss"])
        return float(np.mean(losses))

    assert loss(20) < loss(1)


def test_a_training_that_was_killed_ends_as_one_that_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SEGMENT", 2)
    budget, project = Budget(5, 2, 3), agnn()
    whole = train_hypernetwork(project, budget, seed=0)
    fit, fits = training._fit, []

    def killed(*arguments: Any) -> None:
        fits.append(1)
        if len(fits) == 2:
            raise KeyboardInterrupt
        fit(*arguments)

    monkeypatch.setattr(training, "_fit", killed)
    with pytest.raises(KeyboardInterrupt):
        train_hypernetwork(project, budget, 0, tmp_path / "training.ckpt")
    resumed = train_hypernetwork(agnn(), budget, 0, tmp_path / "training.ckpt")
    assert len(fits) == 4
    assert alike(whole, resumed)
    assert not alike(whole, train_hypernetwork(project, budget, seed=1))


class Noisy(pl.LightningModule):
    """A module whose loss is not a number for every second network, and a mapping."""

    monitor, direction = "val_loss", "minimize"

    def __init__(self, network: nn.Module, task: Task) -> None:
        super().__init__()
        self.net = network
        self.calls: list[int] = []

    def training_step(self, batch: Any, index: int) -> dict[str, Tensor]:
        self.calls.append(index)
        loss = self.net(batch[0]).square().mean()
        return {"loss": loss * math.nan if len(self.calls) % 2 else loss}

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_loss", self.net(batch[0]).square().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        raise AssertionError("it is the hypernetwork's that is asked for")


def test_losses_that_are_no_number_are_left_out() -> None:
    project = auto_deeplab().replace(module=Noisy)
    trained = [train_hypernetwork(project, Budget(2, size, 3), seed=0) for size in (1, 2)]
    assert all(bool(value.isfinite().all()) for each in trained for value in each.parameters())


class Manual(Noisy):
    automatic_optimization = False


class Headed(Noisy):
    def __init__(self, network: nn.Module, task: Task) -> None:
        super().__init__(network, task)
        self.head = nn.Linear(1, 1)


@pytest.mark.parametrize(
    ("module", "reason"),
    [(Manual, "Manual optimizes manually, so no hypernetwork"), (Headed, "Headed learns more than its network")],
)
def test_modules_that_cannot_train_a_hypernetwork_are_refused_at_once(module: Any, reason: str) -> None:
    context = Context.of(auto_deeplab().replace(module=module))
    with pytest.raises(ValueError, match=reason):
        small().check(context)
    with pytest.raises(ValueError, match="needs a project"):
        small().check(Context(context.space, PIXELS))


# Its three uses.


@cache
def trained(name: str) -> GhnEstimator:
    estimator = small()
    estimator.hypernetwork(Context.of(PROJECTS[name]()))
    return estimator


class Contract(EstimatorContract):
    name: str

    def estimator(self) -> Estimator:
        return copy.deepcopy(trained(self.name))

    def context(self) -> Context:
        return Context.of(PROJECTS[self.name]())


for _name in PROJECTS:
    _label = f"Test{_name.title().replace('-', '')}"
    globals()[_label] = type(_label, (Contract,), {"name": _name, "__module__": __name__})


def test_a_score_is_the_metric_of_the_network_with_predicted_parameters_and_statistics_of_its_own() -> None:
    context = Context.of(auto_deeplab())
    project, architecture = context.training, sampled(context.space, 1)[0]
    estimator = trained("auto-deeplab")
    (estimate,) = estimator.estimate_all([architecture], context)
    network = give_parameters(context.network(architecture), estimator.hypernetwork(context), context.task)
    before = project.score(network)
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.reset_running_stats()
                part.momentum = None
        (images, _), *_ = project.batches(1)
        network.train()(images)
    assert estimate.score == pytest.approx(project.score(network), abs=1e-6) != before


def test_a_hypernetwork_is_kept_in_a_folder_and_taken_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = Context.of(agnn())
    architectures = sampled(context.space, 3)
    estimates = small(folder=tmp_path).estimate_all(architectures, context)
    assert {path.name for path in tmp_path.iterdir()} - {"training.lock"} == {
        "hypernetwork.json",
        "hypernetwork.safetensors",
    }
    monkeypatch.setattr(training, "_fit", None)  # nothing is trained again
    again = small(folder=tmp_path).estimate_all(architectures, context)
    assert [each.score for each in again] == [each.score for each in estimates]
    with pytest.raises(ValueError, match=r"has a hypernetwork of steps=2; 3 needs another folder"):
        small(folder=tmp_path, steps=3).check(context)
    with pytest.raises(ValueError, match="has a hypernetwork of seed=0; 1 needs another folder"):
        small(folder=tmp_path).check(Context.of(agnn(seed=1)))
    files = HypernetworkFolder(tmp_path)
    files.weights.write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"is no hypernetwork of hypernetwork\.json"):
        files.read()


def test_a_hypernetwork_that_diverges_is_trained_once(monkeypatch: pytest.MonkeyPatch) -> None:
    context, trainings = Context.of(agnn()), []

    def broken(project: Project, predicted: PredictedNetwork, *others: Any) -> None:
        trainings.append(1)
        with torch.no_grad():
            predicted.hypernetwork.norm.weight.fill_(math.nan)

    monkeypatch.setattr(training, "_fit", broken)
    estimates = small().estimate_all(sampled(context.space, 3), context)
    assert {each.reason for each in estimates} == {
        "DivergedError: the hypernetwork's norm.weight is not finite after step 2; another seed may keep it from that"
    }
    assert len(trainings) == 1


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_a_trainers_precision_is_the_hypernetworks(precision: str) -> None:
    project = auto_deeplab().replace(trainer={**LEAN, "precision": precision})
    assert small(steps=1).estimate_all(sampled(project.space, 1), Context.of(project))[0].valid


def test_another_context_has_another_hypernetwork() -> None:
    estimator, contexts = small(), [Context.of(agnn(seed=seed)) for seed in (0, 1)]
    first, second = (estimator.hypernetwork(each) for each in contexts)
    assert not alike(first, second)
    assert alike(first, estimator.hypernetwork(Context.of(agnn())))


@pytest.mark.parametrize("name", ["agnn", "auto-deeplab"])
def test_a_training_begins_with_predicted_parameters(name: str) -> None:
    context = Context.of(PROJECTS[name]())
    project, architecture = context.training, sampled(context.space, 1)[0]
    estimator = trained(name)
    warm, again = (estimator.network(architecture, context) for _ in range(2))
    assert alike(warm, again)
    predicted = give_parameters(context.network(architecture), estimator.hypernetwork(context), context.task)
    differences = [
        float((one - other).detach().abs().max())
        for one, other in zip(warm.parameters(), predicted.parameters(), strict=True)
    ]
    assert 0 < max(differences) < 1e-4
    assert warm.training
    assert math.isfinite(project.train(warm, 1).score)


def test_a_folder_without_a_hypernetwork_says_what_trains_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="has no trained hypernetwork; the estimator ghn with folder="):
        HypernetworkFolder(tmp_path / "none").read()


def test_calls_go_from_network_to_network() -> None:
    space, task = SPACES[0]
    networks = [space.network(each, task) for each in sampled(space, 2)]
    graphs = [graph_for(network, task) for network in networks]
    predicted = PredictedNetwork(GraphHypernetwork(8))
    inputs = Context(space, task).inputs
    with torch.no_grad():
        predicted.predict([network.eval() for network in networks], graphs)
        found = []
        for _ in networks:
            found.append(predicted(*inputs))
            predicted.next()
        own = predicted.hypernetwork(graphs)
        for outputs, network, parameters in zip(found, networks, own, strict=True):
            torch.testing.assert_close(outputs, functional_call(network, parameters, inputs))
