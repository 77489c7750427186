"""The weights of a supernet's cell, stacked over the operations of one kind, with their running statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from seg_space.auto_deeplab.cell import Convolution

MOMENTUM = 0.1
EPSILON = 1e-5


class Statistics(nn.Module):
    """The running statistics of normalisations without weights, which would undo what the gates say.

    A cell has one set of weights for all feature maps that come into it, but each has statistics of its own. A single
    value per channel is normalised by them in training too, as `operations.BatchNorm` does.

    Args:
        edges: how many operations have them.
        num_inputs: feature maps that may come into the cell.
        channels: of each.
    """

    keeps_running_statistics = True
    """As `automl_plugins.supernets.supernet.Supernet` says."""

    mean: Tensor
    variance: Tensor

    def __init__(self, edges: int, num_inputs: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(edges, num_inputs, channels))
        self.register_buffer("variance", torch.ones(edges, num_inputs, channels))

    def normalise(self, x: Tensor, edge: int, place: int) -> Tensor:
        """Normalise `[batch, channels, height, width]` as `nn.BatchNorm2d(affine=False)` does, in either mode.

        Args:
            x: what to normalise.
            edge: the operation.
            place: of the feature map that comes in.
        """
        return self._batch_norm(x, self.mean[edge, place], self.variance[edge, place], None)

    def normalise_together(
        self, x: Tensor, edges: Sequence[int], places: Sequence[int], weight: Tensor | None
    ) -> Tensor:
        """Normalise several operations and inputs at once, and multiply.

        Args:
            x: `[batch, len(edges) * len(places) * channels, height, width]`.
            edges: the operations, in order.
            places: of the feature maps that come in, in order.
            weight: what the channels of x are multiplied by; None: one.
        """
        if len(edges) == self.mean.size(0) and len(places) == self.mean.size(1):
            return self._batch_norm(x, self.mean.view(-1), self.variance.view(-1), weight)
        chosen = torch.tensor(edges, device=x.device).unsqueeze(1), torch.tensor(places, device=x.device)
        mean, variance = self.mean[chosen], self.variance[chosen]
        result = self._batch_norm(x, mean.view(-1), variance.view(-1), weight)
        if self.training:
            self.mean[chosen], self.variance[chosen] = mean, variance
        return result

    def _batch_norm(self, x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor | None) -> Tensor:
        training = self.uses_batch(x.numel() // x.size(1))
        return functional.batch_norm(x, mean, variance, weight, training=training, momentum=MOMENTUM, eps=EPSILON)

    def uses_batch(self, values: int) -> bool:
        """True where so many values per channel are normalised by their own mean and variance."""
        return self.training and values > 1

    def state_of(self, edge: int, place: int) -> dict[str, Tensor]:
        """The buffers of a `nn.BatchNorm2d` with these statistics."""
        return {"running_mean": self.mean[edge, place], "running_var": self.variance[edge, place]}


class StackedStage(nn.Module):
    """`operations.Stage` for all edges that leave one state.

    Args:
        edges: how many.
        channels: of the state.
        kernel: width of the depthwise kernel.
        dilation: its atrous rate.
        num_inputs: feature maps that may come into the cell.
    """

    def __init__(self, edges: int, channels: int, kernel: int, dilation: int, num_inputs: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.padding = dilation * (kernel // 2)
        # The bounds are those of `nn.Conv2d`.
        self.depthwise = nn.Parameter(torch.empty(edges, channels, 1, kernel, kernel).uniform_(-1, 1) / kernel)
        self.pointwise = nn.Parameter(
            torch.empty(edges, channels, channels, 1, 1).uniform_(-1, 1) / math.sqrt(channels)
        )
        self.statistics = Statistics(edges, num_inputs, channels)

    def forward(self, x: Tensor, edge: int, place: int) -> Tensor:
        x = functional.relu(x)
        x = functional.conv2d(x, self.depthwise[edge], padding=self.padding, dilation=self.dilation, groups=x.size(1))
        return self.statistics.normalise(functional.conv2d(x, self.pointwise[edge]), edge, place)

    def state_of(self, edge: int, place: int) -> dict[str, Tensor]:
        norm = {f"norm.{name}": tensor for name, tensor in self.statistics.state_of(edge, place).items()}
        return {"depthwise.weight": self.depthwise[edge], "pointwise.weight": self.pointwise[edge], **norm}


class StackedConvolution(nn.Module):
    """`operations.SeparableConvolution` for all edges that leave one state."""

    def __init__(self, edges: int, channels: int, convolution: Convolution, num_inputs: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            StackedStage(edges, channels, convolution.kernel, convolution.dilation, num_inputs)
            for _ in range(convolution.stages)
        )

    def forward(self, x: Tensor, edge: int, place: int) -> Tensor:
        for stage in self.stages:
            x = stage(x, edge, place)
        return x

    def state_of(self, edge: int, place: int) -> dict[str, Tensor]:
        return {
            f"stages.{number}.{name}": tensor
            for number, stage in enumerate(self.stages)
            for name, tensor in cast(StackedStage, stage).state_of(edge, place).items()
        }
