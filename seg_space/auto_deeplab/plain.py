"""The parts of exported networks of `AutoDeepLabSpace`; see `automl_plugins.spaces.plain_source`.

Feature maps are `[batch, channels, height, width]`; those of several strides are in dictionaries by their strides.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """A feature map, bilinearly brought to a height and a width."""
    return functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def size_at(x: Tensor, times: int) -> tuple[int, int]:
    """Height and width at a stride so many times as large: halves, rounded up."""
    return (x.size(2) - 1) // times + 1, (x.size(3) - 1) // times + 1


def separable(channels: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    """Rectify, convolve depthwise and pointwise, normalise."""
    padding = dilation * (kernel // 2)
    depthwise = nn.Conv2d(channels, channels, kernel, padding=padding, dilation=dilation, groups=channels, bias=False)
    pointwise = nn.Conv2d(channels, channels, 1, bias=False)
    return nn.Sequential(nn.ReLU(), depthwise, pointwise, nn.BatchNorm2d(channels))


def separable_twice(channels: int, kernel: int) -> nn.Sequential:
    """A separable convolution, applied twice."""
    return nn.Sequential(separable(channels, kernel), separable(channels, kernel))


def average_pool(channels: int) -> nn.Sequential:
    """The average of 3x3 pixels, those beyond the border left out, normalised."""
    return nn.Sequential(nn.AvgPool2d(3, 1, padding=1, count_include_pad=False), nn.BatchNorm2d(channels))


def max_pool(channels: int) -> nn.Sequential:
    """The maximum of 3x3 pixels, normalised."""
    return nn.Sequential(nn.MaxPool2d(3, 1, padding=1), nn.BatchNorm2d(channels))


def rectified(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """A convolution, normalised and rectified."""
    padding = dilation * (kernel // 2)
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def lateral(inputs: int, outputs: int) -> nn.Sequential:
    """Rectify, convolve 1x1, normalise."""
    return nn.Sequential(nn.ReLU(), nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


class Resize(nn.Module):
    """Rectify, bring to other channels and to a size, and normalise: by 1x1, or where it halves by 3x3 of stride 2."""

    def __init__(self, inputs: int, outputs: int, halves: bool = False) -> None:
        super().__init__()
        kernel, stride = (3, 2) if halves else (1, 1)
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        x = self.convolution(functional.relu(x))
        return self.norm(x if x.shape[2:] == size else resized(x, size))


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling (Chen et al. 2017) of a rectified feature map."""

    def __init__(self, inputs: int, outputs: int, rates: Sequence[int]) -> None:
        super().__init__()
        branches = [rectified(inputs, outputs), *(rectified(inputs, outputs, 3, dilation=rate) for rate in rates)]
        self.branches, self.pooled = nn.ModuleList(branches), rectified(inputs, outputs)
        self.merge = rectified((len(rates) + 2) * outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(x)
        pooled = self.pooled(x.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, x.size(2), x.size(3))
        return self.merge(torch.cat([*(branch(x) for branch in self.branches), pooled], dim=1))


class ASPPHead(nn.Module):
    """ASPP of the last feature maps, by their strides, each classified, enlarged and summed."""

    def __init__(self, channels: Mapping[int, int], rates: Mapping[int, int], outputs: int) -> None:
        super().__init__()
        self.pyramids, self.classifiers = nn.ModuleDict(), nn.ModuleDict()
        for stride, width in channels.items():
            self.pyramids[str(stride)] = ASPP(width, width, [rates[stride]])
            self.classifiers[str(stride)] = nn.Conv2d(width, outputs, 1)

    def forward(self, last: Mapping[int, Tensor], size: Sequence[int]) -> Tensor:
        found = [self.classifiers[str(each)](self.pyramids[str(each)](x)) for each, x in last.items()]
        return torch.stack([resized(each, size) for each in found]).sum(dim=0)


class DeepLabHead(nn.Module):
    """The decoder of DeepLabV3+ (Chen et al. 2018) on ASPP of the last feature maps, and on the stem's."""

    def __init__(
        self, channels: Mapping[int, int], rates: Mapping[int, int], stem: int, width: int, outputs: int
    ) -> None:
        super().__init__()
        made = {str(each): ASPP(channels[each], width, [n * rates[each] for n in (1, 2, 3)]) for each in channels}
        self.pyramids, self.low_level = nn.ModuleDict(made), rectified(stem, 48)
        inputs = width + 48
        self.decoder = nn.Sequential(
            nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
            rectified(inputs, width),
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
            rectified(width, width),
            nn.Conv2d(width, outputs, 1),
        )

    def forward(self, stem: Tensor, last: Mapping[int, Tensor], size: Sequence[int]) -> Tensor:
        pyramids = [resized(self.pyramids[str(stride)](x), stem.shape[2:]) for stride, x in last.items()]
        joined = torch.cat([torch.stack(pyramids).sum(dim=0), self.low_level(stem)], dim=1)
        return resized(self.decoder(joined), size)


class PooledHead(nn.Module):
    """The averages of the last feature maps, rectified, each with a linear map, summed."""

    def __init__(self, channels: Mapping[int, int], outputs: int) -> None:
        super().__init__()
        self.classifiers = nn.ModuleDict({str(stride): nn.Linear(channels[stride], outputs) for stride in channels})

    def forward(self, last: Mapping[int, Tensor]) -> Tensor:
        pooled = {stride: functional.relu(x).mean(dim=(2, 3)) for stride, x in last.items()}
        return torch.stack([self.classifiers[str(stride)](x) for stride, x in pooled.items()]).sum(dim=0)


class Refinement(nn.Module):
    """Rectify, and convolve separably by 3x3."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        self.pointwise = rectified(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(functional.relu(x)))


class UNetHead(nn.Module):
    """U-Net's decoder (Ronneberger et al. 2015) whose skip connections are added; widths are of inputs and outputs."""

    def __init__(
        self,
        visited: Mapping[int, int],
        stem: Mapping[int, int],
        widths: Mapping[int, tuple[int, int]],
        outputs: int,
    ) -> None:
        super().__init__()
        self.visited = nn.ModuleDict({str(each): lateral(visited[each], widths[each][0]) for each in visited})
        self.stem = nn.ModuleDict({str(each): lateral(stem[each], widths[each][0]) for each in stem})
        self.refinements = nn.ModuleDict({str(each): Refinement(*widths[each]) for each in widths})
        self.classifier = nn.Conv2d(widths[min(widths)][1], outputs, 1)

    def forward(self, stem: Mapping[int, Tensor], visited: Mapping[int, Tensor], size: Sequence[int]) -> Tensor:
        total = None
        for stride in sorted({*stem, *visited}, reverse=True):
            terms = [self.visited[str(stride)](visited[stride])] if stride in visited else []
            terms += [self.stem[str(stride)](stem[stride])] if stride in stem else []
            terms += [] if total is None else [resized(total, terms[0].shape[2:])]
            total = self.refinements[str(stride)](torch.stack(terms).sum(dim=0))
        return resized(self.classifier(total), size)


class FPNHead(nn.Module):
    """A feature pyramid (Kirillov et al. 2019) whose levels are refined apart, enlarged and added."""

    def __init__(self, visited: Mapping[int, int], stem: Mapping[int, int], width: int, outputs: int) -> None:
        super().__init__()
        self.visited = nn.ModuleDict({str(each): lateral(visited[each], width) for each in visited})
        self.stem = nn.ModuleDict({str(each): lateral(stem[each], width) for each in stem})
        self.refinements = nn.ModuleDict({str(each): Refinement(width, width) for each in sorted({*visited, *stem})})
        self.classifier = nn.Conv2d(width, outputs, 1)

    def forward(self, stem: Mapping[int, Tensor], visited: Mapping[int, Tensor], size: Sequence[int]) -> Tensor:
        level, levels = None, {}
        for stride in sorted(map(int, self.refinements), reverse=True):
            terms = [self.visited[str(stride)](visited[stride])] if stride in visited else []
            terms += [self.stem[str(stride)](stem[stride])] if str(stride) in self.stem else []
            terms += [] if level is None else [resized(level, terms[0].shape[2:])]
            level = levels[stride] = torch.stack(terms).sum(dim=0)
        fine = levels[min(levels)].shape[2:]
        refined = [resized(self.refinements[str(stride)](x), fine) for stride, x in levels.items()]
        return resized(self.classifier(torch.stack(refined).sum(dim=0)), size)


def padded(images: Tensor, multiple: int, least: int) -> Tensor:
    """Images whose border is repeated, below and on the right, up to multiples of a number and to a least size."""
    height, width = images.shape[-2:]
    below, right = max(height, least) - height, max(width, least) - width
    below, right = below + -(height + below) % multiple, right + -(width + right) % multiple
    return functional.pad(images, (0, right, 0, below), mode="replicate") if below or right else images
