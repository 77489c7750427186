"""The probe of each level, on networks of the real spaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from automl_plugins import SearchSpace, Task
from automl_plugins.estimators import Context
from automl_plugins.spaces.probe import Inputs, probe_of
from gnn_space import AGNNSpace, EGNASSpace
from gnn_space.data import ClusterData, FreesolvData
from seg_space import AutoDeepLabSpace, SmpSpace

CASES: dict[str, Callable[[], tuple[SearchSpace, Task]]] = {
    "agnn, nodes": lambda: (AGNNSpace(layers=1), Task("node", "classes", 5, 3)),
    "agnn, graphs": lambda: (AGNNSpace(layers=1), Task("graph", "regression", 5, 2)),
    "egnas, edges": lambda: (EGNASSpace(cells=1, nodes=2), Task("edge", "binary", 5, 1, edge_channels=3)),
    "egnas, categories": lambda: (
        EGNASSpace(cells=1, nodes=2),
        Task("graph", "multilabel", 2, 2, edge_channels=2, node_categories=(4, 5), edge_categories=(3, 2)),
    ),
    "auto-deeplab": lambda: (AutoDeepLabSpace(layers=2, blocks=1, filters=2), Task("pixel", "classes", 3, 4)),
    "auto-deeplab, numbers": lambda: (
        AutoDeepLabSpace(layers=2, blocks=1, filters=2),
        Task("pixel", "regression", 1, 2),
    ),
    "smp, whole images": lambda: (SmpSpace(), Task("image", "classes", 3, 4)),
    "smp": lambda: (SmpSpace(), Task("pixel", "multilabel", 3, 2)),
}


@pytest.fixture(params=CASES.values(), ids=CASES)
def context(request: pytest.FixtureRequest) -> Context:
    return Context(*request.param())


def network_of(context: Context) -> nn.Module:
    return context.network(context.space.sample(np.random.default_rng(0)))


def same(first: Inputs, second: Inputs) -> bool:
    pairs = list(zip(first, second, strict=True))
    return all(torch.equal(*pair) if isinstance(pair[0], Tensor) else pair[0] == pair[1] for pair in pairs)


def test_made_up_inputs_run_through_a_network_and_labels_fit_its_outputs(context: Context) -> None:
    network = network_of(context)
    outputs = network(*context.inputs)
    labels = context.probe.labels(context.inputs, context.generator(1))
    loss = context.loss(outputs, labels)
    assert outputs.shape[1] == context.task.out_channels
    assert len(labels) == len(outputs)
    assert loss.isfinite()
    loss.backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in network.parameters())
    if context.task.target == "classes":
        assert set(labels.unique().tolist()) == set(range(context.task.out_channels))
        expected = (len(outputs), *outputs.shape[2:])
    else:
        expected = outputs.shape
    assert labels.shape == expected


def test_everything_drawn_is_settled_by_the_generator(context: Context) -> None:
    probe, inputs = context.probe, context.inputs
    assert same(probe.example(4, context.generator(5)), probe.example(4, context.generator(5)))
    assert not same(probe.example(4, context.generator(5)), probe.example(4, context.generator(6)))
    draws = (probe.labels, lambda inputs, generator: torch.cat(list(probe.signals(inputs, 3, generator).values())))
    for draw in draws:
        first, again, other = (draw(inputs, context.generator(purpose)) for purpose in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)


def test_positive_inputs_are_ones(context: Context) -> None:
    positive = context.probe.positive(context.inputs)
    assert len(positive) == len(context.inputs)
    for ones, before in zip(positive, context.inputs, strict=True):
        if isinstance(before, Tensor) and before.is_floating_point():
            assert torch.equal(ones, torch.ones_like(ones))
            assert ones.shape[1:] == before.shape[1:]
    assert network_of(context)(*positive).isfinite().all()


def test_sums_over_neighbours_are_means_in_positive_inputs() -> None:
    task = Task("graph", "regression", 5, 1, edge_channels=1, edge_categories=(50,))
    edges = torch.tensor([[0, 1, 2, 3, 3], [1, 0, 1, 1, 2]])
    inputs = (torch.randn(4, 5), edges, torch.arange(5)[:, None], torch.zeros(4, dtype=torch.long), 1)
    x, kept, kinds, *rest = probe_of(task).positive(inputs)
    assert torch.equal(x, torch.ones(4, 5))
    assert kept.tolist() == [[1, 0, 3], [0, 1, 2]]  # a neighbour for each node that has one
    assert kinds.flatten().tolist() == [1, 0, 4]
    assert same(tuple(rest), inputs[3:])


def test_positions_are_nodes_and_places_of_images(context: Context) -> None:
    inputs, probe = context.inputs, context.probe
    if context.task.level in ("pixel", "image"):
        coarse = torch.arange(4.0).reshape(1, 1, 2, 2).expand(len(inputs[0]), 3, 2, 2)
        fine = coarse.repeat_interleave(8, 2).repeat_interleave(8, 3)
        assert probe.positions(coarse, inputs).shape == (64 * len(inputs[0]), 3)
        assert torch.equal(probe.positions(coarse, inputs), probe.positions(fine, inputs))
        assert probe.positions(torch.zeros(len(inputs[0]), 3), inputs) is None
    else:
        features = torch.randn(len(inputs[0]), 7)
        assert torch.equal(probe.positions(features, inputs), features)
    assert probe.positions(torch.zeros(10_007, 3), inputs) is None
    assert probe.positions(torch.tensor(1.0), inputs) is None


def test_sample_units_are_rows_of_their_own(context: Context) -> None:
    """Features of all layers that know units have as many rows as the outputs have units."""
    network, inputs = network_of(context), context.inputs
    rows: list[int] = []

    def look(module: nn.Module, arguments: Any, output: Any) -> None:
        if isinstance(output, Tensor) and (units := context.probe.units(output, inputs)) is not None:
            assert units.dim() == 2
            rows.append(len(units))

    for module in network.modules():
        module.register_forward_hook(look)
    outputs = network(*inputs)
    assert rows
    assert set(rows) == {len(outputs)}
    assert context.probe.units(torch.zeros(10_007, 3), inputs) is None
    assert context.probe.units(torch.tensor(1.0), inputs) is None


def test_signals_are_normalised_functions_over_the_outputs(context: Context) -> None:
    kinds = context.probe.signals(context.inputs, 8, context.generator(0))
    outputs = network_of(context)(*context.inputs)
    means, deviations = [], []
    for signals in kinds.values():
        assert signals.shape == (len(outputs), 8, *outputs.shape[2:])
        channels = signals.transpose(0, 1).flatten(1)
        means.append(channels.mean(1))
        deviations.append(channels.std(1, correction=0))
    torch.testing.assert_close(torch.stack(means), torch.zeros(len(kinds), 8), atol=1e-4, rtol=0)
    spread = torch.stack(deviations)
    assert ((spread - 1).abs() < 1e-3).logical_or(spread == 0).all()
    # Sums over whole images of a wave that is the same on all of them tell none apart.
    constant = [kind for kind, each in zip(kinds, spread, strict=True) if (each == 0).any()]
    assert constant == (["sine-1d", "sine-2d"] if context.task.level == "image" else [])


def test_smoothed_signals_of_graphs_are_smooth() -> None:
    context = Context(AGNNSpace(layers=1), Task("node", "classes", 5, 3))
    kinds = context.probe.signals(context.inputs, 8, context.generator(0))
    assert set(kinds) == {"low", "high", "diffused", "spectral"}
    start, end = context.inputs[1]

    def roughness(signals: Tensor) -> Tensor:
        return (signals[start] - signals[end]).square().mean(0)

    low, high = roughness(kinds["low"]), roughness(kinds["high"])
    assert low.reshape(2, 4).mean(0).tolist() == sorted(low.reshape(2, 4).mean(0).tolist(), reverse=True)  # 0 to 3 hops
    assert (high > low).all()  # what smoothing takes away is rougher
    assert roughness(kinds["diffused"]).mean() < low[0]


def test_signals_of_edges_are_of_graphs_whose_edges_have_features() -> None:
    task = Task("node", "classes", 5, 3, edge_channels=2)
    probe = probe_of(task)
    x, edges, attributes, *rest = probe.example(8, torch.Generator().manual_seed(0))
    signals, others = (
        probe.signals((x, edges, features, *rest), 4, torch.Generator().manual_seed(1))
        for features in (attributes, attributes.flip(0))
    )
    assert torch.equal(signals["low"], others["low"])
    assert not torch.allclose(signals["edges"], others["edges"])


def test_labels_of_pixels_come_in_blocks() -> None:
    task = Task("pixel", "classes", in_channels=1, out_channels=50)
    labels = probe_of(task).labels((torch.zeros(2, 1, 20, 30),), torch.Generator().manual_seed(0))
    assert labels.shape == (2, 20, 30)
    assert (labels[:, :8, :8] == labels[:, :1, :1]).all()
    assert len(labels[0, ::8, ::8].unique()) > 4


def test_an_image_has_one_label() -> None:
    probe = probe_of(Task("image", "regression", in_channels=3, out_channels=2))
    inputs = probe.example(4, torch.Generator().manual_seed(0))
    assert probe.labels(inputs, torch.Generator()).shape == (4, 2)
    assert {signals.shape for signals in probe.signals(inputs, 5, torch.Generator()).values()} == {(4, 5)}


# Batches.


def batches() -> list[tuple[Task, Any]]:
    molecules, clusters = FreesolvData(batch_size=32), ClusterData(8, 2, 2, batch_size=8)
    for data in (molecules, clusters):
        data.setup("fit")
    images = {"image": torch.rand(6, 3, 128, 160), "mask": torch.zeros(6, 128, 160), "name": ["a"]}
    return [
        (molecules.task, next(iter(molecules.train_dataloader()))),
        (clusters.task, next(iter(clusters.train_dataloader()))),
        (Task("pixel", "classes", 3, 2), images),
    ]


def test_a_piece_is_a_smaller_batch_of_the_same_kind() -> None:
    for task, batch in batches():
        probe = probe_of(task)
        small, large = probe.piece(batch, 1 / 16, 1), probe.piece(batch, 1 / 4, 2)
        assert 0 < probe.size(small) < probe.size(large) < probe.size(batch)
        assert type(small) is type(batch)
        assert probe.size(probe.piece(batch, 1.0, 1)) == probe.size(batch)
        assert probe.size(probe.piece(small, 1 / 16, 100)) == probe.size(small)


def test_ways_to_have_less_are_said_in_words() -> None:
    said = [probe_of(task).smaller(batch, 0.5) for task, batch in batches()]
    assert said == [
        ["a batch of 16 instead of 32"],
        ["a batch of 4 instead of 8"],
        ["a batch of 3 instead of 6", "images of 64 x 96 instead of 128 x 160"],
    ]
    assert [list(probe_of(task).smaller(batch, 1e-3)) for task, batch in batches()] == [[], [], []]


@pytest.mark.parametrize("level", ["node", "pixel"])
def test_of_what_is_no_batch_of_its_level_a_probe_knows_no_size(level: Any) -> None:
    probe = probe_of(Task(level, "classes", 3, 2))
    batch = (torch.zeros(3, 4), "a name")
    assert probe.size(batch) == 0
    assert probe.piece(batch, 0.1, 1) == batch
    assert list(probe.smaller(batch, 0.5)) == []
