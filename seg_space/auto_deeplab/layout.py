"""The layout of an architecture: its cell's steps, and the nodes and strides of its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from automl_plugins.spaces.choice import Choice, Value
from seg_space.auto_deeplab.cell import SLOTS, Step, inputs_name, operation_name
from seg_space.auto_deeplab.sizes import Head, Sizes
from seg_space.auto_deeplab.trellis import Node


def edge_name(layer: int, stride: int) -> str:
    """The choice of the strides that follow one of the layer before `layer`."""
    return f"layer{layer}.after{stride}"


def join_strides(strides: Sequence[int]) -> Value:
    """The value of a choice whose node is followed by these strides: one number, or several as text (`8+16`)."""
    return strides[0] if len(strides) == 1 else "+".join(map(str, strides))


def split_strides(value: Value) -> tuple[int, ...]:
    """The strides of a value of `join_strides`."""
    return tuple(int(part) for part in str(value).split("+"))


HEAD = "head"
"""The choice of the head, in spaces with several."""


def head_choices(sizes: Sizes) -> tuple[Choice, ...]:
    """The choice of the head; none where there is one alone."""
    return (Choice(HEAD, sizes.heads),) if len(sizes.heads) > 1 else ()


def head_of(values: Mapping[str, Value], sizes: Sizes) -> Head:
    """The head of an architecture's networks of pixels."""
    return cast(Head, values.get(HEAD, sizes.heads[0]))


def cell_steps(values: Mapping[str, Value], blocks: int) -> list[Step]:
    """The operations of an architecture's cell, two for each block."""
    return [
        Step(block, slot, int(source), str(values[operation_name(block, slot)]))
        for block in range(blocks)
        for slot, source in zip(SLOTS, str(values[inputs_name(block)]).split("+"), strict=True)
    ]


def open_nodes(values: Mapping[str, Value], sizes: Sizes) -> tuple[Node, ...]:
    """The nodes that an architecture runs, layer by layer."""
    return sizes.trellis.open_nodes(lambda layer, stride: split_strides(values[edge_name(layer, stride)]))


def single_path(nodes: Sequence[Node]) -> tuple[int, ...]:
    """The stride of each layer.

    Raises:
        ValueError: a layer has several.
    """
    strides: dict[int, int] = {}
    for node in nodes:
        if node.layer in strides:
            raise ValueError(
                f"an architecture of a single path is needed here; layer {node.layer} of this one has the strides "
                f"{strides[node.layer]} and {node.stride}"
            )
        strides[node.layer] = node.stride
    return tuple(strides.values())
