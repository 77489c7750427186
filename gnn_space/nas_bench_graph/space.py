"""NAS-Bench-Graph's space: nine structures, nine operations on each of four nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.calls import CallReader
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.spaces.operation import Operation
from automl_plugins.spaces.task import Level, Task
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.system.argument_types import check_types
from gnn_space.calls import GraphReader
from gnn_space.nas_bench_graph.links import LINK, LINKS, NODES, leaves_of, operation_name, operations_of, source_of
from gnn_space.nas_bench_graph.network import NASBenchGraphNetwork, Sizes
from gnn_space.nas_bench_graph.operations import OPERATIONS, SKIP
from gnn_space.nas_bench_graph.supernet import NASBenchGraphSupernet

_REFERENCES = ("gcn", "gat", "gin", "graph", "sage")


class NASBenchGraphSpace(SupernetSpace):
    """The space of NAS-Bench-Graph (Qin, Zhang, Wang, Zhang and Zhu, NeurIPS 2022, arXiv 2206.09166): 59,049 networks.

    Each of four nodes reads the features or an earlier node (nine structures, the choice `link`), by one of nine
    operations: PyG's GATConv (four heads), GCNConv, GINConv, ChebConv, SAGEConv, ARMAConv and GraphConv, a linear map,
    or a skip. States that are no longer the features are normalised over the batch, rectified and dropped out before an
    operation. Nodes that no other reads are joined, rectified, and mapped to the outputs.

    Its architectures are those of the table `automl_plugins.tables.nas_bench_graph`, so that what is found with built
    networks is looked up there: `table.row(architecture)`. Many of them are one network; the table has 26,206.

    Departures from the benchmark's code: skips hand on what they read, which the code normalises first where a skip
    goes to the output beside other nodes. A skip from the features to the output is left out, as the benchmark leaves
    it out, but where all are skips, which it has not trained: then the features are mapped to the outputs. Weights that
    nothing reads (normalisations in front of the features, one of PyG's ARMAConv) are not made.

    For nodes of graphs without edge features, as in the benchmark.

    Args:
        channels: of each node: 256 in the benchmark on Cora, 128 on PubMed and arXiv.
        output_layers: linear maps behind the nodes: 2 in the benchmark on Cora and arXiv, 1 on PubMed.
        dropout: rate for the features and for what operations on states read, while training; the benchmark tuned it
            for each graph, between 0 and 0.8.
        node_embedding: channels that categorical node features are embedded in.
        max_parameters: networks with more trainable parameters are refused before they are built.

    Raises:
        ValueError: a number out of range.
    """

    name: ClassVar[str] = "nas-bench-graph"
    version: ClassVar[int] = 1
    levels: ClassVar[frozenset[Level]] = frozenset(("node",))
    call_reader: ClassVar[CallReader | None] = GraphReader()
    parameter_free: ClassVar[frozenset[Value]] = frozenset((SKIP,))
    identities: ClassVar[frozenset[Value]] = frozenset((SKIP,))

    def __init__(
        self,
        channels: int = 256,
        output_layers: int = 2,
        dropout: float = 0.5,
        node_embedding: int = 64,
        max_parameters: int | None = None,
    ) -> None:
        check_types(NASBenchGraphSpace.__init__, locals())
        self.sizes = Sizes(channels, output_layers, dropout, node_embedding)
        # Under the names of the arguments, too, by which studies compare spaces.
        self.channels, self.output_layers = channels, output_layers
        self.dropout, self.node_embedding = dropout, node_embedding
        nodes = [Choice(operation_name(node), OPERATIONS) for node in NODES]
        super().__init__([Choice(LINK, LINKS), *nodes], max_parameters)

    def named(self, link: str, operations: str) -> Architecture:
        """The architecture of a table's row.

        Args:
            link: the node that each node reads, by digits (`0012`).
            operations: of the nodes, with spaces between (`gcn gat skip fc`).

        Raises:
            ValueError: there is no such structure or operation, or not four of these.
        """
        names = operations.split()
        if len(names) != len(NODES):
            raise ValueError(f"an architecture of NAS-Bench-Graph has {len(NODES)} operations; got {operations!r}")
        values = {operation_name(node): name for node, name in zip(NODES, names, strict=True)}
        return self.architecture({LINK: link, **values})

    def check_task(self, task: Task) -> None:
        """Raise ValueError where the space has no networks for the task."""
        super().check_task(task)
        if task.edge_channels:
            raise ValueError(
                f"no operation of {self.name!r} reads edge features, and the task has {task.edge_channels}; "
                "the space 'gnn-plus' has operations that do"
            )

    def build(self, architecture: Architecture, task: Task) -> NASBenchGraphNetwork:
        return NASBenchGraphNetwork(str(architecture[LINK]), operations_of(architecture), task, self.sizes)

    def build_supernet(self, task: Task) -> NASBenchGraphSupernet:
        return NASBenchGraphSupernet(self.whole.choices, task, self.sizes)

    def references(self, task: Task) -> dict[str, Architecture]:
        """Two layers of one operation, as the benchmark's authors name hand-made networks."""
        return {name: self.whole.named("0123", f"skip skip {name} {name}") for name in _REFERENCES}

    def operations(self, architecture: Architecture) -> Sequence[Operation]:
        link = str(architecture[LINK])
        names = ["features", *(f"node{node}" for node in NODES)]
        listed = [Operation("features", "features")]
        for node, operation in zip(NODES, operations_of(architecture), strict=True):
            source = names[source_of(link, node)]
            listed.append(Operation(names[node], operation, (source,), (operation_name(node),)))
        return [*listed, Operation("output", "output", tuple(names[leaf] for leaf in leaves_of(link)), (LINK,))]
