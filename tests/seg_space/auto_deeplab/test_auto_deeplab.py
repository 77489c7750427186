"""Auto-DeepLab's space: its size, its contract, its networks, and the mistakes of other implementations."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from automl_plugins import Architecture, Task
from automl_plugins.supernets.gates import Gates
from automl_plugins.testing import SupernetContract
from seg_space import AutoDeepLabSpace
from seg_space.auto_deeplab.cell import CONVOLUTIONS, GATE_OPTIONS, NONE, Step
from seg_space.auto_deeplab.mixed_cell import MixedCell
from seg_space.auto_deeplab.network import Cell
from seg_space.auto_deeplab.sizes import HEADS, Head
from seg_space.auto_deeplab.stacked import StackedConvolution
from seg_space.auto_deeplab.supernet import AutoDeepLabSupernet

CLASSES = Task("pixel", "classes", in_channels=3, out_channels=4)
TASKS = [
    CLASSES,
    Task("pixel", "binary", in_channels=1, out_channels=1),
    Task("pixel", "multilabel", in_channels=2, out_channels=3),
    Task("pixel", "regression", in_channels=4, out_channels=2),
]
IMAGES = Task("image", "classes", in_channels=3, out_channels=4)


def images(task: Task, batch: int = 2, size: tuple[int, int] = (16, 16)) -> Tensor:
    return torch.randn(batch, task.in_channels, *size)


class AutoDeepLabContract(SupernetContract):
    def tasks(self) -> Sequence[Task]:
        return [CLASSES, IMAGES]

    def loss(self, network: nn.Module, task: Task) -> Tensor:
        # Normalised outputs have a sum of squares that hardly depends on the weights: compare with targets.
        outputs = network(images(task, batch=3))
        return (outputs - torch.randn(outputs.shape)).square().mean()


class TestTheSearchSpace(AutoDeepLabContract):
    samples = 10

    def space(self) -> AutoDeepLabSpace:
        return AutoDeepLabSpace(layers=3, blocks=2, filters=2, stem=(2, 3))


class TestAStemOfStrideOneWithTheDecoder(AutoDeepLabContract):
    samples = 10

    def space(self) -> AutoDeepLabSpace:
        return AutoDeepLabSpace(
            layers=2, blocks=1, filters=2, stem=(3,), stem_stride=1, head="deeplab", decoder_channels=4
        )

    def tasks(self) -> Sequence[Task]:
        return [TASKS[3], IMAGES]


class TestMergedInputs(AutoDeepLabContract):
    samples = 10

    def space(self) -> AutoDeepLabSpace:
        return AutoDeepLabSpace(layers=2, blocks=1, filters=1, stem=(2, 2), merge_inputs=True)


class TestSeveralPaths(AutoDeepLabContract):
    samples = 5

    def space(self) -> AutoDeepLabSpace:
        return AutoDeepLabSpace(layers=2, blocks=1, filters=1, stem=(2, 2), multi_path=True)


# How many there are.


def test_the_space_is_counted_exactly() -> None:
    space = AutoDeepLabSpace(layers=12, blocks=5)
    assert space.paths == 75_025
    assert space.cells == 2700 * 7**10
    assert space.size == space.cells * space.paths == 57_220_305_001_807_500


# Networks.


def some_architectures(space: AutoDeepLabSpace, count: int = 4) -> list[Architecture]:
    generator = np.random.default_rng(0)
    return [space.sample(generator) for _ in range(count)]


def on_path(space: AutoDeepLabSpace, path: Sequence[int], seed: int = 0) -> Architecture:
    """An architecture with this path and a random cell."""
    values = {
        name: value for name, value in space.sample(np.random.default_rng(seed)).items() if name.startswith("cell.")
    }
    for layer, (before, stride) in enumerate(zip((space.stem_stride, *path), path, strict=False), start=1):
        values[f"layer{layer}.after{before}"] = stride
    return space.architecture(values)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("stem", "stem_stride"), [((3,), 1), ((3, 4), 2), ((3, 4), 4), ((3, 3, 5), 4)])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.target)
def test_outputs_have_the_images_size_whatever_it_is(
    task: Task, stem: tuple[int, ...], stem_stride: int, head: Head
) -> None:
    space = AutoDeepLabSpace(
        layers=3, blocks=1, filters=1, stem=stem, stem_stride=stem_stride, head=head, decoder_channels=4
    )
    searchable = space.searchable(task)
    for size in ((33, 47), (5, 64)):
        for network in (space.network(on_path(space, [stem_stride * each for each in (2, 4, 8)]), task), searchable):
            assert network(images(task, size=size)).shape == (2, task.out_channels, *size)


@pytest.mark.parametrize("stem_stride", [1, 2, 4])
def test_maps_have_the_strides_of_the_path(stem_stride: int) -> None:
    space = AutoDeepLabSpace(layers=5, blocks=2, filters=1, stem=(3, 7), stem_stride=stem_stride)
    path = [stem_stride * times for times in (2, 4, 8, 8, 4)]
    maps = space.network(on_path(space, path), CLASSES).features(images(CLASSES, size=(64, 40)))
    expected = [(7, stem_stride), *((2 * stride // stem_stride, stride) for stride in path)]
    for each, (channels, stride) in zip(maps, expected, strict=True):
        assert each.shape == (2, channels, math.ceil(64 / stride), math.ceil(40 / stride))


def test_what_was_found_can_be_retrained_wider() -> None:
    # Retraining the paper's network instead of the one that was found is a known mistake of another project.
    small = AutoDeepLabSpace(layers=3, blocks=2, filters=2, stem=(2, 2))
    large = AutoDeepLabSpace(
        layers=3, blocks=2, filters=4, stem=(64, 64, 128), head="deeplab", decoder_channels=8, drop_path=0.2
    )
    for architecture in some_architectures(small):
        network = large.network(architecture, CLASSES)
        assert network.path == small.path(architecture)
        assert [layer.cell.steps for layer in network.layers] == [tuple(small.steps(architecture))] * 3
        assert network.channels == (128, *(2 * 4 * stride // 4 for stride in network.path))


def test_dropped_paths_grow_with_depth_and_training() -> None:
    space = AutoDeepLabSpace(layers=4, blocks=2, filters=1, stem=(2, 2), drop_path=0.4)
    network = space.network(some_architectures(space)[0], CLASSES)
    rates = [layer.cell.drop_rate for layer in network.layers]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4])
    network.schedule_drop_path(0.5)
    assert [layer.cell.drop_rate for layer in network.layers] == pytest.approx([0.05, 0.1, 0.15, 0.2])


def test_an_operation_is_dropped_from_whole_samples_and_in_training_alone() -> None:
    steps = [Step(0, 0, 0, "identity"), Step(0, 1, 1, "average_pool")]
    cell = Cell(steps, channels=1)
    cell.drop_rate = 0.25
    torch.manual_seed(0)
    before, previous = torch.zeros(4000, 1, 2, 2), torch.randn(4000, 1, 2, 2)
    with torch.no_grad():
        output = cell(before, previous)
        cell.drop_rate = 0.0
        kept = cell(before, previous)
        dropped = (output == 0).flatten(1).all(dim=1)
        assert float(dropped.float().mean()) == pytest.approx(0.25, abs=0.03)
        torch.testing.assert_close(output[~dropped], kept[~dropped] / 0.75)
        cell.drop_rate = 0.25
        assert not (cell.eval()(before, previous) == 0).flatten(1).all(dim=1).any()


# The supernet.


def counted_cells(supernet: AutoDeepLabSupernet, gates: Gates) -> tuple[Counter[str], Counter[str]]:
    """How often each node's cell was run, and each kind of convolution, in one forward pass of the plain form."""
    nodes: Counter[str] = Counter()
    operations: Counter[str] = Counter()
    run, stage = MixedCell._run, StackedConvolution.forward
    supernet = supernet.plain()
    names = {id(node.cell): name for name, node in supernet.nodes.items()}
    kinds = {id(module): name.rpartition(".")[2] for name, module in supernet.named_modules()}

    def run_counted(cell: MixedCell, *arguments: Any) -> Tensor:
        nodes[names[id(cell)]] += 1
        return run(cell, *arguments)

    def stage_counted(convolution: StackedConvolution, *arguments: Any) -> Tensor:
        operations[kinds[id(convolution)]] += 1
        return stage(convolution, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MixedCell, "_run", run_counted)
        patch.setattr(StackedConvolution, "forward", stage_counted)
        supernet(images(CLASSES), gates=gates)
    return nodes, operations


