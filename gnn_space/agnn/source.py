"""The networks of `AGNNSpace` as plain source."""

from __future__ import annotations

from collections.abc import Sequence

from automl_plugins.spaces.plain_source import PlainSource
from automl_plugins.spaces.source_text import class_text
from automl_plugins.spaces.task import Task
from gnn_space import plain
from gnn_space.agnn.sizes import AGNNSizes, LayerOptions
from gnn_space.source import EMBEDDINGS, embeddings, given_by, head, membership, parameters, returned

_COMBINE_CHANNELS = 128
_ACTIVATED = {
    "sigmoid": "torch.sigmoid({})",
    "tanh": "torch.tanh({})",
    "relu": "functional.relu({})",
    "linear": "{}",
    "softplus": "functional.softplus({})",
    "leaky_relu": "functional.leaky_relu({})",
    "relu6": "functional.relu6({})",
    "elu": "functional.elu({})",
}
_REDUCED = {
    "sum": "received(messages, target, x.size(0))",
    "mean": "mean(messages, target, x.size(0))",
    "max": 'received(messages, target, x.size(0), "amax")',
}
_NOT_LEARNED = ("constant", "gcn")
_UNNAMED = "LAYER"


def agnn_source(layers: Sequence[LayerOptions], task: Task, sizes: AGNNSizes, scales: bool) -> PlainSource:
    """The source of an `AGNNNetwork`.

    Args:
        layers: the options of each layer.
        task: what the network fits.
        sizes: of what surrounds the layers.
        scales: whether rows of features are scaled.
    """
    init, forward = embeddings(task, sizes.node_embedding, sizes.edge_embedding)
    inputs = sizes.node_embedding if task.node_categories else task.in_channels
    edge_channels = sizes.edge_embedding if task.edge_categories else task.edge_channels
    if task.level == "graph":
        forward += membership(bool(task.graph_channels))
    forward += ["x = scale_rows(x)"] if scales else []
    forward.append("looped = with_missing_loops(edge_index, x.size(0))")
    if edge_channels:
        forward += ["added = looped.size(1) - edge_index.size(1)"]
        forward += ["looped_attr = functional.pad(edge_attr, (0, 0, 0, added))  # loops that are added have none"]
    given = "looped, looped_attr" if edge_channels else "looped"
    names, classes = dict(EMBEDDINGS), dict[str, str]()
    for place, layer in enumerate(layers):
        number, width = place + 1, layer.heads * layer.hidden_channels
        text = _layer(layer, inputs, edge_channels, sizes)
        cls = classes.setdefault(text, f"Layer{len(classes) + 1}")
        init.append(f"self.layer{number} = {cls}()")
        names[f"layers.{place}"] = f"layer{number}"
        names[f"norms.{place}{'.module' if sizes.batch_norm else ''}"] = f"layer{number}.norm"
        call = f"self.layer{number}(x, {given})"
        if sizes.skip_connections and place > 0:
            skip = "x" if width == inputs else f"self.skip{number}(x)"
            init += [] if width == inputs else [f"self.skip{number} = nn.Linear({inputs}, {width}, bias=False)"]
            names[f"skips.{place - 1}"] = f"skip{number}"
            call = f"{call} + {skip}"
        forward.append(f"x = {call}")
        inputs = width
    if task.level == "node" and sizes.dropout:
        forward.append(f"x = functional.dropout(x, {sizes.dropout:g}, self.training)")
    made, lines = head(task, inputs, edge_channels, ("mean", "sum", "max"), "edge_attr")
    names["head.output"] = "output"
    told = f"A network of graphs of {len(layers)} layers, which gives {given_by(task)}."
    signature = parameters(bool(edge_channels), task.level == "graph", bool(task.graph_channels))
    network = class_text("Network", told, [*init, made], [*forward, *returned(lines)], signature)
    texts = [text.replace(_UNNAMED, name, 1) for text, name in classes.items()]
    return PlainSource("\n\n\n".join([*texts, network]), (plain,), names)


