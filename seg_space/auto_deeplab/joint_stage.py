"""One stage of several operations at once: depthwise and 1x1 convolution and normalisation, as one function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from automl_plugins.supernets.derivatives import HandWritten, first_order
from seg_space.auto_deeplab.depthwise import convolve, weight_gradient
from seg_space.auto_deeplab.stacked import EPSILON, MOMENTUM, StackedStage


class Member(NamedTuple):
    """A stage of one operation, with those of its edges that are run."""

    stage: StackedStage
    edges: Sequence[int]

    @property
    def complete(self) -> bool:
        """True where all of its edges are run."""
        return len(self.edges) == len(self.stage.depthwise)

    def select(self, tensor: Tensor) -> Tensor:
        """The edges' part of a tensor `[all edges, ...]`."""
        return tensor if self.complete else tensor[list(self.edges)]

    def statistics_index(self, places: Sequence[int]) -> Any:
        """The place of the statistics `[all edges, all inputs, channels]` of the edges for these inputs."""
        mean = self.stage.statistics.mean
        if self.complete and len(places) == mean.size(1):
            return slice(None)
        return torch.tensor(self.edges, device=mean.device).unsqueeze(1), torch.tensor(places, device=mean.device)

    def scatter(self, part: Tensor, like: Tensor) -> Tensor:
        """A tensor like another, `[all edges, ...]`, with the edges' part in its place and zeros elsewhere."""
        if self.complete:
            return part.to(like.dtype)
        result = torch.zeros_like(like)
        result[list(self.edges)] = part.to(like.dtype)
        return result


def run_stage(x: Tensor, members: Sequence[Member], places: Sequence[int], scale: Tensor | None) -> Tensor:
    """Convolve depthwise and with 1x1 and normalise, times `scale`.

    Args:
        x: rectified, `[batch, height, width, edges, inputs, channels]`, contiguous; the edges of all members in order.
        members: what is run, all of one dilation. Kernels of 3x3 beside others of 5x5 are padded with zeros.
        places: which of the running statistics are those of the inputs.
        scale: `[edges]`; None: one.

    Returns:
        Like x.
    """
    weights = [weight for member in members for weight in (member.stage.depthwise, member.stage.pointwise)]
    result: Tensor = _Stage.apply(x, scale, members, tuple(places), *weights)
    return result


