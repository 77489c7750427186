"""The networks of `GNNPlusSpace` as plain source."""

from __future__ import annotations

from dataclasses import replace

from automl_plugins.spaces.plain_source import PlainSource
from automl_plugins.spaces.source_text import class_text, module_list
from automl_plugins.spaces.task import Task
from gnn_space import plain as shared
from gnn_space.frame import READOUTS
from gnn_space.gnn_plus import plain
from gnn_space.gnn_plus.messages import with_edge_states
from gnn_space.gnn_plus.sizes import GNNPlusSizes, NetworkOptions
from gnn_space.source import EMBEDDINGS, embeddings, given_by, head, membership, parameters, returned

_CLASSES = {
    "gcn": ("GCN", "EdgeGCN"),
    "sage": ("SAGE", "EdgeSAGE"),
    "gin": ("GIN", "GINE"),
    "gat": ("GAT", "EdgeGAT"),
    "gatv2": ("GATv2", "EdgeGATv2"),
    "gated": ("GatedGCN", "GatedGCN"),
    "dmpnn": ("DirectedGCN", "DirectedGCN"),
    "pna": ("PNA", "EdgePNA"),
}
"""The class of each message, without features of edges and with them; `none` is a linear map."""
_LOOPED = frozenset(("gcn", "gat", "gatv2"))
"""The messages along edges with one from each node to itself."""
_NORMS = {"batch": "nn.BatchNorm1d", "layer": "nn.LayerNorm"}


def gnn_plus_source(options: NetworkOptions, task: Task, sizes: GNNPlusSizes, scales: bool) -> PlainSource:
    """The source of a `GNNPlusNetwork`.

    Args:
        options: of the network.
        task: what it fits.
        sizes: of what is the same in every network.
        scales: whether rows of features are scaled.
    """
    return _Source(options, task, sizes, scales).made()


