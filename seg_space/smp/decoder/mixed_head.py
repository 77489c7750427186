"""The heads of a supernet of decoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

from torch import Tensor, nn
from torch.nn import functional

from automl_plugins.supernets.gates import Gates
from seg_space.smp.decoder.head import DROPOUT, ascending_layer, doublings
from seg_space.smp.decoder.mixing import State, opened, product, total_of
from seg_space.smp.decoder.stage import upsampled


class Visited(NamedTuple):
    """A feature map that a head may read.

    Args:
        name: of the place, such as `stride8`.
        stride: of the map.
        weight: of its being there; None: it always is.
        ends: the weight of its being the finest one; None: it never is.
        state: the feature map.
    """

    name: str
    stride: int
    weight: Tensor | None
    ends: Tensor | None
    state: State


class MixedAscent(nn.Module):
    """The convolutions of an `Ascent`, as many as a map may need.

    Args:
        in_channels: of the map, at its widest.
        filters: of the output.
        most: doublings.
    """

    def __init__(self, in_channels: int, filters: int, most: int) -> None:
        super().__init__()
        inputs = (in_channels, *[filters] * (most - 1))
        self.layers = nn.ModuleList(ascending_layer(each, filters) for each in inputs)

    def forward(self, x: Tensor, needed: Sequence[int]) -> dict[int, Tensor]:
        """The map after some numbers of doublings.

        Args:
            x: `[batch, channels, height, width]`; of the first convolution's weights its channels are used.
            needed: those numbers.
        """
        found: dict[int, Tensor] = {}
        for count, layer in enumerate(self.layers):
            convolution, norm, activation = cast(nn.Sequential, layer)
            weight = cast(Tensor, convolution.weight)
            x = activation(norm(functional.conv2d(x, weight[:, : x.size(1)], padding=1)))
            if not count and 0 in needed:
                found[0] = x
            if count + 1 > max(needed):
                break
            x = upsampled(x, 2, "bilinear")
            if count + 1 in needed:
                found[count + 1] = x
        return found

    def state_of(self, in_channels: int, count: int) -> dict[str, Tensor]:
        """The weights of a network's `Ascent` of so many doublings."""
        wanted = {str(position) for position in range(max(count, 1))}
        state = {name: each for name, each in self.layers.state_dict().items() if name.partition(".")[0] in wanted}
        state["0.0.weight"] = state["0.0.weight"][:, :in_channels]
        return {f"layers.{name}": each for name, each in state.items()}


class MixedHeads(nn.Module):
    """All heads: a convolution of the finest map for each place that may be it, and pyramids of all maps.

    Args:
        channels: of the maps at their widest, by the names of their places.
        strides: of these places.
        options: of the choices of the head, by their names.
        out_channels: of the outputs.
    """

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        options: Mapping[str, Sequence[object]],
        out_channels: int,
    ) -> None:
        super().__init__()
        kernels = [cast(int, each) for each in options["head.kernel"]]
        filters = [cast(int, each) for each in options["head.filters"]]
        finest = min(strides.values())
        self.last = nn.ModuleDict(
            {
                f"{place}_{kernel}": nn.ModuleDict(
                    {"output": nn.Conv2d(width, out_channels, kernel, padding=kernel // 2)}
                )
                for place, width in channels.items()
                for kernel in kernels
            }
        )
        self.ascents = nn.ModuleDict(
            {
                f"{place}_{width}": MixedAscent(each, width, max(doublings(strides[place], finest), 1))
                for place, each in channels.items()
                for width in filters
            }
        )
        self.pyramids = nn.ModuleDict(
            {str(width): nn.ModuleDict({"output": nn.Conv2d(width, out_channels, 1)}) for width in filters}
        )
        self.dropout = nn.Dropout2d(DROPOUT)

    def forward(self, visited: Sequence[Visited], gates: Gates) -> Tensor:
        """Outputs of all pixels, `[batch, out_channels, height, width]`.

        Args:
            visited: the feature maps, the coarsest first.
            gates: of all choices.
        """
        kinds = dict(opened(gates, "head"))
        parts: list[tuple[Tensor | None, Tensor]] = []
        if "last" in kinds:
            for kernel, gate in opened(gates, "head.kernel"):
                for place in visited:
                    if place.ends is not None:
                        outputs = self._last(place, cast(int, kernel))
                        weight = product((kinds["last"], gate, place.ends))
                        parts.append((weight, upsampled(outputs, place.stride, "bilinear")))
        if "pyramid" in kinds:
            for filters, gate in opened(gates, "head.filters"):
                weight = kinds["pyramid"] * gate
                parts += [(weight * ends, each) for ends, each in self._pyramids(visited, cast(int, filters))]
        return total_of(parts)

    def _last(self, place: Visited, kernel: int) -> Tensor:
        module = _output(self.last[f"{place.name}_{kernel}"])
        x = place.state.features
        return functional.conv2d(x, module.weight[:, : x.size(1)], module.bias, padding=kernel // 2)

    def _pyramids(self, visited: Sequence[Visited], filters: int) -> list[tuple[Tensor, Tensor]]:
        """Of each place that may be the finest one its weight, and the outputs of the pyramid that ends there."""
        ends = [place for place in visited if place.ends is not None]
        ascended = []
        for place in visited:
            needed = sorted({doublings(place.stride, each.stride) for each in ends if reaches(place, each)})
            ascended.append(self.ascents[f"{place.name}_{filters}"](place.state.features, needed) if needed else {})
        found = []
        for end in ends:
            maps = [
                (None if place is end else place.weight, each[doublings(place.stride, end.stride)])
                for place, each in zip(visited, ascended, strict=True)
                if reaches(place, end)
            ]
            outputs = _output(self.pyramids[str(filters)])(self.dropout(total_of(maps)))
            found.append((cast(Tensor, end.ends), upsampled(outputs, end.stride, "bilinear")))
        return found

    def inherit_last(self, head: nn.Module, place: str, kernel: int, channels: int) -> None:
        """Copy the convolution of the finest map, of so many channels, into a network's head."""
        module = _output(self.last[f"{place}_{kernel}"])
        head.load_state_dict({"output.weight": module.weight[:, :channels], "output.bias": cast(Tensor, module.bias)})

    def inherit_pyramid(self, head: nn.Module, places: Sequence[tuple[str, int, int]], filters: int) -> None:
        """Copy a pyramid into a network's head.

        Args:
            head: of the network.
            places: names, channels and doublings of the feature maps, the coarsest first.
            filters: of the pyramid.
        """
        output = _output(self.pyramids[str(filters)]).state_dict()
        state = {f"output.{name}": each for name, each in output.items()}
        for position, (place, channels, count) in enumerate(places):
            ascent = cast(MixedAscent, self.ascents[f"{place}_{filters}"])
            state |= {f"ascents.{position}.{name}": each for name, each in ascent.state_of(channels, count).items()}
        head.load_state_dict(state)


def reaches(place: Visited, end: Visited) -> bool:
    """True where a place can be visited on the way to another one, or is it."""
    return place is end or (not is_start(end) and place.stride >= end.stride)


def is_start(place: Visited) -> bool:
    """True for the encoder's last map."""
    return place.name.startswith("start")


def _output(modules: nn.Module) -> nn.Conv2d:
    return cast(nn.Conv2d, cast(nn.ModuleDict, modules)["output"])
