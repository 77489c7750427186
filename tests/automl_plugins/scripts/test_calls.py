"""How a project calls its own network, and what that one fits, is seen in one step, of which nothing else is seen."""

from __future__ import annotations

import random
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, default_collate
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader as GraphLoader
from torch_geometric.nn import GCNConv, global_mean_pool

from automl_plugins import Task
from automl_plugins.scripts.found_call import FoundCall
from automl_plugins.scripts.own_call import own_calls
from automl_plugins.scripts.replace_network import ReplaceNetwork
from automl_plugins.search import ArchitectureSearch
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.training.adapted import Adapted
from gnn_space import EGNASSpace
from seg_space import AutoDeepLabSpace

GRAPHS = EGNASSpace(cells=1, nodes=1, node_channels=4, edge_channels=4)
PIXELS = AutoDeepLabSpace(layers=2, blocks=1, filters=4)


def trainer(*callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return pl.Trainer(
        accelerator="cpu", max_epochs=1, enable_model_summary=False, callbacks=list(callbacks), **quiet, **options
    )


# Graphs.


def ring(nodes: int, y: Tensor) -> Data:
    here = torch.arange(nodes)
    edges = torch.stack([torch.cat([here, (here + 1) % nodes]), torch.cat([(here + 1) % nodes, here])])
    return Data(x=torch.randn(nodes, 3), edge_index=edges, edge_attr=torch.randn(2 * nodes, 2), y=y)


class Own(nn.Module):
    """A graph network whose `forward` a test says."""

    def __init__(self, outputs: int = 2) -> None:
        super().__init__()
        self.conv, self.head = GCNConv(3, 4), nn.Linear(4, outputs)

    def nodes(self, x: Tensor, edges: Tensor) -> Tensor:
        return torch.relu(self.conv(x, edges))

    def graphs(self, x: Tensor, edges: Tensor, batch: Tensor) -> Tensor:
        return self.head(global_mean_pool(self.nodes(x, edges), batch))


class Whole(Own):
    def forward(self, data: Data) -> Tensor:
        return self.graphs(data.x, data.edge_index, data.batch)


class Keywords(Own):
    def forward(self, feats: Tensor, edges: Tensor, edge_feats: Tensor, graph_ids: Tensor) -> Tensor:
        return self.graphs(feats, edges, graph_ids)


class Shuffled(Own):
    """Positional arguments in an order of its own, whose names say nothing."""

    def forward(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return self.graphs(c, b, a)


class Dictionary(Own):
    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.graphs(inputs["x"], inputs["edge_index"], inputs["batch"])


class Pair(Own):
    def forward(self, graph: tuple[Tensor, Tensor], batch: Tensor) -> Tensor:
        return self.graphs(*graph, batch)


CALLS: dict[type[Own], Callable[[nn.Module, Any], Any]] = {
    Whole: lambda net, b: net(b),
    Keywords: lambda net, b: net(graph_ids=b.batch, feats=b.x, edges=b.edge_index, edge_feats=b.edge_attr),
    Shuffled: lambda net, b: net(b.batch, b.edge_index, b.x),
    Dictionary: lambda net, b: net({"x": b.x, "edge_index": b.edge_index, "batch": b.batch, "name": "rings"}),
    Pair: lambda net, b: net((b.x, b.edge_index), b.batch),
}


class Lit(pl.LightningModule):
    def __init__(self, net: nn.Module, call: Any, loss: Any = functional.cross_entropy, read: Any = lambda out: out):
        super().__init__()
        self.net, self.call, self.loss, self.read = net, call, loss, read

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        y = batch["y"] if isinstance(batch, dict) else batch.y
        return self.loss(self.read(self.call(self.net, batch)), y)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.training_step(batch, batch_idx), batch_size=1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def graphs(y: Callable[[int], Tensor] = lambda n: torch.tensor([n % 2])) -> GraphLoader:
    return GraphLoader([ring(n, y(n)) for n in (3, 4, 5, 6, 7, 8)], batch_size=3)


def searched(module: pl.LightningModule, loader: Any, space: Any = GRAPHS, **given: Any) -> Any:
    """The part that was put in place, after a search of an epoch."""
    replace = ReplaceNetwork("net", space.searchable, reader=space.call_reader, **given)
    trainer(replace, ArchitectureSearch(search_data="validation")).fit(module, loader, loader)
    return module.net


def task_of(part: Any) -> Task:
    searchable = part.network if isinstance(part, Adapted) else part
    assert isinstance(searchable, Searchable)
    return searchable.task


@pytest.mark.parametrize("own", CALLS)
def test_a_graph_network_is_called_as_the_project_calls_its_own(own: type[Own]) -> None:
    part = searched(Lit(own(), CALLS[own]), graphs())
    has_edges = own in (Whole, Keywords)
    assert task_of(part) == Task("graph", "classes", 3, 2, edge_channels=2 if has_edges else 0)
    found = part.derive()
    assert isinstance(found, Adapted), "it is called alike after the search"
    batch = next(iter(graphs()))
    edge_attr = batch.edge_attr if has_edges else None
    expected = found.network(batch.x, batch.edge_index, edge_attr, batch.batch, batch.num_graphs)
    torch.testing.assert_close(CALLS[own](found, batch), expected)


Scored = namedtuple("Scored", ["scores", "features"])

OUTPUTS: dict[str, tuple[Callable[[Tensor], Any], Callable[[Any], Tensor]]] = {
    "log-probabilities": (lambda out: functional.log_softmax(out, dim=1), lambda out: out),
    "tuple": (lambda out: (out, None), lambda out: out[0]),
    "dictionary": (lambda out: {"logits": out, "hidden": out.new_zeros(9, 9)}, lambda out: out["logits"]),
    "named tuple": (lambda out: Scored(out, None), lambda out: out.scores),
    "a term of the loss beside": (
        lambda out: (out, out.square().mean()),
        lambda out: out[0] if out[1] is not None else out[1],
    ),
}


@pytest.mark.parametrize("form", OUTPUTS)
def test_what_comes_out_has_the_form_of_the_projects_own(form: str) -> None:
    give, read = OUTPUTS[form]

    class Giving(Whole):
        def forward(self, data: Data) -> Any:
            return give(super().forward(data))

    loss = functional.nll_loss if form == "log-probabilities" else functional.cross_entropy
    part = searched(Lit(Giving(), CALLS[Whole], loss, read), graphs())
    assert task_of(part) == Task("graph", "classes", 3, 2, edge_channels=2)
    if form == "log-probabilities":
        sums = part(next(iter(graphs()))).exp().sum(dim=1)
        torch.testing.assert_close(sums, torch.ones(3))


@pytest.mark.parametrize(
    ("outputs", "loss", "y", "target"),
    [
        (1, functional.binary_cross_entropy_with_logits, torch.tensor([[1.0]]), "binary"),
        (3, functional.binary_cross_entropy_with_logits, torch.tensor([[1.0, 0.0, 1.0]]), "multilabel"),
        (3, functional.huber_loss, torch.randn(1, 3), "regression"),
        (2, lambda out, y: -(out.log_softmax(1) * functional.one_hot(y)).sum(), torch.tensor([1]), "classes"),
        (1, lambda out, y: (out - y).square().mean(), torch.tensor([[0.3]]), "regression"),
    ],
)
def test_the_kind_of_target_is_seen_in_the_loss_or_in_the_batch(
    outputs: int, loss: Any, y: Tensor, target: str
) -> None:
    part = searched(Lit(Whole(outputs), CALLS[Whole], loss), graphs(lambda _: y))
    assert (task_of(part).target, task_of(part).out_channels) == (target, outputs)


def test_a_prediction_without_an_axis_of_channels_stays_without() -> None:
    class Flat(Whole):
        def forward(self, data: Data) -> Tensor:
            return super().forward(data).squeeze(1)

    part = searched(Lit(Flat(1), CALLS[Whole], functional.mse_loss), graphs(lambda n: torch.tensor([float(n)])))
    assert part(next(iter(graphs()))).shape == (3,)


def test_embedded_integers_are_categories_and_others_are_numbers() -> None:
    class Embedding(Own):
        def __init__(self, embeds: bool) -> None:
            super().__init__()
            self.tables = nn.ModuleList([nn.Embedding(9, 3), nn.Embedding(5, 3)]) if embeds else None

        def forward(self, data: Data) -> Tensor:
            x = data.z.float() if self.tables is None else sum(t(z) for t, z in zip(self.tables, data.z.T, strict=True))
            return self.graphs(x[:, :1].expand(-1, 3), data.edge_index, data.batch)

    rings = [ring(n, torch.tensor([n % 2])) for n in (3, 4, 5, 6)]
    for each in rings:
        each.z, each.num_nodes = torch.randint(5, (each.num_nodes, 2)), each.num_nodes
        del each.x, each.edge_attr
    for embeds, categories in ((True, (9, 5)), (False, ())):
        part = searched(Lit(Embedding(embeds), CALLS[Whole]), GraphLoader(rings, batch_size=2), call={"x": "data.z"})
        assert task_of(part).node_categories == categories
        assert task_of(part).in_channels == 2


def test_a_sampler_that_adds_neighbours_has_its_seeds_rows_alone() -> None:
    class Seeds(Own):
        def forward(self, data: Data) -> Tensor:
            return self.head(self.nodes(data.x, data.edge_index))[: data.batch_size]

    part_of = ring(8, torch.tensor([0, 1, 1]))
    part_of.batch_size = 3
    loader = DataLoader([part_of] * 4, batch_size=None)
    part = searched(Lit(Seeds(), CALLS[Whole]), loader)
    assert task_of(part) == Task("node", "classes", 3, 2, edge_channels=2)
    assert part(part_of).shape == (3, 2)


# Two readings.


class TwoEdges(Own):
    def forward(self, x: Tensor, near: Tensor, far: Tensor, batch: Tensor) -> Tensor:
        return self.graphs(x, near, batch)


def test_what_can_be_read_in_two_ways_is_settled_by_naming_the_argument() -> None:
    def call(net: nn.Module, b: Any) -> Tensor:
        return net(b.x, b.edge_index, b.edge_index.flip(0), b.batch)

    with pytest.raises(
        ValueError, match=r"target='net': .*several parts .*: near, far; say which .*--call.edge_index near"
    ):
        searched(Lit(TwoEdges(), call), graphs())
    part = searched(Lit(TwoEdges(), call), graphs(), call={"edge_index": "far"})
    assert part.adapters[0].paths["edge_index"] == "far"


def test_two_predictions_are_settled_by_naming_one() -> None:
    class Two(Whole):
        def forward(self, data: Data) -> Any:
            return super().forward(data), super().forward(data)

    module = Lit(Two(), CALLS[Whole], read=lambda out: out[1])
    with pytest.raises(ValueError, match=r"several tensors, 0, 1; say which is the prediction with --call.output 0"):
        searched(module, graphs())
    assert searched(Lit(Two(), CALLS[Whole], read=lambda out: out[1]), graphs(), call={"output": "1"})


def test_as_many_nodes_as_edges_are_settled_by_naming_the_level() -> None:
    class Nodes(Own):
        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            return self.head(self.nodes(x, edge_index))

    circle = Data(
        x=torch.randn(4, 3), edge_index=torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]]), y=torch.tensor([0, 1] * 2)
    )
    loader = DataLoader([circle] * 4, batch_size=None)

    def call(net: nn.Module, b: Any) -> Tensor:
        return net(b.x, b.edge_index)

    with pytest.raises(ValueError, match=r"4 rows, and there are as many nodes and edges; .*--task.level node"):
        searched(Lit(Nodes(), call), loader)
    part = searched(Lit(Nodes(), call), loader, task={"level": "node"})
    assert isinstance(part, Searchable), "it is called as our networks are"


