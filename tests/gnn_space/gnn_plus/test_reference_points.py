"""The hand-made networks are points of GNN+'s space: with their weights it computes what they compute."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

import gnn_space
from automl_plugins import Task
from automl_plugins.spaces.task import Level
from gnn_space import GNNPlusSpace
from gnn_space.frame import WIDE
from gnn_space.gated_gcn import GatedGCN
from gnn_space.references import APPNP, GAT, GCN, GIN, GraphSAGE

PLAIN = Task("node", "classes", in_channels=5, out_channels=3)
WITH_EDGES = replace(PLAIN, edge_channels=2)
CATEGORICAL = replace(PLAIN, in_channels=2, node_categories=(4, 3), edge_channels=1, edge_categories=(3,))
LEVELS: tuple[Level, ...] = ("node", "edge", "graph")
HAND_MADE: Mapping[str, type[nn.Module]] = {
    "gcn": GCN,
    "gat": GAT,
    "graphsage": GraphSAGE,
    "gin": GIN,
    "appnp": APPNP,
    "gated-gcn": GatedGCN,
}
# Of each reference's weights, the name in the space's network: patterns, the first that fits counts.
CONVOLUTIONS = {
    "gcn": {r"lin\.weight": "source.weight"},
    "gat": {
        r"lin\.weight": "source.weight",
        "att_src": "from_source",
        "att_dst": "from_target",
        r"lin_edge\.weight": "edge.weight",
        "att_edge": "from_edge",
    },
    "graphsage": {r"lin_l\.weight": "source.weight", r"lin_l\.bias": "bias", r"lin_r\.weight": "own.weight"},
    "gin": {r"nn\.0\.": "first.", r"nn\.2\.": "second.", "eps": "epsilon", r"lin\.": "edge."},
    "gated-gcn": {r"(edge_)?norm\..*": r"\g<0>", r"(target|source|edge|own|neighbour)\..*": r"message.\g<0>"},
}
FRAME = {
    "appnp": {r"hidden\.": "layers.0.message.own.", r"output\.": "output.output."},
    "gated-gcn": {r"nodes\.": "project.", "edges$": "edge_states.constant", r"edges\.": "edge_states.features."},
}


@pytest.mark.parametrize("name", HAND_MADE)
def test_a_point_has_the_name_that_its_network_is_registered_by(name: str) -> None:
    project = Path(gnn_space.__file__).parents[1] / "pyproject.toml"
    registered = tomllib.loads(project.read_text("utf-8"))["project"]["entry-points"]["automl_plugins.references"]
    network = HAND_MADE[name]
    assert registered.get(name) == f"{network.__module__}:{network.__name__}"


def renamed(name: str, key: str, by_message: bool) -> str:
    """The name that a reference's weight has in the space's network."""
    for pattern, new in FRAME.get(name, {}).items():
        if re.match(pattern, key):
            return re.sub(f"^{pattern}", new, key)
    if key.startswith("norms."):
        return re.sub(r"^norms\.(\d+)\.", r"layers.\1.norm.", key)
    if key.startswith("head."):
        return key.replace("head.", "output.", 1)
    found = re.match(r"layers\.(\d+)\.(.*)", key)
    if found is None:
        return key
    position, rest = found.groups()
    for pattern, new in CONVOLUTIONS[name].items():
        if re.match(pattern, rest):
            rest = re.sub(f"^{pattern}", new, rest)
            break
    if name == "gated-gcn":
        return f"layers.{position}.{rest}"
    return f"output.{rest}" if by_message and position == "1" else f"layers.{position}.message.{rest}"


def take_weights(network: nn.Module, reference: nn.Module, name: str) -> None:
    """Give the space's network a reference's weights; the maps of edge features that a reference lacks are zero."""
    by_message = network.options.output == "message"
    given = {renamed(name, key, by_message): each for key, each in reference.state_dict().items()}
    state = network.state_dict()
    assert given.keys() <= state.keys(), given.keys() - state.keys()
    missing = state.keys() - given.keys()
    assert all("edge.weight" in key or "encoder.edges" in key for key in missing), missing
    network.load_state_dict(
        {key: given[key].view(each.shape) if key in given else torch.zeros_like(each) for key, each in state.items()}
    )


def batch_for(task: Task) -> Batch:
    generator = torch.Generator().manual_seed(0)

    def features(rows: int, channels: int, categories: tuple[int, ...]) -> Tensor:
        if not categories:
            return torch.randn(rows, channels, dtype=torch.float64, generator=generator)
        return torch.stack([torch.randint(count, (rows,), generator=generator) for count in categories], dim=1)

    graphs = []
    for nodes in (5, 7):
        # A ring with a chord each way, a self-loop and a node that hears of nobody.
        pairs = [(n, (n + 1) % (nodes - 1)) for n in range(nodes - 1)] + [(0, 2), (2, 0), (1, 1), (nodes - 1, 0)]
        graph = Data(x=features(nodes, task.in_channels, task.node_categories), edge_index=torch.tensor(pairs).t())
        if task.edge_channels:
            graph.edge_attr = features(len(pairs), task.edge_channels, task.edge_categories)
        if task.graph_channels:
            graph.graph_attr = features(1, task.graph_channels, ())
        graphs.append(graph)
    return Batch.from_data_list(graphs)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", [PLAIN, WITH_EDGES, CATEGORICAL], ids=["features", "edge-features", "categories"])
@pytest.mark.parametrize("name", HAND_MADE)
def test_with_copied_weights_it_computes_what_the_reference_computes(name: str, kind: Task, level: Level) -> None:
    # Wide features, whose scale is a choice, and the features of whole graphs are read as the references read them.
    columns = WIDE if kind is PLAIN else kind.in_channels
    task = replace(kind, level=level, in_channels=columns, graph_channels=2 if level == "graph" else 0)
    space = GNNPlusSpace()
    references = space.references(task)
    if name not in references:
        assert name == "appnp"
        assert task.edge_channels or level != "node"
        return
    torch.manual_seed(0)
    reference = HAND_MADE[name](task).double()
    batch = batch_for(task)
    inputs = (
        batch.x,
        batch.edge_index,
        batch.edge_attr,
        batch.batch,
        batch.num_graphs,
        getattr(batch, "graph_attr", None),
    )
    with torch.no_grad():
        for weight in reference.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
        # So that running statistics are no longer those of the beginning.
        reference.train()(*inputs)
    network = space.network(references[name], task).double()
    take_weights(network, reference, name)
    for training in (False, True):
        outputs = []
        for each in (reference, network):
            torch.manual_seed(1)
            outputs.append(each.train(training)(*inputs))
        # The same dropout, too.
        torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("level", LEVELS)
def test_the_references_are_offered_within_the_task(level: Level) -> None:
    for task in (
        replace(PLAIN, level=level),
        replace(WITH_EDGES, level=level),
        replace(PLAIN, level=level, in_channels=WIDE),
    ):
        space = GNNPlusSpace()
        names = {"gcn", "gat", "graphsage", "gin", "gated-gcn", "gcn+", "gin+", "gated-gcn+"}
        references = space.references(task)
        assert set(references) - {"appnp"} == names
        offered = {choice.name: choice.options for choice in space.within(task).choices}
        for architecture in references.values():
            assert all(value in offered[choice] for choice, value in architecture.items())


@pytest.mark.parametrize(
    ("task", "offered"),
    [
        (PLAIN, set()),
        (replace(PLAIN, in_channels=WIDE), {"scaling"}),
        (replace(PLAIN, in_channels=WIDE, node_categories=(2,) * WIDE), set()),
        (replace(PLAIN, level="graph", graph_channels=2), {"graph_features"}),
    ],
    ids=["narrow", "wide", "many-categories", "whole-graph"],
)
def test_there_is_a_choice_only_where_the_data_have_something_to_choose(task: Task, offered: set[str]) -> None:
    space = GNNPlusSpace()
    options = {choice.name: space.options_for(choice, task) for choice in space.choices}
    assert {name for name in ("scaling", "graph_features") if len(options[name]) > 1} == offered


@pytest.mark.parametrize(
    ("level", "channels", "dropouts", "offered"),
    [
        ("graph", WIDE, (0.0, 0.2, 0.5, 0.6), [0.0, 0.2]),
        ("node", WIDE, (0.0, 0.2, 0.5, 0.6), [0.0, 0.2, 0.5, 0.6]),
        ("node", WIDE - 1, (0.0, 0.2, 0.5, 0.6), [0.0, 0.2]),
        ("graph", WIDE, (0.5,), [0.5]),
    ],
)
def test_graphs_and_narrow_features_are_offered_little_dropout_unless_nothing_else_is_left(
    level: Level, channels: int, dropouts: tuple[float, ...], offered: list[float]
) -> None:
    searched = GNNPlusSpace(dropouts=dropouts).within(replace(PLAIN, level=level, in_channels=channels))
    choices = {choice.name: choice.options for choice in searched.choices}
    assert list(choices["dropout"]) == offered


@pytest.mark.parametrize(
    ("level", "columns", "norm", "scaling"),
    [("node", WIDE, "layer", "rows"), ("node", WIDE - 1, "batch", "none"), ("graph", WIDE, "batch", "none")],
)
def test_the_plus_networks_normalise_nodes_whose_features_are_wide_and_batches_elsewhere(
    level: Level, columns: int, norm: str, scaling: str
) -> None:
    references = GNNPlusSpace().references(replace(PLAIN, level=level, in_channels=columns))
    for name in ("gcn+", "gin+", "gated-gcn+"):
        assert (references[name]["norm"], references[name]["scaling"]) == (norm, scaling)
    assert references["gcn"]["scaling"] == "none"


def test_a_network_that_joins_no_graph_features_reads_none() -> None:
    task = replace(PLAIN, level="graph", graph_channels=2)
    space = GNNPlusSpace()
    gin = space.references(task)["gin"]
    batch = batch_for(task)
    for option, is_read in (("joined", True), ("none", False)):
        network = space.network(space.architecture({**gin, "graph_features": option}), task).double().eval()
        attr = batch.graph_attr.detach().requires_grad_()
        outputs = network(batch.x, batch.edge_index, None, batch.batch, batch.num_graphs, attr)
        (gradient,) = torch.autograd.grad(outputs.sum(), attr, allow_unused=True)
        assert (gradient is not None) == is_read


def test_the_scale_of_a_row_is_lost_where_rows_are_scaled() -> None:
    task = replace(PLAIN, in_channels=WIDE)
    space = GNNPlusSpace()
    gcn = space.references(task)["gcn"]
    batch = batch_for(task)
    for option, is_lost in (("rows", True), ("none", False)):
        network = space.network(space.architecture({**gcn, "scaling": option}), task).double().eval()
        outputs = [network(x, batch.edge_index) for x in (batch.x, batch.x / 1000)]
        assert torch.allclose(outputs[0], outputs[1]) == is_lost


def test_a_space_without_an_option_names_no_network_that_needs_it() -> None:
    assert set(GNNPlusSpace(messages=("gcn", "gat")).references(PLAIN)) == {"gcn", "gat", "gcn+"}
    assert GNNPlusSpace(channels=(32,)).references(PLAIN) == {}


@pytest.mark.parametrize("level", LEVELS)
def test_edge_features_reach_the_output_of_every_network_that_is_offered(level: Level) -> None:
    task = replace(WITH_EDGES, level=level)
    space = GNNPlusSpace(channels=(8,), node_embedding=4, edge_embedding=4).within(task)
    batch = batch_for(task)
    generator = np.random.default_rng(0)
    for _ in range(12):
        network = space.network(space.sample(generator), task).double().eval()
        attr = batch.edge_attr.requires_grad_()
        outputs = network(batch.x, batch.edge_index, attr, batch.batch, batch.num_graphs)
        (gradient,) = torch.autograd.grad(outputs.square().sum(), attr)
        assert gradient.abs().sum() > 0
