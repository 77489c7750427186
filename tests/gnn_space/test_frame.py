"""Encoders and heads, against what they are said to compute, on inputs small enough to follow."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from automl_plugins import Task
from gnn_space import AGNNSpace, EGNASSpace, plain
from gnn_space.frame import GRAPH_SIZE, CategoricalEncoder, Head, InputEncoder, batch_norm, feature_dropout, scale_rows

# torch says so once in a process, wherever the first such tensor is made.
pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")

REAL = Task("node", "classes", in_channels=3, out_channels=2)
CATEGORICAL = Task(
    "graph",
    "regression",
    in_channels=2,
    out_channels=1,
    edge_channels=1,
    node_categories=(3, 4),
    edge_categories=(2,),
)


def bag_of_words() -> Tensor:
    words = torch.zeros(40, 50)
    words[torch.arange(40).repeat_interleave(10), torch.arange(400) % 50] = 3.0
    return words


class TestFeatureDropout:
    def test_csr_features_lose_or_rescale_stored_values_only(self) -> None:
        words = bag_of_words().to_sparse_csr()
        torch.manual_seed(0)
        dropped = feature_dropout(words, 0.6, training=True)
        assert dropped.layout == torch.sparse_csr
        assert torch.equal(dropped.crow_indices(), words.crow_indices())
        assert torch.equal(dropped.col_indices(), words.col_indices())
        values = dropped.values()
        lost = values == 0
        torch.testing.assert_close(values[~lost], torch.full_like(values[~lost], 3.0 / 0.4))
        # 400 values: three standard deviations of the share are 0.073.
        assert abs(lost.float().mean().item() - 0.6) < 0.073
        assert torch.equal(words.to_dense(), bag_of_words()), "the input itself was changed"

    @pytest.mark.parametrize("layout", ["dense", "csr"])
    def test_nothing_is_dropped_in_evaluation_or_at_rate_zero(self, layout: str) -> None:
        words = bag_of_words() if layout == "dense" else bag_of_words().to_sparse_csr()
        for kept in (feature_dropout(words, 0.6, training=False), feature_dropout(words, 0.0, training=True)):
            assert kept.layout == words.layout
            assert torch.equal(kept.to_dense(), words.to_dense())

    def test_dense_features_are_dropped_too(self) -> None:
        torch.manual_seed(0)
        dropped = feature_dropout(torch.ones(100, 10), 0.5, training=True)
        assert set(dropped.unique().tolist()) == {0.0, 2.0}


class TestScaleRows:
    @pytest.mark.parametrize("layout", ["dense", "csr"])
    @pytest.mark.parametrize(
        ("kind", "size"), [(torch.float32, 1e-30), (torch.float32, 1.0), (torch.float32, 1e30), (torch.float16, 300.0)]
    )
    def test_the_mean_square_of_a_row_is_one_however_great_its_numbers(
        self, kind: torch.dtype, size: float, layout: str
    ) -> None:
        x = torch.tensor([[3.0, -4.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]], dtype=kind) * size
        scaled = scale_rows(x.to_sparse_csr() if layout == "csr" else x).to_dense()
        expected = torch.tensor([[1.2, -1.6, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]], dtype=kind)
        torch.testing.assert_close(scaled, expected, rtol=1e-3, atol=0.0)
        torch.testing.assert_close(plain.scale_rows(x), expected, rtol=1e-3, atol=0.0)

    def test_derivatives_are_those_of_the_plain_formula(self) -> None:
        x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradgradcheck(scale_rows, x)
        formula = x * x.square().mean(dim=1, keepdim=True).rsqrt()
        wanted = torch.autograd.grad(formula[:, 0].sum(), x)[0]
        torch.testing.assert_close(torch.autograd.grad(scale_rows(x)[:, 0].sum(), x)[0], wanted)

    def test_a_number_that_is_none_stays_one(self) -> None:
        assert scale_rows(torch.tensor([[1.0, torch.nan], [1.0, torch.inf]])).isnan().any(dim=1).all()


class TestCategoricalEncoder:
    def test_each_column_has_a_table_of_its_own_and_they_are_added_up(self) -> None:
        encoder = CategoricalEncoder((3, 4), channels=2)
        with torch.no_grad():
            encoder.table.weight.copy_(torch.arange(14.0).view(7, 2))
        first, second = encoder.table.weight[:3], encoder.table.weight[3:]
        columns = torch.tensor([[0, 0], [2, 3], [1, 0]])
        expected = first[columns[:, 0]] + second[columns[:, 1]]
        assert torch.equal(encoder(columns), expected)
        assert encoder(columns).tolist() == [[6.0, 8.0], [16.0, 18.0], [8.0, 10.0]]

    @pytest.mark.parametrize(("row", "column"), [([3, 0], 0), ([0, 4], 1), ([-1, 0], 0), ([0, -1], 1)])
    def test_a_value_out_of_range_does_not_read_another_columns_table(self, row: list[int], column: int) -> None:
        encoder = CategoricalEncoder((3, 4), channels=2)
        with pytest.raises(ValueError, match=f"column {column} has {(3, 4)[column]} values"):
            encoder(torch.tensor([[0, 0], row]))

    def test_no_rows_give_no_rows(self) -> None:
        assert CategoricalEncoder((3, 4), channels=2)(torch.zeros(0, 2, dtype=torch.long)).shape == (0, 2)


class TestInputEncoder:
    def test_real_features_pass_as_they_are(self) -> None:
        encoder = InputEncoder(REAL, node_embedding=8, edge_embedding=4)
        assert (encoder.node_channels, encoder.edge_channels) == (3, 0)
        x = torch.randn(5, 3)
        assert encoder(x, None) == (x, None)
        assert not list(encoder.parameters())

    def test_edge_features_that_the_task_does_not_know_are_left_out(self) -> None:
        _, edge_attr = InputEncoder(REAL, 8, 4)(torch.randn(5, 3), torch.randn(7, 2))
        assert edge_attr is None

    def test_categories_are_embedded(self) -> None:
        encoder = InputEncoder(CATEGORICAL, node_embedding=8, edge_embedding=4)
        assert (encoder.node_channels, encoder.edge_channels) == (8, 4)
        x, edge_attr = encoder(torch.tensor([[0, 3], [2, 0]]), torch.tensor([[1], [0], [1]]))
        assert (x.shape, edge_attr.shape) == ((2, 8), (3, 4))
        assert torch.equal(edge_attr[0], edge_attr[2])

    def test_missing_edge_features_are_named(self) -> None:
        with pytest.raises(ValueError, match="1 edge channels, but edge_attr is None"):
            InputEncoder(CATEGORICAL, 8, 4)(torch.tensor([[0, 0]]), None)


class TestHead:
    x = torch.tensor([[1.0, 5.0], [3.0, 1.0], [-1.0, -2.0]])
    edge_index = torch.tensor([[0, 2], [1, 0]])

    def test_node_level_is_a_linear_map(self) -> None:
        head = Head(REAL, channels=2, edge_channels=0)
        output = head(self.x, self.edge_index, None, None, None)
        assert torch.equal(output, head.output(self.x))
        assert output.shape == (3, 2)

    def test_graph_level_reads_mean_sum_and_maximum_of_each_graph(self) -> None:
        head = Head(Task("graph", "regression", 2, 1), channels=2, edge_channels=0)
        read = self.read(head, torch.tensor([0, 0, 1]), 3)
        assert read.tolist() == [
            [2.0, 3.0, 4.0 / GRAPH_SIZE, 6.0 / GRAPH_SIZE, 3.0, 5.0],
            [-1.0, -2.0, -1.0 / GRAPH_SIZE, -2.0 / GRAPH_SIZE, -1.0, -2.0],
            [0.0] * 6,  # a graph without nodes
        ]

    def test_nodes_without_a_batch_are_one_graph(self) -> None:
        head = Head(Task("graph", "regression", 2, 1), channels=2, edge_channels=0)
        assert torch.equal(self.read(head, None, None), self.read(head, torch.zeros(3, dtype=torch.long), 1))

    def test_edge_level_reads_both_ends_and_the_edge(self) -> None:
        head = Head(Task("edge", "binary", 2, 1, edge_channels=1), channels=2, edge_channels=1)
        edge_attr = torch.tensor([[7.0], [8.0]])
        assert self.read(head, None, None, edge_attr).tolist() == [
            [1.0, 5.0, 3.0, 1.0, 7.0],
            [-1.0, -2.0, 1.0, 5.0, 8.0],
        ]

    def read(self, head: Head, batch: Tensor | None, num_graphs: int | None, edge_attr: Tensor | None = None) -> Tensor:
        """What the head's perceptron is given."""
        given: list[Tensor] = []
        handle = head.output.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
        output = head(self.x, self.edge_index, edge_attr, batch, num_graphs)
        handle.remove()
        assert output.shape == (len(given[0]), 1)
        return given[0]


