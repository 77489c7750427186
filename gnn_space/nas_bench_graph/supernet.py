"""NAS-Bench-Graph's supernet: each node mixes its sources, then its operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice
from automl_plugins.spaces.task import Task
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.supernet import Supernet
from gnn_space.compressed import CompressedEdges
from gnn_space.frame import InputEncoder, TakesGraphs, batch_norm, feature_dropout
from gnn_space.nas_bench_graph.links import LINK, NODES, leaves_of, operation_name, operations_of, raw_nodes, source_of
from gnn_space.nas_bench_graph.network import Sizes
from gnn_space.nas_bench_graph.operations import LAYERS, SKIP


class State(NamedTuple):
    """The expected state of a node.

    Args:
        raw: the share with which it is the features; None: it never is.
        share: the share with which it is anything else, so that both add up to one; None: it never is.
        hidden: the sum of all else, each times its gates.
    """

    raw: Tensor | None
    share: Tensor | None
    hidden: Tensor | None


class MixedNode(nn.Module):
    """All operations of a node: those on the features and those on states have weights of their own.

    Args:
        choice: of the operation.
        features: channels of the features.
        sizes: of the networks.
    """

    def __init__(self, choice: Choice, features: int, sizes: Sizes) -> None:
        super().__init__()
        self.choice, self.dropout = choice, sizes.dropout
        names = [str(option) for option in choice.options if option != SKIP]
        self.of_features = nn.ModuleDict({name: LAYERS[name](features, sizes.channels) for name in names})
        self.of_states = nn.ModuleDict({name: LAYERS[name](sizes.channels, sizes.channels) for name in names})
        self.norm = batch_norm(sizes.channels)

    def forward(self, source: State, x: Tensor, edges: CompressedEdges, gates: Gates) -> State:
        gate = gates[self.choice.name]
        opened = {str(self.choice.options[place]): gate[place] for place in gates.open(self.choice.name)}
        skip = opened.pop(SKIP, None)
        terms: list[Tensor | None] = []
        if opened and source.raw is not None:
            terms += [weight * source.raw * self.of_features[name](x, edges) for name, weight in opened.items()]
        if opened and source.share is not None and source.hidden is not None:
            state = feature_dropout(functional.relu(self.norm(source.hidden)), self.dropout, self.training)
            terms += [weight * source.share * self.of_states[name](state, edges) for name, weight in opened.items()]
        raw, rest = _product(skip, source.raw), _sum([_product(skip, source.share), *opened.values()])
        return State(*_shares(raw, rest), _sum([_product(skip, source.hidden), *terms]))


class NASBenchGraphSupernet(TakesGraphs, Supernet):
    """All architectures of a `NASBenchGraphSpace`; inputs and output as those of `NASBenchGraphNetwork`.

    **What is shared.** A node has one set of weights for each operation on the features, one for each on states, and
    one normalisation, whichever node it reads; the maps of nodes to the output are each node's own.

    **What soft gates compute.** A node reads the sum of the earlier nodes, each times the gates of the structures in
    which it reads them; a skip hands on the features, so each state is told apart into the share with which it is
    them, and the rest. Operations on either are weighed by its share and their gates. Nodes go to the output with the
    gates of the structures in which nobody reads them; the features do with the share with which nothing else does.

    Args:
        choices: the structure's, then one for each node.
        task: what the networks must fit.
        sizes: of the networks.
    """

    def __init__(self, choices: Sequence[Choice], task: Task, sizes: Sizes) -> None:
        super().__init__()
        self.choices, self.dropout = tuple(choices), sizes.dropout
        self.encoder = InputEncoder(task, sizes.node_embedding, 1)
        features, outputs = self.encoder.node_channels, sizes.joined_channels(task)
        self.nodes = nn.ModuleDict(
            {str(node): MixedNode(choice, features, sizes) for node, choice in zip(NODES, choices[1:], strict=True)}
        )
        self.join = nn.ModuleDict({str(node): nn.Linear(sizes.channels, outputs, bias=False) for node in NODES})
        self.join_features = nn.Linear(features, outputs, bias=False)
        self.join_bias = nn.Parameter(torch.zeros(outputs))
        self.output = sizes.last_layer(task)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        batch: Tensor | None = None,
        num_graphs: int | None = None,
        graph_attr: Tensor | None = None,
        *,
        gates: Mapping[str, Tensor],
    ) -> Tensor:
        gates = Gates.of(self.choices, gates)
        for choice in self.choices:
            if not gates.open(choice.name):
                raise ValueError(f"no option of {choice.name!r} is open")
        x = feature_dropout(self.encoder(x, None)[0], self.dropout, self.training)
        edges = CompressedEdges(edge_index, x.size(0))
        links = {str(self.choices[0].options[place]): gates[LINK][place] for place in gates.open(LINK)}
        states = {0: State(gates.matrix.new_ones(()), None, None)}
        for node in NODES:
            states[node] = self.nodes[str(node)](_read(node, states, links), x, edges, gates)
        return cast(Tensor, self.output(self._joined(x, states, links)))

    def _joined(self, x: Tensor, states: Mapping[int, State], links: Mapping[str, Tensor]) -> Tensor:
        terms = []
        for node in NODES:
            hidden = states[node].hidden
            weight = _sum([gate for link, gate in links.items() if node in leaves_of(link)])
            if hidden is not None and weight is not None:
                terms.append(weight * self.join[str(node)](functional.relu(hidden)))
        alone = []
        for link, gate in links.items():
            share: Tensor | None = gate
            for leaf in leaves_of(link):
                share = _product(share, states[leaf].raw)
            alone.append(share)
        of_features = _sum(alone)
        if of_features is not None:
            terms.append(of_features * self.join_features(x))
        return cast(Tensor, _sum(terms)) + self.join_bias

    def inherit(self, network: nn.Module, architecture: Architecture) -> None:
        link, operations = str(architecture[LINK]), operations_of(architecture)
        raw, own = raw_nodes(link, operations), self.state_dict()
        read = [leaf for leaf in leaves_of(link) if leaf not in raw]
        weights = [own[f"join.{leaf}.weight"] for leaf in read] or [own["join_features.weight"]]
        state = {"join.weight": torch.cat(weights, dim=1), "join.bias": own["join_bias"]}
        for name in network.state_dict():
            part, _, rest = name.removeprefix("nodes.").partition(".")
            if name in state:
                continue
            if rest.startswith("operation."):
                kind = "of_features" if source_of(link, int(part)) in raw else "of_states"
                rest = f"{kind}.{architecture[operation_name(int(part))]}.{rest.removeprefix('operation.')}"
                state[name] = own[f"nodes.{part}.{rest}"]
            else:
                state[name] = own[name]
        network.load_state_dict(state)


def _read(node: int, states: Mapping[int, State], links: Mapping[str, Tensor]) -> State:
    """The sum of the states that a node reads, each times the gates of the structures in which it does."""
    gates = {
        source: _sum([gate for link, gate in links.items() if source_of(link, node) == source]) for source in states
    }
    raw, rest, hidden = (
        _sum([_product(gates[source], state[part]) for source, state in states.items()]) for part in range(3)
    )
    return State(*_shares(raw, rest), hidden)


def _shares(raw: Tensor | None, rest: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Both divided by their sum: gates of a sigmoid do not add up to one, and products of sums would explode."""
    total = cast(Tensor, _sum([raw, rest]))
    return None if raw is None else raw / total, None if rest is None else rest / total


def _product(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return None if one is None or other is None else one * other


def _sum(terms: Sequence[Tensor | None]) -> Tensor | None:
    """The sum of those that are there; None where none is."""
    given = [term for term in terms if term is not None]
    total = given[0] if given else None
    for term in given[1:]:
        total = cast(Tensor, total) + term
    return total
