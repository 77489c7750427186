"""Auto-DeepLab's space: its size, its contract, its networks, and the mistakes of other implementations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from automl_plugins import Task
from automl_plugins.testing import SupernetContract
from seg_space.auto_deeplab import AutoDeepLabSpace

CLASSES = Task("pixel", "classes", in_channels=3, out_channels=4)
TASKS = [
    CLASSES,
    Task("pixel", "binary", in_channels=1, out_channels=1),
    Task("pixel", "multilabel", in_channels=2, out_channels=3),
    Task("pixel", "regression", in_channels=4, out_channels=2),
]


def images(task: Task, batch: int = 2, size: tuple[int, int] = (16, 16)) -> Tensor:
    return torch.randn(batch, task.in_channels, *size)


class AutoDeepLabContract(SupernetContract):
    def tasks(self) -> Sequence[Task]:
        return [CLASSES]

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
        return [TASKS[3]]


class TestMergedInputs(AutoDeepLabContract):
    samples = 10

    def space(self) -> AutoDeepLabSpace:
        return AutoDeepLabSpace(layers=2, blocks=1, filters=1, stem=(2, 2), merge_inputs=True)
