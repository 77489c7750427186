"""RLNAS: random labels that belong to samples, a supernet trained on them, and the architecture that turned most."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from on_spaces import GRAPH, PIXEL, Graphs, Images, LitGraphs, LitImages
from torch import Tensor
from torch_geometric.data import Batch, Data

from automl_plugins import Task
from automl_plugins.decoders import Angle, Evolution
from automl_plugins.decoders.angle import angle
from automl_plugins.errors import DivergedError
from automl_plugins.search import ArchitectureSearch
from automl_plugins.spaces.enumeration import enumerate_space
from automl_plugins.spaces.probe import probe_of
from automl_plugins.spaces.random_labels import fingerprints, labels_of
from automl_plugins.strategies import RLNAS
from gnn_space import AGNNSpace
from seg_space import AutoDeepLabSpace

SPACE = AGNNSpace(layers=1, hidden_channels=(2, 4), heads=(1, 2), dropout=0.0)


# Labels.


def graph(seed: int, task: Task, nodes: int = 5) -> Data:
    generator = torch.Generator().manual_seed(seed)
    edges = torch.randint(nodes, (2, 8), generator=generator)
    made = Data(x=torch.randn(nodes, task.in_channels, generator=generator), edge_index=edges)
    if task.edge_channels:
        made.edge_attr = torch.randn(8, task.edge_channels, generator=generator)
    rows = {"node": nodes, "edge": 8, "graph": 1}[task.level]
    made.y = torch.zeros(rows, dtype=torch.long) if task.target == "classes" else torch.zeros(rows, task.out_channels)
    return made


@pytest.mark.parametrize(
    "task",
    [
        Task("node", "classes", 3, 4),
        Task("edge", "binary", 3, 1, edge_channels=2),
        Task("graph", "regression", 3, 2, edge_channels=2),
        Task("graph", "multilabel", 3, 3),
    ],
    ids=lambda task: f"{task.level}-{task.target}",
)
def test_graphs_keep_their_labels_in_any_batch(task: Task) -> None:
    graphs, probe = [graph(seed, task) for seed in range(6)], probe_of(task)
    alone = [probe.relabelled(Batch.from_data_list([each]), 0).y for each in graphs]
    for order in ([0, 1, 2, 3, 4, 5], [4, 2, 0]):
        batch = Batch.from_data_list([graphs[place] for place in order])
        changed = probe.relabelled(batch, 0)
        assert torch.equal(changed.y, torch.cat([alone[place] for place in order]))
        assert (changed.y.shape, changed.y.dtype) == (batch.y.shape, batch.y.dtype)
        assert not batch.y.any(), "the batch itself is changed"
        assert changed.x is batch.x
    assert not torch.equal(probe.relabelled(batch, 1).y, changed.y)
    # Graphs that differ in edges alone are two samples.
    other = graphs[0].clone()
    other.edge_index = other.edge_index.flip(0)
    assert not torch.equal(probe.relabelled(Batch.from_data_list([other]), 0).y, alone[0])


def test_all_nodes_of_a_graph_with_masks_have_labels_and_train() -> None:
    task = Task("node", "classes", 3, 4)
    one = graph(0, task, nodes=400)
    one.train_mask = torch.arange(400) < 20
    changed = probe_of(task).relabelled(one, 0)
    assert changed.train_mask.all()
    assert int(one.train_mask.sum()) == 20
    counts = torch.bincount(changed.y, minlength=4)
    assert counts.min() > 70


def test_nodes_of_sampled_neighbourhoods_are_told_apart_by_their_numbers() -> None:
    task = Task("node", "classes", 3, 4)
    one, two = graph(0, task, nodes=50), graph(1, task, nodes=50)
    one.n_id, two.n_id = torch.arange(50), torch.arange(50).flip(0)
    probe = probe_of(task)
    assert torch.equal(probe.relabelled(one, 0).y, probe.relabelled(two, 0).y.flip(0))


def images_of(task: Task, form: str) -> Any:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, 20, 27, generator=generator)
    shape = (4,) if task.level == "image" else (4, 20, 27)
    targets = torch.zeros(shape, dtype=torch.long)
    if task.target != "classes":
        targets = torch.zeros(4, task.out_channels, *shape[1:])
    return (images, targets) if form == "tuple" else {"image": images, "mask": targets, "name": ["a", "b", "c", "d"]}


@pytest.mark.parametrize("form", ["tuple", "dict"])
@pytest.mark.parametrize(
    "task",
    [
        Task("image", "classes", 3, 5),
        Task("image", "regression", 3, 2),
        Task("pixel", "classes", 3, 5),
        Task("pixel", "binary", 3, 1),
        Task("pixel", "regression", 3, 2),
    ],
    ids=lambda task: f"{task.level}-{task.target}",
)
def test_images_keep_their_labels_in_any_batch(task: Task, form: str) -> None:
    batch, probe = images_of(task, form), probe_of(task)
    targets = probe.targets(batch)
    made = probe.targets(probe.relabelled(batch, 0))
    assert (made.shape, made.dtype) == (targets.shape, targets.dtype)
    assert not targets.any()
    half = [leaf[2:] for leaf in (batch if form == "tuple" else (batch["image"], batch["mask"]))]
    assert torch.equal(probe.targets(probe.relabelled(tuple(half), 0)), made[2:])
    assert not torch.equal(made[0], made[1])
    if task.level == "pixel":  # blocks of 8 x 8
        assert torch.equal(made[..., 0:8, 8:16], made[..., 0:1, 8:9].expand(made[..., 0:8, 8:16].shape))
        assert len(made.flatten().unique()) > 1


def test_batches_without_targets_are_told_what_they_have() -> None:
    task = Task("pixel", "classes", 3, 2)
    with pytest.raises(ValueError, match=r"one tensor \[batch, \(channels,\) height, width\]; .* has \[2, 3, 8, 8\]$"):
        probe_of(task).relabelled((torch.randn(2, 3, 8, 8),), 0)
    with pytest.raises(ValueError, match="`y` of a graph of PyG; the batch is a Data"):
        probe_of(Task("graph", "binary", 3, 1)).relabelled(Data(x=torch.randn(2, 3)), 0)


def test_labels_are_uniform_and_numbers_are_normal_in_their_scale() -> None:
    samples = fingerprints(torch.arange(20_000).unsqueeze(1))
    assert len(samples.unique()) == len(samples)
    classes = labels_of(samples, torch.zeros(20_000, dtype=torch.long), Task("node", "classes", 1, 7), 0, (0.0, 1.0))
    assert (torch.bincount(classes, minlength=7) / 20_000 - 1 / 7).abs().max() < 0.01
    numbers = labels_of(samples, torch.zeros(20_000, 2), Task("node", "regression", 1, 2), 0, (3.0, 2.0))
    assert numbers.mean(0).tolist() == pytest.approx([3.0, 3.0], abs=0.06)
    assert numbers.std(0).tolist() == pytest.approx([2.0, 2.0], abs=0.04)
    assert abs(float(torch.corrcoef(numbers.T)[0, 1])) < 0.03


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.long, torch.bool])
def test_samples_of_every_dtype_are_told_apart(dtype: torch.dtype) -> None:
    rows = torch.eye(5).to(dtype)
    assert len(fingerprints(rows).unique()) == 5
    assert torch.equal(fingerprints(rows)[2:], fingerprints(rows[2:]))


# Angles.


def turned(turn: Callable[[Tensor], Tensor]) -> Any:
    torch.manual_seed(0)
    searchable = SPACE.searchable(GRAPH).eval()
    strategy = RLNAS(Angle(population=4, generations=2))
    strategy.check({"net": searchable})
    initial = {name: each.clone() for name, each in searchable.supernet.state_dict().items()}
    strategy.load_state_dict({"initial": {"net": initial}, "scale": [0.0, 1.0]})
    with torch.no_grad():
        for weight in searchable.weight_parameters():
            weight.copy_(turn(weight))
    return searchable, strategy


@pytest.mark.parametrize(
    ("turn", "expected"), [(lambda w: 3 * w, 0.0), (lambda w: -w, math.pi)], ids=["longer", "back"]
)
def test_the_angle_is_that_between_initial_and_trained_weights(turn: Any, expected: float) -> None:
    searchable, strategy = turned(turn)
    state = torch.get_rng_state()
    found = strategy.decoder(searchable, lambda: 0.0)
    assert torch.equal(state, torch.get_rng_state())
    assert [each.figures["angle"] for each in found] == pytest.approx([expected] * len(found), abs=1e-6)


def test_evolution_finds_the_largest_angle() -> None:
    searchable, strategy = turned(lambda weight: weight + 0.5 * torch.randn_like(weight))
    strategy.decoder.population, strategy.decoder.generations = 30, 12
    found = strategy.decoder(searchable, lambda: 0.0)
    figures = [each.figures["angle"] for each in found]
    assert figures == sorted(figures, reverse=True)
    first = SPACE.searchable(GRAPH).supernet
    first.load_state_dict(dict(strategy.initial_weights(searchable)))
    every = [angle(searchable, first, each) for each in list(enumerate_space(SPACE))[::7]]
    assert figures[0] >= sorted(every)[-3]


def test_weights_that_have_diverged_have_no_angle() -> None:
    searchable, strategy = turned(lambda weight: weight * math.nan)
    with pytest.raises(DivergedError, match="has a finite angle between initial and trained weights"):
        strategy.decoder(searchable, lambda: 0.0)


def test_the_decoder_alone_says_who_remembers_initial_weights() -> None:
    with pytest.raises(ValueError, match="needs the initial weights, which the strategy rlnas remembers"):
        Angle()(SPACE.searchable(GRAPH), lambda: 0.0)


# Searches.


class SeenGraphs(LitGraphs):
    """Remembers the targets that its training and its validation see."""

    def __init__(self, net: Any) -> None:
        super().__init__(net)
        self.seen: dict[str, list[Tensor]] = {"train": [], "val": []}

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.seen["train" if self.training else "val"].append(batch.y.flatten())
        return super().training_step(batch, batch_idx)


class SeenImages(SeenGraphs):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.seen["train" if self.training else "val"].append(batch[1].flatten())
        return LitImages.training_step(self, batch, batch_idx)


def test_weights_learn_random_numbers_and_validation_sees_the_truth(
    trainer: Callable[..., pl.Trainer],
) -> None:
    true = {float(graph.y) for batch in Graphs().train_dataloader() for graph in batch.to_data_list()}
    for decoder in (None, Evolution(population=3, generations=2)):
        module = SeenGraphs(SPACE.searchable(GRAPH))
        search = ArchitectureSearch(RLNAS(decoder or Angle(population=4, generations=2)))
        trainer(search, max_epochs=3).fit(module, Graphs())
        values = [value for each in module.seen["train"] for value in each.tolist()]
        assert len(set(values)) == len(values) / 3, "a sample has one label for the whole search"
        assert not true & set(values)
        assert {value for each in module.seen["val"] for value in each.tolist()} <= true
        module.net.space.validate(module.net.architecture())


def test_pixels_are_searched_by_blocks_of_labels(trainer: Callable[..., pl.Trainer]) -> None:
    space = AutoDeepLabSpace(layers=2, blocks=1, filters=2, stem=(2, 2))
    module = SeenImages(space.searchable(PIXEL))
    trainer(ArchitectureSearch(RLNAS(Angle(population=3, generations=2))), max_epochs=2).fit(module, Images())
    values = torch.cat(module.seen["train"]).unique()
    assert len(values) == 4  # half of eight images of one block, twice
    space.validate(module.net.architecture())


def test_a_batch_without_targets_ends_the_search_before_a_step(trainer: Callable[..., pl.Trainer]) -> None:
    class WithoutTargets(Images):
        def train_dataloader(self) -> Any:
            return torch.utils.data.DataLoader(torch.randn(8, 3, 8, 8), batch_size=4)

        val_dataloader = train_dataloader

    space = AutoDeepLabSpace(layers=2, blocks=1, filters=2, stem=(2, 2))
    module = SeenImages(space.searchable(PIXEL))
    with pytest.raises(ValueError, match="random labels take the place of the one tensor"):
        trainer(ArchitectureSearch(RLNAS()), num_sanity_val_steps=0).fit(module, WithoutTargets())
    assert not module.seen["train"]