class TestBatchNorm:
    def test_nodes_are_normalised_by_channel_while_training(self) -> None:
        norm = batch_norm(2)
        output = norm(torch.tensor([[1.0, 10.0], [3.0, 30.0]]))
        torch.testing.assert_close(output, torch.tensor([[-1.0, -1.0], [1.0, 1.0]]), rtol=1e-4, atol=1e-4)

    def test_a_batch_of_a_single_node_does_not_end_a_training(self) -> None:
        norm = batch_norm(2)
        node = torch.tensor([[1.0, 10.0]])
        # Fresh running statistics: mean 0, variance 1.
        torch.testing.assert_close(norm(node), node, rtol=1e-4, atol=1e-4)
        assert norm.module.running_mean.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "space",
    [
        EGNASSpace(cells=1, nodes=1, node_channels=4, edge_channels=2),
        AGNNSpace(layers=1, hidden_channels=(4,), heads=(1,), dropout=0.0),
    ],
    ids=["egnas", "agnn"],
)
def test_networks_and_supernets_take_a_graph_in_place_of_its_tensors(space: Any) -> None:
    node = torch.arange(3)
    graph = Data(x=torch.rand(3, 4), edge_index=torch.stack([node, node.roll(1)]), edge_attr=torch.rand(3, 2))
    batch = Batch.from_data_list([graph, graph])
    task = Task("graph", "regression", in_channels=4, out_channels=1, edge_channels=2)
    architecture = space.sample(torch.Generator().manual_seed(0))
    supernet = space.supernet(task, joint=False) if space.name == "egnas" else space.supernet(task)
    for network in (space.network(architecture, task), space.searchable(task), supernet):
        network.eval()
        options = {"gates": space.gates(architecture)} if network is supernet else {}
        whole = network(batch.x, batch.edge_index, batch.edge_attr, batch.batch, batch.num_graphs, **options)
        assert torch.equal(network(batch, **options), whole)
        alone = network(graph.x, graph.edge_index, graph.edge_attr, **options)
        assert torch.equal(network(graph, **options), alone)
        assert copy.deepcopy(network)(graph, **options).shape == (1, 1)
