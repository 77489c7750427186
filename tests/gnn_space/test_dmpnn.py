"""D-MPNN against its equations, edge by edge."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from automl_plugins import Task
from gnn_space.dmpnn import DMPNN, DirectedEdgeLayer, reverse_edges

TASK = Task("graph", "regression", in_channels=3, out_channels=2, edge_channels=2)

graphs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=14)


def edges_of(pairs: list[tuple[int, int]]) -> torch.Tensor:
    return torch.tensor(pairs, dtype=torch.int64).view(-1, 2).t()


@given(graphs)
@settings(max_examples=60, deadline=None)
def test_edges_are_paired_with_those_that_lead_back(pairs: list[tuple[int, int]]) -> None:
    reverse = reverse_edges(edges_of(pairs), 5).tolist()
    for edge, back in enumerate(reverse):
        source, target = pairs[edge]
        rank = pairs[:edge].count((source, target))
        ways_back = [place for place, other in enumerate(pairs) if other == (target, source)]
        assert back == (ways_back[rank] if rank < len(ways_back) else len(pairs))


@given(graphs.filter(lambda pairs: len(set(pairs)) == len(pairs)))
@settings(max_examples=20, deadline=None)
def test_a_message_leaves_out_the_edge_that_leads_back(pairs: list[tuple[int, int]]) -> None:
    torch.manual_seed(0)
    layer, edge_index = DirectedEdgeLayer(4).double(), edges_of(pairs)
    states, first = torch.randn(2, len(pairs), 4, dtype=torch.float64)
    found = layer(states, first, edge_index, reverse_edges(edge_index, 5), 5)
    for edge, (source, target) in enumerate(pairs):
        received = [states[k] for k, (begin, end) in enumerate(pairs) if end == source and begin != target]
        message = torch.stack([torch.zeros(4).double(), *received]).sum(0) @ layer.message.weight.t()
        torch.testing.assert_close(found[edge], torch.relu(first[edge] + message), rtol=1e-10, atol=1e-10)


def test_a_graph_without_bonds_has_an_output() -> None:
    nothing = torch.zeros(2, 0, dtype=torch.int64)
    assert DMPNN(TASK)(torch.randn(1, 3), nothing, torch.zeros(0, 2)).isfinite().all()
