"""Partial channel connections and edge normalisation (PC-DARTS), on every space that has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser
from perceptron_space.space import PerceptronSpace
from torch import Tensor

from automl_plugins import Task
from automl_plugins.measures.activations import activation_mib
from automl_plugins.spaces.probe import probe_of
from automl_plugins.strategies import DARTS, GDAS, PCDARTS, SNAS, DrNAS, Strategy, composition
from automl_plugins.supernets.edge_normalised import EdgeNormalised
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.partial_channels import Part
from automl_plugins.supernets.relaxations import softmax
from automl_plugins.supernets.searchable import Searchable
from gnn_space import AGNNSpace, EGNASSpace, GNNPlusSpace
from seg_space import AutoDeepLabSpace, SmpDecoderSpace
from seg_space.auto_deeplab.mixed_cell import Input, MixedCell

GRAPH = Task("graph", "regression", 3, 1, edge_channels=2)
PIXEL = Task("pixel", "regression", 3, 1)


def smp_decoder(**given: Any) -> SmpDecoderSpace:
    return SmpDecoderSpace("tu-test_efficientnet", strides=(16,), filters=(16,), blocks=1, **given)


SPACES: dict[str, tuple[Callable[[], Any], Task]] = {
    "agnn": (lambda: AGNNSpace(layers=2, hidden_channels=(8, 16), heads=(1, 2), batch_norm=True, dropout=0.0), GRAPH),
    "egnas": (lambda: EGNASSpace(cells=1, nodes=2, node_channels=10, edge_channels=7), GRAPH),
    "gnn-plus": (
        lambda: GNNPlusSpace(
            depths=(1, 2), channels=(8, 16), messages=("gin", "gatv2", "gated"), heads=2, dropouts=(0.0,)
        ),
        GRAPH,
    ),
    "auto-deeplab": (lambda: AutoDeepLabSpace(layers=2, blocks=2, filters=5, stem=(2, 4)), PIXEL),
    "smp-decoder": (smp_decoder, PIXEL),
}


def searchable_of(name: str, partial_channels: int, **given: Any) -> Searchable:
    make, task = SPACES[name]
    torch.manual_seed(0)
    return make().searchable(task, partial_channels=partial_channels, **given).double()


def inputs_of(searchable: Searchable) -> tuple[Any, ...]:
    example = probe_of(searchable.task).example(2, torch.Generator().manual_seed(0))
    return tuple(each.double() if isinstance(each, Tensor) and each.is_floating_point() else each for each in example)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("share", [2, 4])
def test_a_joint_supernet_of_partial_channels_computes_what_the_plain_one_does(name: str, share: int) -> None:
    searchable = searchable_of(name, share)
    plain = searchable.supernet.plain()
    assert plain.partial_channels == share
    gates, inputs = searchable.gates(), inputs_of(searchable)
    found = []
    for supernet in (searchable.supernet, plain):
        leaf = gates.matrix.detach().requires_grad_()
        torch.manual_seed(1)  # encoders of smp drop paths
        output = supernet(*inputs, gates=Gates(gates.choices, leaf))
        found.append((output, torch.autograd.grad(output.square().sum(), leaf)[0]))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", SPACES)
def test_mixtures_of_partial_channels_keep_less_and_train_every_operation(name: str) -> None:
    whole, partial = searchable_of(name, 1), searchable_of(name, 4)
    inputs = inputs_of(whole)
    assert activation_mib(partial, inputs) < activation_mib(whole, inputs)
    assert sum(each.numel() for each in partial.weight_parameters()) < sum(
        each.numel() for each in whole.weight_parameters()
    )
    partial(*inputs).square().sum().backward()
    assert partial.logits.grad is not None
    assert partial.logits.grad.isfinite().all()


@pytest.mark.parametrize("name", SPACES)
def test_every_architecture_runs_in_a_supernet_of_partial_channels(name: str) -> None:
    searchable = searchable_of(name, 4).eval()
    inputs, generator = inputs_of(searchable), torch.Generator().manual_seed(0)
    for _ in range(3):
        with searchable.hold(searchable.sample(generator)):
            assert searchable(*inputs).isfinite().all()
    assert searchable.derive() is not None
    with pytest.raises(ValueError, match="the supernet mixes one channel in 4"):
        searchable.derive(keep_weights=True)


def test_channels_that_are_not_mixed_pass_by_and_all_are_shuffled_as_in_the_authors_code() -> None:
    x = torch.arange(12.0).view(1, 12, 1, 1)
    groups = x.view(1, 4, 3, 1, 1).transpose(1, 2).reshape(1, 12, 1, 1)
    assert torch.equal(Part(12, 4).shuffled(x, 1), groups)
    assert sorted(Part(10, 4).shuffled(torch.arange(10), 0).tolist()) == list(range(10))
    cell = MixedCell(1, 12, 1, partial_channels=4).double().eval()
    names = [name for state in cell.states for name in state.names]
    choices = AutoDeepLabSpace(layers=2, blocks=1, filters=2, stem=(2, 4)).gate_choices[: len(names)]
    scales = torch.tensor([0.3, 0.5], dtype=torch.float64)
    matrix = torch.zeros(len(names), len(choices[0].options), dtype=torch.float64)
    matrix[:, choices[0].index("identity")] = scales
    first, second = torch.randn(2, 1, 12, 4, 4, dtype=torch.float64)
    output = cell(first, [Input(second, 0, None)], Gates(choices, matrix))
    torch.testing.assert_close(output, Part(12, 4).shuffled(0.3 * first + 0.5 * second, 1))


def test_an_edge_that_is_closed_or_none_passes_nothing_by() -> None:
    cell = MixedCell(1, 8, 1, partial_channels=4).eval()
    choices = AutoDeepLabSpace(layers=2, blocks=1, filters=2, stem=(2, 4)).gate_choices[:2]
    matrix = torch.zeros(2, len(choices[0].options))
    matrix[0, choices[0].index("max_pool")], matrix[1, choices[1].index("none")] = 1.0, 1.0
    first = torch.randn(1, 8, 4, 4)
    outputs = [cell(first, [Input(torch.randn(1, 8, 4, 4), 0, None)], Gates(choices, matrix)) for _ in range(2)]
    assert torch.equal(*outputs)


def test_spaces_without_such_mixtures_say_why() -> None:
    with pytest.raises(ValueError, match="has no supernet whose mixtures run on a part of their channels"):
        PerceptronSpace().searchable(PIXEL, partial_channels=4)
    with pytest.raises(ValueError, match="have no 'cell'; add it"):
        smp_decoder(operations=("identity", "conv_3x3")).searchable(PIXEL, partial_channels=4)
    with pytest.raises(ValueError, match="partial_channels is at least 1; got 0"):
        AGNNSpace(layers=1).searchable(GRAPH, partial_channels=0)


# Edge normalisation.


@pytest.mark.parametrize("name", ["egnas", "auto-deeplab", "smp-decoder"])
def test_gates_of_a_node_are_the_product_of_two_softmaxes(name: str) -> None:
    searchable = searchable_of(name, 1, relaxation=EdgeNormalised())
    with torch.no_grad():
        searchable.logits.normal_(generator=torch.Generator().manual_seed(0))
    matrix, rows = searchable.gates().matrix, softmax(searchable.logits, searchable.mask)
    groups = searchable.space.gate_groups
    assert groups
    grouped = set()
    for group in groups:
        places = [searchable.gates().row(each) for each in group]
        means = torch.stack([searchable.logits[row][searchable.mask[row]].mean() for row in places])
        torch.testing.assert_close(matrix[places], means.softmax(0).unsqueeze(1) * rows[places])
        grouped |= set(places)
    others = [row for row in range(len(matrix)) if row not in grouped]
    torch.testing.assert_close(matrix[others], rows[others])


def test_the_edges_that_weigh_most_are_kept() -> None:
    searchable = searchable_of("auto-deeplab", 1, relaxation=EdgeNormalised())
    group = searchable.space.gate_groups[-1]
    with torch.no_grad():
        for name, shift in zip(group, (0.0, 2.0, 1.0), strict=True):
            searchable.logits[searchable.gates().row(name)] += shift
    assert searchable.architecture()["cell.block1.inputs"] == "1+2"


def test_a_mean_moves_the_edge_and_nothing_else() -> None:
    searchable = searchable_of("egnas", 1, relaxation=EdgeNormalised())
    before, row = searchable.gates().matrix.detach(), searchable.gates().row(searchable.space.gate_groups[0][0])
    with torch.no_grad():
        searchable.logits[row] += 1.0
    after = searchable.gates().matrix.detach()
    assert float(after[row].sum()) > float(before[row].sum())
    torch.testing.assert_close(after[row] / after[row].sum(), before[row] / before[row].sum())


def test_other_relaxations_than_those_that_leave_the_mean_free_are_refused() -> None:
    for name in ("sigmoid", "straight-through", "dirichlet"):
        with pytest.raises(ValueError, match="leaves the mean of a row's logits free"):
            EdgeNormalised(name)
    concrete = EdgeNormalised("concrete")
    assert concrete.stochastic
    concrete.temperature = 0.5
    assert concrete.rows.temperature == 0.5


# In a search.


def test_a_search_asks_for_the_supernet_that_it_is_for() -> None:
    whole = searchable_of("egnas", 1)
    with pytest.raises(ValueError, match=r"PCDARTS mixes one channel in 4, and the supernet of .* partial_channels=1"):
        composition.check(PCDARTS(), [], [whole])
    for strategy in (PCDARTS(partial_channels=2), DARTS(), DrNAS(partial_channels=2), SNAS(partial_channels=2), GDAS()):
        composition.check(strategy, [], [searchable_of("egnas", 2)])


def test_the_command_line_makes_it_with_its_own_default_and_with_other_components() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--strategy", type=Strategy)
    path = "automl_plugins.strategies.pc_darts.PCDARTS"
    for arguments, expected in (({}, 4), ({"partial_channels": 2, "regularizers": ["beta"]}, 2)):
        parsed = parser.parse_object({"strategy": {"class_path": path, "init_args": arguments}})
        made = parser.instantiate(parsed).strategy
        assert made.partial_channels == expected
        assert len(made.regularizers) == len(arguments.get("regularizers", []))
