"""EGNAS's search space: cells that update nodes and edges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import ClassVar, Literal

import torch
from torch import Tensor

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.calls import CallReader
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.spaces.operation import Operation
from automl_plugins.spaces.task import Level, Task
from automl_plugins.supernets.gates import Closed
from automl_plugins.supernets.rules import strongest_inputs
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.system.argument_types import check_types
from gnn_space.calls import GraphReader
from gnn_space.egnas.catalogue import OPERATIONS
from gnn_space.egnas.network import EGNASNetwork
from gnn_space.egnas.plan import IDENTITY, KINDS, NONE, GatePlace, Kind, StackPlan, Step, plan_stack
from gnn_space.egnas.sizes import EGNASSizes, MergeForm
from gnn_space.egnas.supernet import EGNASSupernet
from gnn_space.frame import drops_much

WIDE_DROPOUT = 0.6
"""The rate of dropout where none is given and `gnn_space.frame.drops_much` says so."""

MOST_NODES = 50
"""The most nodes, and cells: choices grow with their square, and a mistyped number must not end in millions."""


class EGNASSpace(SupernetSpace):
    """The space of EGNAS (Cai, Li, Han, Zha and Huang 2021, arXiv 2109.01356), as its public code has it.

    A cell has two coupled acyclic graphs, one of node states and one of edge states. Its first two
    states are the outputs of the two cells before it (the embedded input twice for the first cell). Every
    further state is the sum of operations on `inputs` earlier states; each operation reads the node and
    the edge state of one of them: see `gnn_space.egnas.operations`. A cell's output is a map of all its
    states, of each kind.

    An architecture says, for each new state of each kind, which earlier states it reads, and with
    which operation. The supernet has gates for every operation from every earlier state, with
    `none` beside them (`cell0.node2.from0.node_operation`); a state keeps the `inputs` sources whose
    best operation other than `none` scores highest, as in DARTS.

    With `operations="extended"`, `residual=True`, `merge="sum"`, one node, one input and as many edge as node
    channels, a stack of GatedGCN's layers is a point of the space: every state reads state 1 with `gated`. The
    paper's maps behind a cell cannot be such a frame, since they rectify and normalise once more.

    Departures from the code: graph level reads sums beside means and maxima (`sum_readout=False` for the paper's);
    rows of wide features are scaled (`gnn_space.frame.scale_rows`), and dropout is 0.6 where nodes have them, without
    which random networks remember Cora's 140 labels in ten steps and know nothing else: chosen by validation there;
    what does not reach the output (the last cell's edges, on node level) is not built; the readout's hidden layer
    has `node_channels` channels; edges without features have a learned constant state; eigenvectors of positional
    encodings change sign at random in training and are computed in the forward pass, so that any loader will do.

    Args:
        cells: number of cells; each has choices of its own.
        nodes: new states of each kind in a cell; the paper's intermediate nodes.
        inputs: how many earlier states a new one reads.
        share_cells: give all cells the same architecture, with one set of choices.
        node_channels: of node states.
        edge_channels: of edge states.
        merge_node_channels: between the two maps of a cell's node output.
        merge_edge_channels: between the two maps of a cell's edge output.
        positional_encodings: Laplacian eigenvectors added to the nodes; 0: none. The paper has 8 for ZINC and
            20 for CLUSTER and PATTERN.
        dropout: rate for the outputs of cells, and for what nodes read where features are wide; None: 0.6 there
            (`gnn_space.frame.drops_much`), as GCN and GAT have on bags of words, and 0 elsewhere.
        operations: `paper`, or `extended`: beside the paper's, GatedGCN's normalised gates for nodes and for edges
            (`gated`), GINE's message (`gine`) and attention of one head (`attention`), see `gnn_space.egnas.extended`.
        residual: add the output of the cell before to each cell's.
        merge: a cell's output: `maps` of all its states, the paper's, or the `sum` of its new states, rectified.
        sum_readout: let graph level read sums of node and edge states, in units of a graph of 32 nodes, beside the
            paper's means and maxima, without which no network can tell how large a graph is. Random networks on ESOL
            have a validation RMSE of .52 with sums and .66 without (`benchmarks/random_draws.py`).
        max_parameters: networks with more trainable parameters are refused before they are built.
        checkpointing: the supernet computes operations again in the backward pass: a quarter of the memory, 1.3 times
            the time.

    Raises:
        ValueError: a number out of range, or an unknown name.
    """

    name: ClassVar[str] = "egnas"
    version: ClassVar[int] = 2
    levels: ClassVar[frozenset[Level]] = frozenset(("node", "edge", "graph"))
    call_reader: ClassVar[CallReader | None] = GraphReader()
    parameter_free: ClassVar[frozenset[Value]] = frozenset((NONE, IDENTITY))
    identities: ClassVar[frozenset[Value]] = frozenset((IDENTITY,))

    def __init__(
        self,
        cells: int = 4,
        nodes: int = 4,
        inputs: int = 2,
        share_cells: bool = False,
        node_channels: int = 50,
        edge_channels: int = 25,
        merge_node_channels: int = 60,
        merge_edge_channels: int = 30,
        positional_encodings: int = 0,
        dropout: float | None = None,
        operations: Literal["paper", "extended"] = "paper",
        residual: bool = False,
        merge: MergeForm = "maps",
        sum_readout: bool = True,
        max_parameters: int | None = None,
        checkpointing: bool = False,
    ) -> None:
        check_types(EGNASSpace.__init__, locals())
        for argument, value in (("cells", cells), ("nodes", nodes), ("inputs", inputs)):
            if value < 1:
                raise ValueError(f"{argument} is at least 1; got {value}")
            if argument in ("cells", "nodes") and value > MOST_NODES:
                raise ValueError(f"{argument} is at most {MOST_NODES}; got {value}")
        if operations not in OPERATIONS:
            raise ValueError(f"operations is one of {', '.join(OPERATIONS)}; got {operations!r}")
        self.sizes = EGNASSizes(
            node_channels,
            edge_channels,
            merge_node_channels,
            merge_edge_channels,
            positional_encodings,
            WIDE_DROPOUT if dropout is None else dropout,
            residual,
            merge,
            sum_readout,
        )
        self.cells = cells
        self.nodes = nodes
        self.inputs = inputs
        self.share_cells = share_cells
        self.node_channels = node_channels
        self.edge_channels = edge_channels
        self.merge_node_channels = merge_node_channels
        self.merge_edge_channels = merge_edge_channels
        self.positional_encodings = positional_encodings
        self.dropout = dropout
        self._operations = operations  # the argument; `operations` draws
        self.residual = residual
        self.merge = merge
        self.sum_readout = sum_readout
        self.checkpointing = checkpointing
        self._offered = OPERATIONS[operations]
        choices = [
            choice
            for cell in self._cell_names()
            for kind, target in self._targets()
            for choice in self._choices_of(cell, kind, target)
        ]
        self._gate_choices = tuple(
            Choice(_gate_name(cell, kind, target, source), (NONE, *self._offered[kind]))
            for cell in self._cell_names()
            for kind, target in self._targets()
            for source in range(target)
        )
        super().__init__(choices, max_parameters)
        # Of each choice: the cell, the kind and position of a state, and which of its operations; None: its inputs.
        self._places: dict[str, tuple[str, Kind, int, int | None]] = {
            choice.name: (cell, kind, target, slot)
            for cell in self._cell_names()
            for kind, target in self._targets()
            for slot, choice in zip((None, *range(target)), self._choices_of(cell, kind, target), strict=False)
        }

    # Cells, states and names.

    def cell_name(self, cell: int) -> str:
        """The prefix of a cell's choices."""
        return "cell" if self.share_cells else f"cell{cell}"

    def _cell_names(self) -> Sequence[str]:
        return list(dict.fromkeys(self.cell_name(cell) for cell in range(self.cells)))

    @property
    def states(self) -> int:
        """The number of states of a kind in a cell, its two inputs included."""
        return self.nodes + 2

    def _targets(self) -> Iterator[tuple[Kind, int]]:
        return ((kind, target) for target in range(2, self.states) for kind in KINDS)

    def _kept(self, target: int) -> int:
        return min(self.inputs, target)

    def _choices_of(self, cell: str, kind: Kind, target: int) -> Iterator[Choice]:
        prefix, kept = f"{cell}.{kind}{target}", self._kept(target)
        yield Choice(f"{prefix}.inputs", tuple("+".join(map(str, each)) for each in combinations(range(target), kept)))
        for slot in range(kept):
            yield Choice(f"{prefix}.input{slot}.{kind}_operation", self._offered[kind])

    def steps(self, architecture: Architecture, cell: int) -> list[Step]:
        """The operations of a cell of an architecture, in order of their targets."""
        found = []
        for kind, target in self._targets():
            prefix = f"{self.cell_name(cell)}.{kind}{target}"
            sources = map(int, str(architecture[f"{prefix}.inputs"]).split("+"))
            for slot, source in enumerate(sources):
                operation = str(architecture[f"{prefix}.input{slot}.{kind}_operation"])
                found.append(Step(kind, target, source, operation))
        return found

    def all_steps(self) -> list[Step]:
        """Every operation that a cell may have, in order of their targets; `none` is left out."""
        return [
            Step(kind, target, source, operation)
            for kind, target in self._targets()
            for source in range(target)
            for operation in self._offered[kind]
        ]

    # What a space says.

    def build(self, architecture: Architecture, task: Task) -> EGNASNetwork:
        cells = [self.steps(architecture, cell) for cell in range(self.cells)]
        return EGNASNetwork(self._plan(cells, task), task, self._sizes_for(task))

    def operations(self, architecture: Architecture) -> Sequence[Operation]:
        operations = [Operation("nodes", "embedded nodes"), Operation("edges", "embedded edges")]
        outputs: list[dict[Kind, str]] = [{"node": "nodes", "edge": "edges"}] * 2
        for cell in range(self.cells):
            states = {(kind, state): outputs[state - 2][kind] for kind in KINDS for state in (0, 1)}
            for kind, target in self._targets():
                prefix = f"{self.cell_name(cell)}.{kind}{target}"
                name = f"cell{cell}.{kind}{target}"
                added = []
                steps = [step for step in self.steps(architecture, cell) if (step.kind, step.target) == (kind, target)]
                for slot, step in enumerate(steps):
                    added.append(f"{name}.input{slot}")
                    reads = tuple(dict.fromkeys(states[read] for read in step.reads))
                    choice = f"{prefix}.input{slot}.{kind}_operation"
                    operations.append(
                        Operation(added[-1], f"{step.operation} of state {step.source}", reads, (choice,))
                    )
                operations.append(Operation(name, f"{kind} state {target}", tuple(added), (f"{prefix}.inputs",)))
                states[kind, target] = name
            given: dict[Kind, str] = {}
            for kind in KINDS:
                given[kind] = f"cell{cell}.{kind}s"
                every = tuple(dict.fromkeys(states[kind, state] for state in self.sizes.read_states(self.states)))
                operations.append(Operation(given[kind], f"merged {kind}s", every))
            outputs = [outputs[-1], given]
        last = outputs[-1]
        return [*operations, Operation("output", "output", (last["node"], last["edge"]))]

    # What a space with a supernet says.

    def build_supernet(self, task: Task) -> EGNASSupernet:
        return self.build_partial_supernet(task, 1)

    def build_partial_supernet(self, task: Task, partial_channels: int) -> EGNASSupernet:
        places, sizes = [self.gate_places(cell) for cell in range(self.cells)], self._sizes_for(task)
        plan, choices = self.supernet_plan(task), self.gate_choices
        return EGNASSupernet(plan, places, choices, task, sizes, True, self.checkpointing, partial_channels)

    def supernet_plan(self, task: Task) -> StackPlan:
        """The plan of the supernet's cells with every option open."""
        return self._plan([self.all_steps()] * self.cells, task)

    def _sizes_for(self, task: Task) -> EGNASSizes:
        has_none = self.dropout is None and not drops_much(task)
        return replace(self.sizes, dropout=0.0) if has_none else self.sizes

    def _plan(self, cells: Sequence[Sequence[Step]], task: Task) -> StackPlan:
        return plan_stack(cells, self.states, task.level, self.sizes.read_states(self.states))

    @property
    def gate_choices(self) -> tuple[Choice, ...]:
        return self._gate_choices

    @property
    def gate_groups(self) -> tuple[tuple[str, ...], ...]:
        return tuple(
            tuple(_gate_name(cell, kind, target, source) for source in range(target))
            for cell in self._cell_names()
            for kind, target in self._targets()
        )

    def gate_name(self, cell: int, step: Step) -> str:
        """The gate of a step."""
        return _gate_name(self.cell_name(cell), step.kind, step.target, step.source)

    def gate_places(self, cell: int) -> dict[Step, GatePlace]:
        """The places of the gates of all operations that a cell may have."""
        choices = {choice.name: choice for choice in self.gate_choices}
        names = {step: self.gate_name(cell, step) for step in self.all_steps()}
        return {step: GatePlace(name, choices[name].index(step.operation)) for step, name in names.items()}

    def gate_values(self, architecture: Architecture) -> Mapping[str, Value]:
        return {
            self.gate_name(cell, step): step.operation
            for cell in range(self.cells)
            for step in self.steps(architecture, cell)
        }

    def open_options(self, choice: Choice, values: Mapping[str, Value], closed: Closed) -> Sequence[Value]:
        cell, kind, target, slot = self._places[choice.name]

        def operations(source: int) -> list[str]:
            without = closed.get(_gate_name(cell, kind, target, source), frozenset())
            return [operation for operation in self._offered[kind] if operation not in without]

        if slot is not None:
            sources = str(values[f"{cell}.{kind}{target}.inputs"]).split("+")
            return operations(int(sources[slot]))
        readable = {str(source) for source in range(target) if operations(source)}
        return [option for option in choice.options if readable.issuperset(str(option).split("+"))]

    def decode(self, scores: Mapping[str, Tensor]) -> Architecture:
        values: dict[str, Value] = {}
        for cell in self._cell_names():
            for kind, target in self._targets():
                prefix = f"{cell}.{kind}{target}"
                # Without the first option, which is `none`.
                rows = torch.stack([scores[_gate_name(cell, kind, target, source)][1:] for source in range(target)])
                kept = strongest_inputs(rows, self._kept(target))
                values[f"{prefix}.inputs"] = "+".join(str(source) for source, _ in kept)
                for slot, (_, operation) in enumerate(kept):
                    values[f"{prefix}.input{slot}.{kind}_operation"] = self._offered[kind][operation]
        return self.architecture(values)


def _gate_name(cell: str, kind: Kind, target: int, source: int) -> str:
    return f"{cell}.{kind}{target}.from{source}.{kind}_operation"