def test_a_cell_is_run_once_for_each_map_that_comes_in() -> None:
    space = AutoDeepLabSpace(layers=4, blocks=2, filters=1, stem=(2, 2))
    nodes, operations = counted_cells(space.supernet(CLASSES), space.searchable(CLASSES).gates())
    expected = {f"layer{layer}_stride{stride}": 0 for layer in range(1, 5) for stride in (4, 8, 16, 32)[: layer + 1]}
    for layer in range(1, 5):
        for source in (4, 8, 16, 32)[:layer]:
            for target in space.trellis.following(source):
                expected[f"layer{layer}_stride{target}"] += 1
    assert nodes == expected
    passes, cells = sum(expected.values()), len(expected)
    # Two blocks read two states that depend on what comes in, the second of them three; both read the second input.
    assert operations == dict.fromkeys(CONVOLUTIONS, 3 * passes + 2 * cells)


def test_merged_maps_are_run_once() -> None:
    space = AutoDeepLabSpace(layers=4, blocks=2, filters=1, stem=(2, 2), merge_inputs=True)
    nodes, _ = counted_cells(space.supernet(CLASSES), space.searchable(CLASSES).gates())
    assert set(nodes.values()) == {1}
    assert len(nodes) == 2 + 3 + 4 + 4


def test_zero_is_not_computed_and_neither_is_what_is_off_the_path() -> None:
    # Other implementations compute `none` and add it, and run all of the trellis for every path.
    space = AutoDeepLabSpace(layers=4, blocks=2, filters=1, stem=(2, 2))
    supernet = space.supernet(CLASSES)
    for architecture in some_architectures(space):
        nodes, operations = counted_cells(supernet, space.gates(architecture))
        path = space.path(architecture)
        assert nodes == {f"layer{layer}_stride{stride}": 1 for layer, stride in enumerate(path, start=1)}
        steps = [step.operation for step in space.steps(architecture) if step.operation in CONVOLUTIONS]
        assert operations == {name: 4 * count for name, count in Counter(steps).items()}


