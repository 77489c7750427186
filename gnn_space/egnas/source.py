"""The networks of `EGNASSpace` as plain source."""

from __future__ import annotations

from automl_plugins.spaces.plain_source import PlainSource
from automl_plugins.spaces.source_text import class_text, listed
from automl_plugins.spaces.task import Task
from gnn_space import plain as shared
from gnn_space.egnas import plain
from gnn_space.egnas.plan import IDENTITY, KINDS, CellPlan, Kind, StackPlan
from gnn_space.egnas.sizes import EGNASSizes
from gnn_space.frame import drops_much, has_wide_features
from gnn_space.source import embedding, given_by, membership, parameters, returned

_SHORT = {
    ("node", IDENTITY): ("None", ""),
    ("edge", IDENTITY): ("None", ""),
    ("node", "mean"): ("Mean", "Film, {nodes}, {edges}, mean"),
    ("node", "sum"): ("Total", "Film, {nodes}, {edges}, received"),
    ("node", "max"): ("Max", 'Film, {nodes}, {edges}, partial(received, how="amax")'),
    ("node", "gated"): ("Gated", "GatedNodes, {nodes}, {edges}"),
    ("node", "gine"): ("GINE", "GINENodes, {nodes}, {edges}"),
    ("node", "attention"): ("Attend", "AttentionNodes, {nodes}, {edges}"),
    ("edge", "concat"): ("Concat", "EdgeConcat, {nodes}, {edges}"),
    ("edge", "gru"): ("GRU", "EdgeGRU, {nodes}, {edges}"),
    ("edge", "film"): ("Shift", "EdgeFilm, {nodes}, {edges}"),
    ("edge", "gated"): ("Renew", "GatedEdges, {nodes}, {edges}"),
}
"""The name of each operation in a file, short enough for a cell's states to stand on one line, and how it is made."""


def egnas_source(plan: StackPlan, task: Task, sizes: EGNASSizes) -> PlainSource:
    """The source of an `EGNASNetwork`.

    Args:
        plan: of its cells.
        task: what it fits.
        sizes: the channels.
    """
    names = {"embedding.nodes.table": "nodes", "embedding.nodes": "nodes", "embedding.edges.table": "edges"}
    names |= {"embedding.edges": "edges", "embedding.edge": "edge", "embedding.position": "position"}
    names |= {"readout.perceptron": "output"}
    init, forward = _first_states(plan, task, sizes)
    init += ["self.cells = nn.ModuleList(", "            ["]
    for place, cell in enumerate(plan.cells):
        init.append("                Cell(")
        for kind in KINDS:
            states = [_state(cell, kind, target) for target in range(2, cell.states)]
            init.append(listed("[", states, "],", 20))
        init.append("                ),")
        names |= _cell_names(f"cells.{place}", cell)
    init += ["            ]", "        )"]
    for kind in _partly_given(plan):
        unread = [place for place, cell in enumerate(plan.cells) if kind not in cell.outputs]
        init += [f"self.cells[{place}].{kind}_output = None  # nothing reads it" for place in unread]
    forward += ["for cell in self.cells:", "    first, second = second, cell(first, second, edge_index)"]
    forward.append("nodes, edges = second")
    readout, lines = _readout(task, sizes)
    init.append(readout)
    reads_batch = task.level == "graph" or bool(sizes.positional_encodings)
    signature = parameters(bool(task.edge_channels), reads_batch, bool(task.graph_channels))
    told = f"A network of graphs of {len(plan.cells)} cells, which gives {given_by(task)}."
    network = class_text("Network", told, init, [*forward, *returned(lines)], signature)
    made = {_SHORT[step.kind, step.operation] for cell in plan.cells for step in cell.steps}
    channels = {"nodes": sizes.node_channels, "edges": sizes.edge_channels}
    makers = [f"{name} = partial({how.format(**channels)})" for name, how in sorted(made) if how]
    texts = ["\n".join(makers)] if makers else []
    return PlainSource("\n\n\n".join([*texts, _cell(plan, sizes), network]), (shared, plain), names)


def _first_states(plan: StackPlan, task: Task, sizes: EGNASSizes) -> tuple[list[str], list[str]]:
    init, forward, given = [], [], {"node": "None", "edge": "None"}
    if task.level == "graph" or sizes.positional_encodings:
        forward += membership(bool(task.graph_channels))
    if "node" in plan.embedded:
        if task.node_categories:
            made, line = embedding("nodes", "x", task.node_categories, sizes.node_channels)
            init.append(made)
            forward.append(line.replace("x = ", "nodes = ", 1))
        else:
            init.append(f"self.nodes = nn.Linear({task.in_channels}, {sizes.node_channels}, bias=False)")
            if has_wide_features(task):
                greatest = "x.abs().amax(1, True).clamp(min=torch.finfo(x.dtype).tiny)"
                forward.append(f"x = functional.normalize(x / {greatest}) * x.size(1) ** 0.5")
            dropped = f"functional.dropout(x, {sizes.dropout:g}, self.training)" if _drops(task, sizes) else "x"
            forward.append(f"nodes = self.nodes({dropped})")
        given["node"] = "nodes"
        if count := sizes.positional_encodings:
            init.append(f"self.position = nn.Linear({count}, {sizes.node_channels}, bias=False)")
            forward.append(f"vectors = laplacian_eigenvectors(edge_index, batch, num_graphs, {count}, self.training)")
            forward.append("nodes = nodes + self.position(vectors.to(nodes.dtype))")
    if "edge" in plan.embedded:
        given["edge"] = "edges"
        if task.edge_categories:
            made, line = embedding("edges", "edge_attr", task.edge_categories, sizes.edge_channels)
            init.append(made)
            forward.append(line.replace("edge_attr = ", "edges = ", 1))
        elif task.edge_channels:
            init.append(f"self.edges = nn.Linear({task.edge_channels}, {sizes.edge_channels})")
            forward.append("edges = self.edges(edge_attr)")
        else:
            init.append(f"self.edge = nn.Parameter(torch.zeros({sizes.edge_channels}))")
            forward.append("edges = self.edge.expand(edge_index.size(1), -1)")
    return init, [*forward, f"first = second = {given['node']}, {given['edge']}"]


