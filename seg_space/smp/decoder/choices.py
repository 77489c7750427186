"""The choices of `SmpDecoderSpace`, and the options of a network that an architecture stands for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

from automl_plugins.spaces.choice import Choice, Value
from seg_space.auto_deeplab.cell import IDENTITY
from seg_space.auto_deeplab.cell_choices import CellChoices
from seg_space.auto_deeplab.layout import cell_steps
from seg_space.smp.decoder.sizes import (
    CELL,
    CONTEXT_FILTERS,
    CONTEXTS,
    CONVOLUTIONS,
    FUSIONS,
    HEAD_FILTERS,
    HEAD_KERNELS,
    HEADS,
    LAYERS,
    NO_SKIP,
    RATES,
    UPSAMPLINGS,
    DecoderOptions,
    EncoderSizes,
    StageOptions,
    offered_filters,
    sources,
)


def made_choices(
    sizes: EncoderSizes,
    encoder_strides: Sequence[int],
    strides: Sequence[int],
    operations: Sequence[str],
    filters: tuple[int, ...],
    cell: CellChoices,
) -> Iterator[Choice]:
    """The choices of a space, in order; `SmpDecoderSpace` says what its arguments are."""
    yield Choice("encoder_stride", tuple(encoder_strides))
    yield Choice("context", CONTEXTS)
    yield Choice("context.filters", CONTEXT_FILTERS, {"context": ("linear", "aspp")})
    yield Choice("context.rates", RATES, {"context": ("aspp",)})
    for stride in strides:
        skips = tuple(each for each in sources(stride) if sizes.map_channels(each))
        yield from _stage_choices(stride, skips, operations, offered_filters(filters, stride))
    yield Choice("upsampling", UPSAMPLINGS, [{f"stride{stride}.visited": (True,)} for stride in strides])
    if CELL in operations:
        with_cell = [{f"stride{stride}.operation": (CELL,)} for stride in strides]
        yield from (replace(choice, requires=with_cell) for choice in cell.choices)
    yield Choice("head", HEADS)
    yield Choice("head.kernel", HEAD_KERNELS, {"head": ("last",)})
    yield Choice("head.filters", HEAD_FILTERS, {"head": ("pyramid",)})


def _stage_choices(
    stride: int, skips: tuple[int, ...], operations: Sequence[str], filters: tuple[int, ...]
) -> Iterator[Choice]:
    prefix = f"stride{stride}."
    visited = {prefix + "visited": (True,)}
    convolutions = tuple(each for each in operations if each in CONVOLUTIONS)
    with_filters = tuple(each for each in operations if each != IDENTITY)
    yield Choice(prefix + "visited", (False, True))
    yield Choice(prefix + "skip", (NO_SKIP, *skips), visited)
    yield Choice(prefix + "operation", tuple(operations), visited)
    if convolutions and skips:
        yield Choice(prefix + "fusion", FUSIONS, {prefix + "skip": skips, prefix + "operation": convolutions})
    if convolutions:
        yield Choice(prefix + "layers", LAYERS, {prefix + "operation": convolutions})
    if with_filters:
        yield Choice(prefix + "filters", filters, {prefix + "operation": with_filters})


def network_options(values: Mapping[str, Value], strides: Sequence[int], blocks: int) -> DecoderOptions:
    """The options of the network that an architecture stands for.

    Args:
        values: of the architecture.
        strides: that the space's decoders may visit.
        blocks: of the cell.
    """
    stages = tuple(_stage_options(values, stride) for stride in strides if values[f"stride{stride}.visited"])
    has_cell = any(stage.operation == CELL for stage in stages)
    return DecoderOptions(
        encoder_stride=cast(int, values["encoder_stride"]),
        context=str(values["context"]),
        stages=stages,
        steps=tuple(cell_steps(values, blocks)) if has_cell else (),
        head=str(values["head"]),
        upsampling=str(values.get("upsampling", UPSAMPLINGS[0])),
        context_filters=cast(int, values.get("context.filters", 0)),
        rates=str(values.get("context.rates", "")),
        head_kernel=cast(int, values.get("head.kernel", 1)),
        head_filters=cast(int, values.get("head.filters", 0)),
    )


def _stage_options(values: Mapping[str, Value], stride: int) -> StageOptions:
    prefix = f"stride{stride}."
    skip = values[prefix + "skip"]
    return StageOptions(
        stride,
        str(values[prefix + "operation"]),
        None if skip == NO_SKIP else cast(int, skip),
        str(values.get(prefix + "fusion", FUSIONS[0])),
        cast(int, values.get(prefix + "layers", 1)),
        cast(int, values.get(prefix + "filters", 0)),
    )
