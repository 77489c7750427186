"""Heads that read every stride a path has visited, the choice among heads, and what the supernet gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from automl_plugins import Architecture, Task
from automl_plugins.testing import SupernetContract
from seg_space import AutoDeepLabSpace
from seg_space.auto_deeplab.heads import ASPPHead, PooledHead
from seg_space.auto_deeplab.maps import Maps, expected_visits
from seg_space.auto_deeplab.pyramid_heads import FPNHead, UNetHead
from seg_space.auto_deeplab.sizes import Head
from seg_space.auto_deeplab.trellis import Trellis

TASK = Task("pixel", "classes", in_channels=3, out_channels=4)
IMAGES = Task("image", "classes", in_channels=3, out_channels=4)


def make_space(layers: int = 4, **arguments: Any) -> AutoDeepLabSpace:
    return AutoDeepLabSpace(**{"layers": layers, "blocks": 2, "filters": 2, "stem": (3, 4), **arguments})


def on_path(space: AutoDeepLabSpace, path: Sequence[int], **others: str) -> Architecture:
    drawn = space.sample(np.random.default_rng(0))
    values = {**{name: value for name, value in drawn.items() if name.startswith("cell.")}, **others}
    for layer, (before, stride) in enumerate(zip((space.stem_stride, *path), path, strict=False), start=1):
        values[f"layer{layer}.after{before}"] = stride
    return space.architecture(values)


def given(network: nn.Module, head: nn.Module, *arguments: Any, **others: Any) -> Maps:
    """What a head is given in one call of its network."""
    kept: list[Maps] = []
    handle = head.register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0]))
    network(*arguments, **others)
    handle.remove()
    return kept[0]


class TestAChoiceOfHeads(SupernetContract):
    samples = 4

    def space(self) -> AutoDeepLabSpace:
        heads: tuple[Head, ...] = ("unet", "fpn", "deeplab", "aspp")
        return AutoDeepLabSpace(layers=2, blocks=1, filters=1, stem=(2, 3), head=heads, decoder_channels=4)

    def tasks(self) -> Sequence[Task]:
        return [TASK, IMAGES]

    def loss(self, network: nn.Module, task: Task) -> Tensor:
        outputs = network(torch.randn(3, task.in_channels, 16, 16))
        return (outputs - torch.randn(outputs.shape)).square().mean()


# What heads read.


def test_a_head_reads_the_last_map_of_every_stride_and_the_stems() -> None:
    space = make_space()
    network = space.network(on_path(space, [8, 16, 8, 8]), TASK)
    images = torch.randn(2, 3, 64, 48)
    maps = given(network, network.head, images)
    features = network.features(images)
    assert set(maps.visited) == {8, 16}
    assert maps.visited[8].shape == features[4].shape
    assert maps.visited[16].shape == features[2].shape
    assert {stride: tuple(x.shape) for stride, x in maps.stem.items()} == {2: (2, 3, 32, 24), 4: (2, 4, 16, 12)}
    assert set(maps.last) == {8}


@pytest.mark.parametrize("head", ["unet", "fpn"])
def test_every_visited_stride_counts(head: Head) -> None:
    space = make_space(head=head)
    network = space.network(on_path(space, [8, 16, 32, 16]), TASK).train()
    visited = {stride: torch.randn(2, 4 * stride // 4, 64 // stride, 64 // stride) for stride in (8, 16, 32)}
    stem = {2: torch.randn(2, 3, 32, 32), 4: torch.randn(2, 4, 16, 16)}
    for x in visited.values():
        x.requires_grad_()
    network.head(Maps(stem, visited, {16: visited[16]}, (64, 64))).square().sum().backward()
    assert all(x.grad is not None and bool((x.grad != 0).any()) for x in visited.values())


def test_a_unet_sees_pixels_of_the_stems_finest_stride() -> None:
    # ASPP of a last layer of stride 32 tells no pixel from its neighbours by more than an interpolation.
    images = torch.zeros(1, 3, 64, 64)
    images[..., 31, 31] = 10.0

    def steps(head: Head) -> int:
        torch.manual_seed(0)
        space = make_space(head=head)
        network = space.network(on_path(space, [8, 16, 32, 32]), TASK).eval()
        with torch.no_grad():
            changes = (network(images) - network(torch.zeros_like(images))).abs().sum(dim=1)[0]
        return int((changes.diff(dim=1).diff(dim=1).abs() > 1e-4 * changes.max()).sum())

    assert steps("unet") > 4 * steps("aspp") > 0


def test_the_supernet_gives_a_head_what_the_network_has() -> None:
    for multi_path in (False, True):
        space = make_space(multi_path=multi_path)
        supernet = space.supernet(TASK).double().eval()
        generator = np.random.default_rng(1)
        images = torch.randn(1, 3, 32, 32, dtype=torch.float64)
        for _ in range(5):
            architecture = space.sample(generator)
            network = space.inherited(supernet, architecture, TASK)
            own = given(network, network.head, images)
            ours = given(supernet, supernet.heads["unet"], images, gates=space.gates(architecture, torch.float64))
            assert set(own.visited) == set(ours.visited) == {node.stride for node in space.nodes(architecture)}
            for stride, x in own.visited.items():
                torch.testing.assert_close(ours.visited[stride], x, rtol=0, atol=1e-10)


def test_what_is_expected_is_weighed_by_how_probably_a_layer_is_the_last_at_its_stride() -> None:
    trellis = Trellis(layers=2)
    shares = {(1, 4, 4): 0.25, (1, 4, 8): 0.75, (2, 4, 4): 0.5, (2, 4, 8): 0.5, (2, 8, 4): 0.2, (2, 8, 8): 0.3}
    nodes = trellis.open_nodes(lambda layer, stride: [target for target in trellis.following(stride) if target <= 8])
    features = {(layer, stride): torch.tensor(10.0 * layer + stride) for layer, stride, *_ in nodes}
    found = expected_visits(features, nodes, lambda *edge: torch.tensor(shares[edge]))
    second = 1 - (1 - 0.25 * 0.5) * (1 - 0.75 * 0.2)
    assert float(found[4]) == pytest.approx(second * 24 + 0.25 * (1 - second) * 14)
    second = 1 - (1 - 0.25 * 0.5) * (1 - 0.75 * 0.3)
    assert float(found[8]) == pytest.approx(second * 28 + 0.75 * (1 - second) * 18)


# Which head there is.


def test_the_head_is_a_choice_where_there_are_several() -> None:
    space = make_space(head=("unet", "fpn"))
    assert space.size == 2 * make_space().size
    network = space.network(on_path(space, [4, 4, 8, 8], head="fpn"), TASK)
    assert isinstance(network.head, FPNHead)
    assert [operation.label for operation in space.operations(on_path(space, [4, 4, 8, 8], head="fpn"))][-1] == "fpn"
    assert isinstance(make_space().network(on_path(make_space(), [4, 4, 8, 8]), TASK).head, UNetHead)


def test_whole_images_have_one_head_whatever_is_chosen() -> None:
    space = make_space(head=("unet", "fpn"))
    assert isinstance(space.network(on_path(space, [4, 4, 8, 8], head="fpn"), IMAGES).head, PooledHead)
    narrowed = {choice.name: choice.options for choice in space.within(IMAGES).choices}
    assert narrowed["head"] == ("unet",)


def test_a_closed_head_is_not_run() -> None:
    space = make_space(head=("unet", "deeplab", "aspp"))
    supernet = space.supernet(TASK)
    run: list[str] = []
    for name, head in supernet.heads.items():
        head.register_forward_hook(lambda *_, name=name: run.append(name))
    supernet(torch.randn(2, 3, 16, 16), gates=space.gates(on_path(space, [4, 4, 8, 8], head="deeplab")))
    assert run == ["deeplab"]


def test_the_papers_search_is_the_head_aspp() -> None:
    space = AutoDeepLabSpace(layers=12, blocks=5, head="aspp")
    drawn = on_path(space, [4, 8, 8, 16, 16, 32, 32, 16, 16, 8, 4, 4])
    network = space.network(drawn, TASK)
    assert isinstance(network.head, ASPPHead)
    assert not any("stem" in operation.inputs for operation in space.operations(drawn) if operation.name == "head")


def test_an_architecture_of_the_version_before_is_refused_in_one_line() -> None:
    space = AutoDeepLabSpace(layers=2, blocks=1)
    values = dict(space.sample(np.random.default_rng(0)))
    with pytest.raises(ValueError, match=r"version 1 of the space 'auto-deeplab'; this is version 2") as caught:
        space.network(Architecture("auto-deeplab", 1, values), TASK)
    assert "\n" not in str(caught.value)


def test_heads_are_named_once_and_there_is_one() -> None:
    with pytest.raises(ValueError, match=r"head is one of unet, fpn, deeplab, aspp, or several different ones"):
        AutoDeepLabSpace(head=("unet", "unet"))