# What cannot be seen.


def test_what_was_not_seen_is_told_with_the_option_that_gives_it() -> None:
    def loss(out: Tensor, y: Tensor) -> Tensor:
        return (out.sum(1, keepdim=True) - y.sum()).square().mean()

    given = graphs(lambda n: torch.zeros(1, 4, 4))
    with pytest.raises(ValueError, match=r"task.target is not given \(--task.target ...\) and not seen"):
        searched(Lit(Whole(), CALLS[Whole], loss), given)
    assert task_of(searched(Lit(Whole(), CALLS[Whole], loss), given, task={"target": "regression"})).out_channels == 2


def test_a_step_that_fails_is_told_where_the_task_is_not_given() -> None:
    def call(net: nn.Module, b: Any) -> Tensor:
        raise KeyError("missing")

    with pytest.raises(ValueError, match=r"no call of Whole could be recorded: training_step ended with KeyError"):
        searched(Lit(Whole(), call), graphs())


# Images.


class Painter(nn.Module):
    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.net = nn.Conv2d(3, classes, 1)

    def forward(self, sample: dict[str, Tensor], auxiliary: bool = False) -> dict[str, Tensor]:
        out = self.net(sample["image"])
        return {"out": out, "aux": out} if self.training else {"out": out}


def images(**more: Any) -> DataLoader[Any]:
    def one() -> dict[str, Any]:
        return {"image": torch.rand(3, 32, 32), "y": torch.randint(4, (32, 32)), "name": "a.png", **more}

    return DataLoader([one() for _ in range(6)], batch_size=3, collate_fn=default_collate)


