"""The filters and the stem's stride of Auto-DeepLab's networks as choices, and the space of each pair of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple, cast

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice, Value
from seg_space.auto_deeplab.space import AutoDeepLabSpace

FILTERS, STEM_STRIDE = "filters", "stem_stride"


class Pair(NamedTuple):
    """The sizes that are chosen."""

    filters: int
    stem_stride: int

    @property
    def key(self) -> str:
        """The name of its supernet."""
        return f"filters{self.filters}_stem{self.stem_stride}"


class SizeChoices:
    """Choices of sizes, beside those of cells, edges and heads, whose strides count from the stem's.

    Args:
        filters: to choose from.
        stem_strides: to choose from.
        others: arguments of `AutoDeepLabSpace`.

    Raises:
        ValueError: there is nothing to choose, something stands twice, or see `AutoDeepLabSpace`.
    """

    def __init__(self, filters: Sequence[int], stem_strides: Sequence[int], others: Mapping[str, Any]) -> None:
        for name, options in ((FILTERS, filters), (STEM_STRIDE, stem_strides)):
            if not options or len(set(options)) < len(options):
                raise ValueError(f"{name} are one number or several different ones; got {list(options)}")
        self.relative = AutoDeepLabSpace(filters=filters[0], stem_stride=1, **others)
        """The space whose strides are those from the stem on: `layer3.after8` is eight times the stem's stride."""
        self.spaces = {
            Pair(*sizes): AutoDeepLabSpace(filters=sizes[0], stem_stride=sizes[1], **others)
            for sizes in product(filters, stem_strides)
        }
        self.choices = (Choice(FILTERS, tuple(filters)), Choice(STEM_STRIDE, tuple(stem_strides)))

    def pair(self, values: Mapping[str, Value]) -> Pair:
        """The sizes that an architecture has."""
        return Pair(cast(int, values[FILTERS]), cast(int, values[STEM_STRIDE]))

    def inner(self, values: Mapping[str, Value]) -> Architecture:
        """The architecture of `relative` within another one."""
        own = {choice.name for choice in self.choices}
        return self.relative.architecture({name: value for name, value in values.items() if name not in own})

    def fixed(self, values: Mapping[str, Value]) -> Architecture:
        """The architecture in the space of its sizes, which has the same options under other names."""
        space, inner = self.spaces[self.pair(values)], self.inner(values)
        pairs = zip(self.relative.choices, space.choices, strict=True)
        return space.architecture(
            {theirs.name: theirs.options[ours.index(inner[ours.name])] for ours, theirs in pairs if ours.name in inner}
        )

    def relative_names(self, pair: Pair) -> dict[str, str]:
        """The names of choices in the space of some sizes -> those in `relative`."""
        pairs = zip(self.spaces[pair].choices, self.relative.choices, strict=True)
        return {theirs.name: ours.name for theirs, ours in pairs}