def test_a_cell_whose_gates_are_all_none_gives_nothing() -> None:
    # The head `aspp` reads the last layer alone.
    space = AutoDeepLabSpace(layers=2, blocks=2, filters=1, stem=(2, 2), head="aspp")
    supernet = space.supernet(CLASSES)
    gates = {name: gate.clone() for name, gate in space.gates(some_architectures(space)[0]).items()}
    for name, gate in gates.items():
        if name.startswith("cell."):
            gate.zero_()
            gate[0] = 1.0
    _, operations = counted_cells(supernet, Gates.of(space.gate_choices, gates))
    assert not operations
    one, two = (supernet.eval()(images(CLASSES), gates=gates) for _ in range(2))
    assert torch.equal(one, two), "the images are told from nothing but zeros"


def test_the_first_layer_uses_the_edge_that_leads_to_it() -> None:
    # Another implementation takes the weight of the edge downwards where that of the level one is due.
    space = AutoDeepLabSpace(layers=1, blocks=1, filters=1, stem=(2, 2))
    supernet = space.supernet(CLASSES).eval()
    gates = {name: gate.clone() for name, gate in space.searchable(CLASSES).gates().items()}
    last: dict[int, Tensor] = {}

    def keep(head: nn.Module, arguments: tuple[Any, ...]) -> None:
        last.update(arguments[0].last)

    supernet.heads["unet"].register_forward_pre_hook(keep)
    x = images(CLASSES)
    found = []
    for shares in ([1.0, 1.0], [0.3, 0.7]):
        gates["layer1.after4"] = torch.tensor(shares)
        supernet(x, gates=gates)
        found.append(dict(last))
    torch.testing.assert_close(found[1][4], 0.3 * found[0][4])
    torch.testing.assert_close(found[1][8], 0.7 * found[0][8])