class _Stage(HandWritten):
    # By hand: most of the time on small feature maps goes to the bookkeeping of views, of which this needs none.

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        scale: Tensor | None,
        members: Sequence[Member],
        places: tuple[int, ...],
        *weights: Tensor,
    ) -> Tensor:
        stages = [member.stage for member in members]
        training = stages[0].statistics.uses_batch(x[..., 0, 0, 0].numel())
        num_inputs, channels = x.shape[-2:]
        width = max(stage.depthwise.size(-1) for stage in stages)
        kernels = _repeat(
            torch.cat([_padded(member.select(member.stage.depthwise), width) for member in members]), num_inputs
        )
        kernels = kernels.flatten(0, 1).to(x.dtype)
        matrices = torch.cat([member.select(member.stage.pointwise).flatten(2) for member in members])
        matrices = _repeat(matrices, num_inputs).to(x.dtype)
        convolved = _pixels(convolve(_image(x), kernels, stages[0].dilation), x)
        mixed = torch.empty_like(x)
        torch.bmm(_rows(convolved), matrices.transpose(1, 2), out=_rows(mixed))
        mean, variance = _statistics(members, places)
        repeated = None if scale is None else scale.to(mean.dtype).repeat_interleave(num_inputs * channels)
        output, batch_mean, batch_scale = torch.native_batch_norm(
            _image(mixed), repeated, None, mean, variance, training, MOMENTUM, EPSILON
        )
        if training:
            _keep_statistics(members, places, mean, variance)
        # What only the weights' gradients need is not kept for a step of the architecture.
        for_weights = (x, convolved) if any(ctx.needs_input_grad[4:]) else (None, None)
        ctx.save_for_backward(
            *for_weights, mixed, kernels, matrices, repeated, mean, variance, batch_mean, batch_scale, *weights
        )
        ctx.members, ctx.training = members, training
        return _pixels(output, x)

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        x, convolved, mixed, kernels, matrices, repeated, mean, variance, batch_mean, batch_scale = saved[:10]
        weights = saved[10:]
        members: Sequence[Member] = ctx.members
        num_inputs, dilation = mixed.size(-2), members[0].stage.dilation
        edges = [len(member.edges) for member in members]
        needs_x, needs_scale = ctx.needs_input_grad[:2]
        needs_weights = any(ctx.needs_input_grad[4:])
        of_mixed, of_repeated, _ = torch.ops.aten.native_batch_norm_backward(
            _image(gradient.contiguous()), _image(mixed), repeated, mean, variance, batch_mean, batch_scale,
            ctx.training, EPSILON, [True, needs_scale, False],
        )  # fmt: skip
        of_scale = of_repeated.view(mixed.size(3), -1).sum(dim=1) if needs_scale else None
        of_x: Tensor | None = None
        of_weights: list[Tensor | None] = [None] * len(weights)
        rows = _rows(_pixels(of_mixed, mixed))
        of_convolved = torch.empty_like(mixed)
        torch.bmm(rows, matrices, out=_rows(of_convolved))
        if needs_x:
            of_x = _pixels(convolve(_image(of_convolved), kernels.flip(2, 3), dilation), mixed)
        if needs_weights:
            of_matrices = torch.bmm(rows.transpose(1, 2), _rows(convolved)).unflatten(0, (-1, num_inputs)).sum(dim=1)
            of_kernels = weight_gradient(_image(x), _image(of_convolved), kernels.size(-1), dilation)
            of_kernels = of_kernels.unflatten(0, (-1, num_inputs, x.size(-1))).sum(dim=1)
            parts = zip(members, of_kernels.split(edges), of_matrices.split(edges), strict=True)
            for position, (member, kernel, matrix) in enumerate(parts):
                depthwise, pointwise = weights[2 * position : 2 * position + 2]
                cut = (kernel.size(-1) - depthwise.size(-1)) // 2
                if cut > 0:
                    kernel = kernel[..., cut:-cut, cut:-cut]
                of_weights[2 * position] = member.scatter(kernel, depthwise)
                of_weights[2 * position + 1] = member.scatter(matrix[..., None, None], pointwise)
        return of_x, of_scale, None, None, *of_weights


def _image(x: Tensor) -> Tensor:
    """A feature map `[batch, height, width, ...]` as `[batch, channels, height, width]` in `channels_last`."""
    return x.flatten(3).permute(0, 3, 1, 2)


def _pixels(image: Tensor, like: Tensor) -> Tensor:
    return image.permute(0, 2, 3, 1).reshape(like.shape)


def _rows(x: Tensor) -> Tensor:
    """`[edges * inputs, pixels, channels]`, without a copy."""
    pixels = x.size(0) * x.size(1) * x.size(2)
    return x.view(pixels, -1, x.size(-1)).transpose(0, 1)


def _repeat(weights: Tensor, num_inputs: int) -> Tensor:
    """`[edges * inputs, ...]`: the weights of each edge for each input."""
    return weights if num_inputs == 1 else weights.repeat_interleave(num_inputs, dim=0)


def _padded(kernels: Tensor, width: int) -> Tensor:
    border = (width - kernels.size(-1)) // 2
    return functional.pad(kernels, (border, border, border, border)) if border > 0 else kernels


def _statistics(members: Sequence[Member], places: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The running means and variances of what is run, as vectors of channels; copies."""
    buffers = [(member.stage.statistics, member.statistics_index(places)) for member in members]
    mean = torch.cat([statistics.mean[index].flatten() for statistics, index in buffers])
    variance = torch.cat([statistics.variance[index].flatten() for statistics, index in buffers])
    return mean, variance


def _keep_statistics(members: Sequence[Member], places: Sequence[int], mean: Tensor, variance: Tensor) -> None:
    channels = members[0].stage.statistics.mean.size(-1)
    sizes = [len(member.edges) * len(places) * channels for member in members]
    for member, new_mean, new_variance in zip(members, mean.split(sizes), variance.split(sizes), strict=True):
        statistics, index = member.stage.statistics, member.statistics_index(places)
        shape = (len(member.edges), len(places), channels)
        statistics.mean[index] = new_mean.view(shape)
        statistics.variance[index] = new_variance.view(shape)
