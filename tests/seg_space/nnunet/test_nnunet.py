"""nnU-Net's rules, and deep supervision."""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from automl_plugins import Project, Task
from automl_plugins.spaces.hand_made import hand_made
from automl_plugins.studies.comparison import Comparison
from automl_plugins.studies.references import references_of
from automl_plugins.training.fit import LEAN
from automl_plugins.training.lightning import pl
from seg_space import DenseRegression, SemanticSegmentation, SmpSpace
from seg_space.data.base import ImageDataModule
from seg_space.data.sources import TensorSource
from seg_space.modules.deep_supervision import loss_of_levels
from seg_space.nnunet.network import NNUNet
from seg_space.nnunet.plan import plan_of

pytestmark = pytest.mark.filterwarnings("ignore:(val|test)_miou is the mean over")
needs_library = pytest.mark.skipif(
    importlib.util.find_spec("dynamic_network_architectures") is None, reason="needs dynamic-network-architectures"
)
TASK = Task("pixel", "classes", in_channels=1, out_channels=2)


class Squares(ImageDataModule):
    """Bright squares in noise, 20 x 52 pixels."""

    def __init__(self, target: str = "classes", **others: Any) -> None:
        super().__init__(batch_size=2, **others)
        self.target = target

    @property
    def task(self) -> Task:
        return Task("pixel", "regression", 1, 1) if self.target == "regression" else TASK

    def _sources(self) -> tuple[TensorSource, TensorSource, TensorSource]:
        generator = torch.Generator().manual_seed(0)
        masks = torch.zeros(8, 20, 52, dtype=torch.long)
        masks[:, 5:15, 10:25] = 1
        images = masks.unsqueeze(1) + 0.3 * torch.randn(8, 1, 20, 52, generator=generator)
        targets = masks.unsqueeze(1).float() if self.target == "regression" else masks
        return tuple(TensorSource(images[part], targets[part]) for part in (slice(4), slice(4, 6), slice(6, 8)))  # type: ignore[return-value]


def ready(**arguments: Any) -> Squares:
    data = Squares(**arguments)
    data.setup("fit")
    return data


# The rules.


@needs_library
def test_the_plan_of_large_images_is_the_one_that_the_rules_were_measured_with() -> None:
    plan = plan_of((512, 512), 1000 * 512 * 512, 1, 2)
    assert plan.patch == (512, 512)
    assert plan.batch == 12, "nnU-Net's reference"
    assert plan.features == (32, 64, 128, 256, 512, 512, 512, 512)
    assert plan.strides == ((1, 1), *[(2, 2)] * 7)


@needs_library
@pytest.mark.parametrize(
    ("size", "images", "patch", "batch", "depth"),
    [
        ((160, 192), 76, (160, 192), 4, (5, 5)),  # a batch has a twentieth of the pixels at most
        ((64, 64), 10, (64, 64), 2, (4, 4)),  # and two patches at least
        ((180, 240), 10_000, (192, 256), 65, (5, 5)),  # filled up to a multiple of the strides
        ((20, 70), 10, (20, 72), 2, (2, 3)),  # a side of less than eight is not halved
    ],
)
def test_patch_batch_and_depth_follow_from_the_images(
    size: tuple[int, int], images: int, patch: tuple[int, int], batch: int, depth: tuple[int, int]
) -> None:
    plan = plan_of(size, images * math.prod(size), 3, 11)
    assert (plan.patch, plan.multiple) == (patch, (2 ** depth[0], 2 ** depth[1]))
    assert plan.batch == batch or (batch > 12 and plan.batch > 12)
    for side, halvings in zip(plan.patch, depth, strict=True):
        assert side % 2**halvings == 0
        assert side / 2**halvings >= 4


@needs_library
def test_a_patch_that_does_not_fit_into_the_memory_is_cut_to_the_images_proportions() -> None:
    plan = plan_of((1024, 2048), 2975 * 1024 * 2048, 3, 19)
    assert plan.batch == 2
    assert plan.patch[0] < 1024
    assert plan.patch[1] < 2048
    assert 1.5 < plan.patch[1] / plan.patch[0] < 2.5
    assert all(side % multiple == 0 for side, multiple in zip(plan.patch, plan.multiple, strict=True))