def test_gates_of_edges_are_normalised_over_what_leaves_a_node() -> None:
    # Another implementation scales the softmax of nodes at the border, which have two edges, by 2/3.
    space = AutoDeepLabSpace(layers=3, blocks=1, filters=1, stem=(2, 2))
    searchable = space.searchable(CLASSES)
    with torch.no_grad():
        searchable.logits.normal_(generator=torch.Generator().manual_seed(0))
    gates = searchable.probabilities()
    rows = {name: gate for name, gate in gates.items() if name.startswith("layer")}
    assert {name: len(gate) for name, gate in rows.items()} == {
        "layer1.after4": 2, "layer2.after4": 2, "layer2.after8": 3,
        "layer3.after4": 2, "layer3.after8": 3, "layer3.after16": 3,
    }  # fmt: skip
    for gate in rows.values():
        assert float(gate.sum()) == pytest.approx(1.0)


def test_none_is_never_decoded() -> None:
    # Another implementation takes the largest of all operations, `none` among them.
    space = AutoDeepLabSpace(layers=2, blocks=3, filters=1)
    scores = {choice.name: torch.full((len(choice.options),), 0.01) for choice in space.gate_choices}
    for name, score in scores.items():
        if name.startswith("cell."):
            score[0] = 0.9
    scores["cell.block2.from1.operation"][3] = 0.03
    scores["cell.block2.from3.operation"][7] = 0.02
    # A larger `none` makes no state stronger.
    scores["cell.block2.from0.operation"][0] = 0.99
    architecture = space.decode(scores)
    assert NONE not in architecture.values()
    assert architecture["cell.block2.inputs"] == "1+3"
    assert architecture["cell.block2.input0.operation"] == GATE_OPTIONS[3]
    assert architecture["cell.block2.input1.operation"] == GATE_OPTIONS[7]


def test_weights_of_a_mixture_serve_paths_that_the_mixture_runs_alike() -> None:
    # Each map that comes in has running statistics of its own: in evaluation, the part of a mixture that a single
    # path is of is normalised as in the mixture, not by what three maps have in common.
    space = AutoDeepLabSpace(layers=2, blocks=1, filters=1, stem=(2, 2))
    supernet = space.supernet(CLASSES).train()
    gates = space.searchable(CLASSES).gates()
    for _ in range(3):
        supernet(images(CLASSES), gates=gates)
    cell = supernet.nodes["layer2_stride8"].cell
    statistics = cell.states[1].pools["max_pool"]
    assert statistics.mean.shape == (1, 2, 2)
    assert not torch.equal(statistics.mean[0, 0], statistics.mean[0, 1])
    architecture = on_path(space, [8, 8])
    own = space.inherited(supernet, architecture, CLASSES).layers[1].resize_previous.norm
    assert torch.equal(own.running_mean, supernet.nodes["layer2_stride8"].resize["8"].norm.running_mean)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"layers": 0}, "layers is at least 1; got 0"),
        ({"blocks": 0}, "blocks is at least 1; got 0"),
        ({"filters": 0}, "filters is at least 1; got 0"),
        ({"stem": (8, 0)}, r"stem\[1\] is at least 1; got 0"),
        ({"stem": (8,)}, r"stem has too few convolutions for a stride of 4; got \(8,\)"),
        ({"stem": (), "stem_stride": 1}, "stem has too few convolutions for a stride of 1"),
        ({"stem_stride": 8}, "stem_stride is 1, 2 or 4; got 8"),
        ({"head": "deeplap"}, "no head 'deeplap'; did you mean 'deeplab'"),
        ({"drop_path": 1.0}, "drop_path is at least 0 and less than 1; got 1.0"),
        ({"decoder_channels": 0}, "decoder_channels is at least 1; got 0"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        AutoDeepLabSpace(**arguments)