class _Source:
    """The lines of one network, part by part; arguments as those of `gnn_plus_source`."""

    def __init__(self, options: NetworkOptions, task: Task, sizes: GNNPlusSizes, scales: bool) -> None:
        if task.level != "edge" and set(options.messages) == {"none"}:
            task = replace(task, edge_channels=0, edge_categories=())
        if options.graph_features == "none":
            task = replace(task, graph_channels=0)
        self.options, self.task, self.sizes, self.scales = options, task, sizes, scales
        self.gives_outputs = options.output == "message" and task.level == "node"
        self.has_states = bool(with_edge_states(options.messages))
        self.has_walks = options.positional == "random-walk" and options.input == "linear"
        self.node_channels = sizes.node_embedding if task.node_categories else task.in_channels
        self.edge_channels = sizes.edge_embedding if task.edge_categories else task.edge_channels
        self.names = {**EMBEDDINGS, "project": "input", "edge_states.features": "edge", "edge_states.constant": "edge"}
        self.init: list[str] = []
        self.forward: list[str] = []

    def made(self) -> PlainSource:
        """The whole."""
        options, task = self.options, self.task
        self.init, self.forward = embeddings(task, self.sizes.node_embedding, self.sizes.edge_embedding)
        if options.dropout:
            self.init.append(f"self.dropout = nn.Dropout({options.dropout:g})")
        self._input()
        residuals = self._stack()
        self._outputs()
        reads_batch = task.level == "graph" or self.has_walks
        signature = parameters(bool(self.edge_channels), reads_batch, bool(task.graph_channels))
        told = f"A network of graphs of {len(options.messages)} layers, which gives {given_by(task)}."
        network = class_text("Network", told, self.init, self.forward, signature)
        blocks = [self._block(residuals)] if residuals else []
        return PlainSource("\n\n\n".join([*blocks, network]), (shared, plain), self.names)

    def _dropped(self, variable: str) -> str:
        return f"self.dropout({variable})" if self.options.dropout else variable

    def _input(self) -> None:
        channels, messages = self.options.channels, set(self.options.messages)
        if self.task.level == "graph" or self.has_walks:
            self.forward += membership(bool(self.task.graph_channels))
        if self.scales:
            self.forward.append("x = scale_rows(x)")
        propagates = self.task.level == "node" and self.options.propagation > 0
        if messages & _LOOPED and self.edge_channels:
            self.forward.append("looped, looped_attr = with_featured_loops(edge_index, edge_attr, x.size(0))")
        elif messages & _LOOPED or propagates:
            self.forward.append("looped = with_loops(edge_index, x.size(0))")
        if self.options.input == "linear":
            self.init.append(f"self.input = nn.Linear({self.node_channels}, {channels})")
            self.forward.append("x = self.input(x)")
        if self.has_walks:
            steps = self.sizes.walk_length
            self.init.append(f"self.position = nn.Linear({steps}, {channels}, bias=False)")
            self.forward.append(
                f"x = x + self.position(return_probabilities(edge_index, batch, num_graphs, {steps}, like=x))"
            )
        if self.has_states and self.edge_channels:
            self.init.append(f"self.edge = nn.Linear({self.edge_channels}, {channels})")
            self.forward.append("edges = self.edge(edge_attr)")
        elif self.has_states:
            self.init.append(f"self.edge = nn.Parameter(torch.zeros({channels}))")
            self.forward.append("edges = self.edge.expand(edge_index.size(1), -1)")

    def _stack(self) -> set[bool]:
        """The layers; whether their inputs are added to their outputs."""
        options, channels = self.options, self.options.channels
        names = options.messages[:-1] if self.gives_outputs else options.messages
        joins = options.jumping != "last" and not self.gives_outputs
        made, lines, updates = list[str](), list[str](), 0
        inputs = channels if options.input == "linear" else self.node_channels
        residuals = [options.residual and (place > 0 or options.input == "linear") for place in range(len(names))]
        for place, name in enumerate(names):
            made.append(self._convolution(name, inputs, channels, self.sizes.heads))
            inputs = channels
            is_read = self.task.level == "edge" or bool(with_edge_states(options.messages[place + 1 :]))
            updated = bool(with_edge_states([name])) and is_read
            # Where the states of all layers are read, each has a name.
            state, new = ("x", "x") if not joins else (f"x{place}" if place else "x", f"x{place + 1}")
            lines += self._layer(place, name, state, new, residuals, updates if updated else None)
            updates += updated
            self._name(place, name)
        norm = _NORMS.get(options.norm)
        self.init.append(module_list("convolutions", made))
        self.init.append(f"self.blocks = nn.ModuleList(Block() for _ in range({len(names)}))")
        if updates and norm:
            self.init.append(f"self.edge_norms = nn.ModuleList({norm}({channels}) for _ in range({updates}))")
        self.forward += lines if joins else self._looped(names, residuals, lines)
        if joins:
            states = ", ".join(f"x{place + 1}" for place in range(len(names)))
            joined = f"cat([{states}], dim=1)" if options.jumping == "concat" else f"stack([{states}]).amax(dim=0)"
            self.forward.append(f"x = torch.{joined}")
        return set(residuals)

    def _looped(self, names: tuple[str, ...], residuals: list[bool], lines: list[str]) -> list[str]:
        """The lines of all layers as a loop where the layers are alike."""
        if len(names) < 2 or len(set(names)) > 1 or len(set(residuals)) > 1 or with_edge_states(names):
            return lines
        each = lines[: len(lines) // len(names)]
        for long, short in (("self.blocks[0]", "block"), ("self.convolutions[0]", "convolution")):
            each = [line.replace(long, short) for line in each]
        start = "for convolution, block in zip(self.convolutions, self.blocks, strict=True):"
        return [start, *(f"    {line}" for line in each)]

    def _layer(
        self, place: int, name: str, state: str, new: str, residuals: list[bool], update: int | None
    ) -> list[str]:
        """The lines that make a new state of one; the former has a place among the updates of edges, or none."""
        convolved = self._convolved(f"self.convolutions[{place}]", name, self._dropped(state))
        added = [state if residuals[place] else "None"] if any(residuals) else []
        block = f"self.blocks[{place}]"
        if update is None:
            arrived = f"{convolved}[0]" if with_edge_states([name]) else convolved
            return [f"{new} = {block}({', '.join([arrived, *added])})"]
        changed = f"self.edge_norms[{update}](updated)" if self.options.norm in _NORMS else "updated"
        return [
            f"arrived, updated = {convolved}",
            f"{new} = {block}({', '.join(['arrived', *added])})",
            f"edges = edges + functional.{self.options.activation}({changed})",
        ]

    def _convolved(self, convolution: str, name: str, x: str) -> str:
        if name == "none":
            return f"{convolution}({x})"
        edges = ["looped" if name in _LOOPED else "edge_index"]
        if with_edge_states([name]):
            edges.append("edges")
        elif self.edge_channels:
            edges.append("looped_attr" if name in _LOOPED else "edge_attr")
        return f"{convolution}({', '.join([x, *edges])})"

    def _convolution(self, name: str, inputs: int, outputs: int, heads: int) -> str:
        """The call that makes a message."""
        channels, edges = self.options.channels, self.edge_channels
        if name == "none":
            return f"nn.Linear({inputs}, {outputs})"
        arguments = [str(inputs), *([str(channels)] if name == "gin" else []), str(outputs)]
        if name in ("gat", "gatv2"):
            arguments += [f"heads={heads}", f"dropout={self.options.dropout:g}"]
        if with_edge_states([name]):
            arguments.append(f"edges={channels}")
        elif edges:
            arguments.append(f"edges={edges}")
        return f"{_CLASSES[name][bool(edges)]}({', '.join(arguments)})"

    def _name(self, place: int, message: str) -> None:
        """Settle the names of a layer's weights."""
        layer, inner = f"layers.{place}", ".module" if self.options.norm == "batch" else ""
        updates = sum("edge_norm" in name for name in self.names)
        self.names[f"{layer}.message"] = f"convolutions.{place}"
        self.names[f"{layer}.norm{inner}"] = f"blocks.{place}.norm"
        self.names[f"{layer}.feed_forward"] = f"blocks.{place}"
        self.names[f"{layer}.feed_forward.norm{inner}"] = f"blocks.{place}.last_norm"
        is_read = self.task.level == "edge" or bool(with_edge_states(self.options.messages[place + 1 :]))
        if with_edge_states([message]) and is_read:
            self.names[f"{layer}.edge_norm{inner}"] = f"edge_norms.{updates}"
        if message == "none":
            self.names[f"{layer}.message.own"] = f"convolutions.{place}"

    def _block(self, residuals: set[bool]) -> str:
        """The class of what follows a convolution."""
        options, channels = self.options, self.options.channels
        norm = _NORMS.get(options.norm)
        init = [f"self.norm = {norm}({channels})"] if norm else []
        forward = [f"x = functional.{options.activation}({'self.norm(arrived)' if norm else 'arrived'})"]
        if True in residuals:
            forward = [f"state = {forward[0].removeprefix('x = ')}"]
            forward.append("x = x + state" if False not in residuals else "x = state if x is None else x + state")
        steps = [f"{options.norm} normalisation"] if norm else []
        steps += ["rectifier" if options.activation == "relu" else options.activation.upper()]
        steps += ["residual connection"] if True in residuals else []
        if options.feed_forward:
            steps.append("feed-forward block")
            maps = f"nn.Linear({channels}, {2 * channels}), nn.Linear({2 * channels}, {channels})"
            init.append(f"self.first, self.second = {maps}")
            dropped = f"functional.dropout(hidden, {options.dropout:g}, self.training)" if options.dropout else "hidden"
            forward.append("hidden = functional.relu(self.first(x))")
            forward.append(f"x = x + self.second({dropped})")
            if norm:
                init.append(f"self.last_norm = {norm}({channels})")
                forward[-1] = f"x = self.last_norm(x + self.second({dropped}))"
        forward = returned([*forward[:-1], forward[-1].replace("x = ", "outputs = ", 1)])
        signature = ["arrived: Tensor"]
        if True in residuals:
            signature.append("x: Tensor" if False not in residuals else "x: Tensor | None")
        told = f"The steps behind a convolution: {', '.join(steps)}."
        return class_text("Block", told, init, forward, signature)

    def _outputs(self) -> None:
        options, task = self.options, self.task
        dropped = self._dropped("x")
        if self.gives_outputs:
            last = options.messages[-1]
            self.init.append(f"self.output = {self._convolution(last, options.channels, task.out_channels, 1)}")
            end = "[0]" if with_edge_states([last]) else ""
            lines = [f"outputs = {self._convolved('self.output', last, dropped)}{end}"]
            self.names |= {"output.own": "output"} if last == "none" else {}
        else:
            count = len(options.messages) if options.jumping == "concat" else 1
            edges = options.channels if self.has_states else self.edge_channels
            variable = "edges" if self.has_states else "edge_attr"
            made, lines = head(task, options.channels * count, edges, READOUTS[options.readout], variable)
            self.init.append(made)
            if options.dropout:
                self.forward.append(f"x = {dropped}")
            self.names["output.output"] = "output"
        if task.level != "node" or not options.propagation:
            self.forward += returned(lines)
            return
        self.forward += [*lines, "state = outputs", f"for _ in range({options.propagation}):"]
        kept, share = f"{1 - options.teleport:g}", f"{options.teleport:g}"
        self.forward += [f"    state = {kept} * propagate(state, looped) + {share} * outputs", "return state"]