def test_an_image_network_takes_a_dictionary_and_gives_one_in_training_with_an_auxiliary_head() -> None:
    def loss(out: dict[str, Tensor], y: Tensor) -> Tensor:
        return sum(functional.cross_entropy(each, y) for each in out.values())

    part = searched(Lit(Painter(), lambda net, b: net(b), loss), images(), PIXELS)
    assert task_of(part) == Task("pixel", "classes", 3, 4)
    sample = next(iter(images()))
    assert list(part.train()(sample)) == ["out", "aux"]
    assert list(part.eval()(sample)) == ["out"]


def test_images_of_bytes_and_a_smaller_prediction() -> None:
    class Quarter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Conv2d(3, 4, 4, stride=4)

        def forward(self, pixel_values: Tensor) -> Tensor:
            return self.net(pixel_values.float() / 255)

    def call(net: nn.Module, b: Any) -> Tensor:
        return functional.interpolate(net(pixel_values=(b["image"] * 255).to(torch.uint8)), size=(32, 32))

    part = searched(Lit(Quarter(), call), images(), PIXELS)
    assert task_of(part) == Task("pixel", "classes", 3, 4)
    assert part(pixel_values=torch.zeros(2, 3, 32, 64, dtype=torch.uint8)).shape == (2, 4, 8, 16)