def _layer(layer: LayerOptions, inputs: int, edges: int, sizes: AGNNSizes) -> str:
    """The class of one layer, without its name.

    Args:
        layer: its options.
        inputs: channels of what it reads.
        edges: channels of edge features; 0: there are none.
        sizes: see `agnn_source`.
    """
    heads, channels = layer.heads, layer.hidden_channels
    width, by_head = heads * channels, f"unflatten(1, ({heads}, {channels}))"
    learned = layer.attention not in _NOT_LEARNED
    init = [f"self.transform = nn.Linear({inputs}, {width}, bias=False)"]
    init += [f"self.edge_transform = nn.Linear({edges}, {width}, bias=False)"] if edges else []
    vectors = ["target_weight", "source_weight"] if learned else []
    vectors += ["edge_weight"] if learned and edges and layer.attention != "cos" else []
    init += [f"self.{vector} = nn.Parameter(torch.zeros(1, {heads}, {channels}))" for vector in vectors]
    if layer.attention == "gene-linear":
        init.append(f"self.general_weight = nn.Parameter(torch.zeros({channels}))")
    if layer.combine == "mlp":
        maps = f"nn.Linear({width}, {_COMBINE_CHANNELS}), nn.ReLU(), nn.Linear({_COMBINE_CHANNELS}, {width})"
        init.append(f"self.combine = nn.Sequential({maps})")
    init.append(f"self.bias = nn.Parameter(torch.zeros({width}))")
    norm = "nn.BatchNorm1d" if sizes.batch_norm else "nn.LayerNorm" if sizes.layer_norm else ""
    init += [f"self.norm = {norm}({width})"] if norm else []
    dropped = "functional.dropout({}, " + f"{sizes.dropout:g}, self.training)" if sizes.dropout else "{}"
    forward = ["source, target = edge_index", f"hidden = self.transform({dropped.format('x')}).{by_head}"]
    forward += [f"edges = self.edge_transform(edge_attr).{by_head}"] if edges else []
    forward += _shares(layer.attention, bool(edges))
    message = "functional.relu(hidden[source] + edges)" if edges else "hidden[source]"
    if layer.attention == "constant":
        forward.append(f"messages = {message}")
    else:
        if sizes.dropout:
            forward.append(f"shares = {dropped.format('shares')}")
        forward.append(f"messages = shares.unsqueeze(-1) * {message}")
    forward.append(f"arrived = {_REDUCED[layer.aggregation]}.flatten(1)")
    state = f"{'self.combine(arrived)' if layer.combine == 'mlp' else 'arrived'} + self.bias"
    state = f"self.norm({state})" if norm else state
    forward.append(f"return {_ACTIVATED[layer.activation].format(state)}")
    signature = ["x: Tensor", "edge_index: Tensor", *(["edge_attr: Tensor"] if edges else [])]
    kind = "no" if layer.attention == "constant" else f"`{layer.attention}`"
    steps = [f"{kind} attention in {heads} heads of {channels} channels", f"{layer.aggregation} of neighbours"]
    steps += ["perceptron"] if layer.combine == "mlp" else []
    steps += [] if layer.activation == "linear" else [layer.activation]
    return class_text(_UNNAMED, f"A layer: {', '.join(steps)}.", init, forward, signature)


def _shares(attention: str, has_edges: bool) -> list[str]:
    """The lines that give `shares` `[num_edges, heads]` of `hidden`, and of `edges` where there are features."""
    if attention == "constant":
        return []
    if attention == "gcn":
        root = "root = received(torch.ones_like(x[target, :1]), target, x.size(0)).rsqrt()"
        return [root, "shares = root[source] * root[target]"]
    softened = "shares = softmax(scores, target, x.size(0))"
    if attention == "cos":
        sent = "(hidden[source] + edges)" if has_edges else "hidden[source]"
        query = "query = hidden * self.target_weight * self.source_weight"
        return [query, f"scores = (query[target] * {sent}).sum(-1)", softened]
    ends = "of_target, of_source = hidden * self.target_weight, hidden * self.source_weight"
    if attention == "gene-linear":
        terms = f"of_target[target] + of_source[source]{' + edges * self.edge_weight' if has_edges else ''}"
        return [ends, f"scores = torch.tanh({terms}) @ self.general_weight", softened]
    lines = [ends, "of_target, of_source = of_target.sum(-1), of_source.sum(-1)"]
    lines += ["of_edges = (edges * self.edge_weight).sum(-1)"] if has_edges else []
    along = " + of_edges" if has_edges else ""
    terms = f"of_target[target] + of_source[source]{along}"
    if attention == "linear":
        return [*lines, f"scores = torch.tanh({terms})", softened]
    lines.append(f"scores = functional.leaky_relu({terms}, 0.2)")
    if attention == "sym-gat":
        lines.append(f"scores = scores + functional.leaky_relu(of_source[target] + of_target[source]{along}, 0.2)")
    return [*lines, softened]