# The network.


@needs_library
def test_a_network_follows_from_the_data_and_all_its_weights_learn() -> None:
    data = ready()
    network = NNUNet(TASK, data)
    assert network.plan.strides == ((1, 1), (2, 2), (2, 2), (1, 2))
    images = torch.randn(2, 1, 20, 52)
    assert network(images).shape == (2, 2, 20, 52)
    levels = network.forward_levels(images)
    assert torch.equal(levels[0], network(images))
    assert [tuple(level.shape[-2:]) for level in levels] == [(20, 52), (10, 26)], "all but the coarsest"
    sum(level.square().mean() for level in levels).backward()
    assert all(weight.grad is not None for weight in network.parameters() if weight.requires_grad)
    cropped = NNUNet(TASK, ready(crop=16))
    assert cropped.plan.patch == (16, 16)
    assert cropped.eval()(torch.randn(1, 1, 9, 50)).shape == (1, 2, 9, 50), "of any size"


@needs_library
@pytest.mark.parametrize("module_class", [SemanticSegmentation, DenseRegression])
def test_it_is_trained_at_its_levels_and_evaluated_by_its_full_outputs(
    module_class: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Squares(target="regression" if module_class is DenseRegression else "classes")
    data.setup("fit")
    network = NNUNet(data.task, data)
    calls: list[str] = []
    for name in ("forward", "forward_levels"):
        monkeypatch.setattr(network, name, recorded(getattr(network, name), name, calls))
    module = module_class(network, data.task, learning_rate=1e-2)
    trainer = pl.Trainer(**LEAN, max_epochs=4)
    trainer.fit(module, data)
    assert calls == ["forward_levels", "forward_levels", "forward"] * 4
    score = trainer.callback_metrics[module.monitor].item()
    assert score > 0.8 if module_class is SemanticSegmentation else score < 0.6


def recorded(function: Any, name: str, calls: list[str]) -> Any:
    def call(images: Tensor) -> Any:
        calls.append(name)
        return function(images)

    return call


def test_levels_weigh_half_of_the_one_before() -> None:
    targets = torch.arange(16.0).reshape(1, 1, 4, 4)
    levels = [torch.full((1, 1, side, side), float(side)) for side in (4, 2, 1)]
    seen = []

    def loss(outputs: Tensor, resized: Tensor) -> Tensor:
        assert outputs.shape == resized.shape
        seen.append(resized)
        return outputs.mean()

    assert loss_of_levels(levels, targets, loss).item() == pytest.approx((4 + 2 / 2 + 1 / 4) / 1.75)
    assert seen[0] is targets
    assert set(seen[1].flatten().tolist()) <= set(targets.flatten().tolist()), "the nearest pixel's"
    masks = torch.randint(0, 256, (2, 8, 8))
    several = loss_of_levels([torch.zeros(2, 3, 4, 4)], masks, lambda _, small: small.double().sum())
    assert several.item() == masks[:, 1::2, 1::2].sum().item()


# Beside what was found.


@needs_library
def test_it_stands_beside_what_was_found_where_it_is_named(tmp_path: Any) -> None:
    space = SmpSpace(decoders=("Linknet",), encoders=("resnet18",), depths=(3,))
    project = Project(space, Squares(), trainer={"max_epochs": 1}, folder=tmp_path)
    comparison = Comparison(project, [1])
    assert "nnunet" not in [contender.label for contender in comparison.hand_made()]
    (named,) = references_of(["nnunet"]) or ()
    network = comparison.build(named)
    assert isinstance(network, NNUNet)
    state = network.state_dict()
    hand_made("nnunet", TASK, space, project.data).load_state_dict(state)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="NNUNet is for tasks of level 'pixel'; got one of level 'image'"):
        NNUNet(Task("image", "classes", 3, 2))
    with pytest.raises(ValueError, match="NNUNet follows from the data; give it the datamodule"):
        NNUNet(TASK)
    with pytest.raises(ValueError, match="images of 8 x 8 pixels or more; got 5 x 7"):
        plan_of((5, 7), 100, 1, 2)