# Nothing else is seen.


def test_a_recording_leaves_everything_as_it_was() -> None:
    class Counting(Lit):
        def __init__(self) -> None:
            super().__init__(nn.Sequential(), CALLS[Whole])
            self.net = Whole()
            self.norm = nn.BatchNorm1d(3)
            self.steps, self.seen = 0, []

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            self.steps += 1
            self.seen.append(random.random() + np.random.rand())  # noqa: NPY002 - as people draw
            batch.x = functional.dropout(self.norm(batch.x))
            self.log("loss", 1.0, batch_size=1)
            return super().training_step(batch, batch_idx)

    class Recorded(pl.Callback):
        def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
            before = snapshot(pl_module)
            (calls,) = own_calls(trainer, pl_module, [pl_module.net])
            assert [call.training for call in calls] == [True, False]
            assert snapshot(pl_module) == before

    def snapshot(module: Any) -> Any:
        weights = {name: value.tolist() for name, value in module.state_dict().items()}
        numpy_state = str(np.random.get_state())  # noqa: NPY002 - what people's data sets draw from
        randomness = torch.get_rng_state().tolist(), numpy_state, random.getstate()
        return weights, randomness, module.steps, list(module.seen), sorted(vars(module)), sorted(vars(module.net))

    rings = [ring(n, torch.tensor([n % 2])) for n in (3, 4, 5, 6)]
    own = torch.Generator().manual_seed(3)
    given = GraphLoader(rings, batch_size=2, shuffle=True, generator=own), GraphLoader(rings, batch_size=2)
    seen = []

    class Generator(Recorded):
        def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
            before = own.get_state().clone()
            super().setup(trainer, pl_module, stage)
            seen.append(torch.equal(own.get_state(), before))

    trainer(Generator(), limit_train_batches=1).fit(Counting(), *given)
    assert seen == [True]


def test_an_adapter_survives_plain_values() -> None:
    part = searched(Lit(Whole(), CALLS[Whole]), graphs())
    for adapter in part.adapters:
        assert FoundCall.from_dict(adapter.to_dict()) == adapter