def _drops(task: Task, sizes: EGNASSizes) -> bool:
    return sizes.dropout > 0 and drops_much(task)


def _partly_given(plan: StackPlan) -> list[Kind]:
    """The kinds of states that some cells give and others do not."""
    return [kind for kind in KINDS if len({kind in cell.outputs for cell in plan.cells}) > 1]


def _state(cell: CellPlan, kind: Kind, target: int) -> str:
    steps = [f"{step.source}: {_SHORT[kind, step.operation][0]}" for step in cell.into(kind, target)]
    return f"{{{', '.join(steps)}}}"


def _cell_names(prefix: str, cell: CellPlan) -> dict[str, str]:
    names = {}
    for step in cell.steps:
        ours = f"{prefix}.operations.{step.key}"
        names[ours] = f"{prefix}.{step.kind}s.{step.target - 2}.operations.{step.source}"
        names[f"{ours}.norm.module"] = f"{names[ours]}.norm"
    for kind in cell.outputs:
        names[f"{prefix}.merges.{kind}"] = f"{prefix}.{kind}_output"
        names[f"{prefix}.merges.{kind}.norm.module"] = f"{prefix}.{kind}_output.norm"
    return names


def _cell(plan: StackPlan, sizes: EGNASSizes) -> str:
    """The class of cells."""
    partly, states = _partly_given(plan), plan.cells[0].states
    channels = {
        "node": (sizes.node_channels, sizes.merge_node_channels),
        "edge": (sizes.edge_channels, sizes.merge_edge_channels),
    }
    arguments = ["nodes: list[Operations]", "edges: list[Operations]"]
    init = [f"self.{kind}s = nn.ModuleList(State(operations) for operations in {kind}s)" for kind in KINDS]
    given = []
    for kind in KINDS:
        if not any(kind in cell.outputs for cell in plan.cells):
            given.append("None")
            continue
        width, hidden = channels[kind]
        made = f"Merge({states}, {width}, {hidden}, dropout={sizes.dropout:g})"
        made = f"RectifiedSum(dropout={sizes.dropout:g})" if sizes.merge == "sum" else made
        output = f"self.{kind}_output({kind}s)" + (f" + {kind}s[1]" if sizes.residual else "")
        init.append(f"self.{kind}_output = {made}")
        given.append(f"None if self.{kind}_output is None else {output}" if kind in partly else output)
    forward = [
        "nodes, edges = [first[0], second[0]], [first[1], second[1]]",
        "for of_nodes, of_edges in zip(self.nodes, self.edges, strict=True):",
        "    new = of_nodes(nodes, nodes, edges, edge_index), of_edges(edges, nodes, edges, edge_index)",
        "    nodes, edges = [*nodes, new[0]], [*edges, new[1]]",
        f"return {', '.join(given)}",
    ]
    if len(forward[-1]) > 112:
        forward[-1:] = [f"new_nodes = {given[0]}", f"return new_nodes, {given[1]}"]
    pair = "tuple[Tensor, Tensor]"
    told = "States of nodes and of edges, each the sum of operations on earlier ones, and what is made of them all."
    signature = [f"first: {pair}", f"second: {pair}", "edge_index: Tensor"]
    return class_text("Cell", told, init, forward, signature, arguments, pair)


def _readout(task: Task, sizes: EGNASSizes) -> tuple[str, list[str]]:
    lines = [f"outputs = self.output({task.level}s)"]
    channels = sizes.node_channels if task.level == "node" else sizes.edge_channels
    if task.level == "graph":
        pools = ["mean({}, {}, num_graphs)", 'received({}, {}, num_graphs, "amax")']
        channels = (len(pools) + sizes.sum_readout) * (sizes.node_channels + sizes.edge_channels) + task.graph_channels
        lines = ["edge_batch = batch[edge_index[0]]"]
        for kind, batch in (("nodes", "batch"), ("edges", "edge_batch")):
            lines.append(f"of_{kind} = [{', '.join(pool.format(kind, batch) for pool in pools)}]")
        joined = "*of_nodes, *of_edges"
        if sizes.sum_readout:
            told = ", ".join(f"received({each}, num_graphs) / 32" for each in ("nodes, batch", "edges, edge_batch"))
            lines.append(f"sums = [{told}]")
            joined = "*of_nodes, sums[0], *of_edges, sums[1]"
        joined = f"[{joined}{', graph_attr' if task.graph_channels else ''}]"
        lines.append(f"outputs = self.output(torch.cat({joined}, dim=1))")
    hidden = sizes.node_channels
    maps = f"nn.Linear({channels}, {hidden}), nn.LeakyReLU(0.2), nn.Linear({hidden}, {task.out_channels})"
    return f"self.output = nn.Sequential({maps})", lines
