"""The operations of a decoder, as graphs and drawings show them."""

from __future__ import annotations

from collections.abc import Mapping

from automl_plugins.spaces.choice import Value
from automl_plugins.spaces.operation import Operation
from seg_space.auto_deeplab.cell import IDENTITY, Step
from seg_space.smp.decoder.sizes import CELL, LAST_MAP, DecoderOptions, StageOptions


def list_operations(values: Mapping[str, Value], options: DecoderOptions, encoder: str) -> list[Operation]:
    """The operations of a network, inputs first.

    Args:
        values: of the architecture.
        options: of its network.
        encoder: its name.
    """
    names = {stage.skip for stage in options.stages if stage.skip is not None}
    made = [
        Operation("images", "images"),
        Operation("encoder", f"{encoder}: stride {options.encoder_stride}", ("images",), ("encoder_stride",)),
        *(Operation(f"map{stride}", f"map of stride {stride}", ("encoder",)) for stride in sorted(names, reverse=True)),
    ]
    made.append(_context(options))
    unvisited = tuple(name for name, value in values.items() if name.endswith(".visited") and not value)
    ends = ["context"]
    for stage in options.stages:
        made.append(_stage(stage, options, ends[-1], values))
        ends.append(made[-1].name)
    reads = ends[-1:] if options.head == "last" else ends
    label = (
        f"head: conv {options.head_kernel}x{options.head_kernel}"
        if options.head == "last"
        else f"head: sum of ascents of {options.head_filters} filters"
    )
    head = tuple(name for name in values if name.partition(".")[0] == "head")
    made.append(Operation("head", label, tuple(reads), (*unvisited, *head)))
    return [*made, Operation("output", "output", ("head",))]


def _context(options: DecoderOptions) -> Operation:
    labels = {
        "none": f"map of stride {LAST_MAP}",
        "linear": f"conv 1x1, {options.context_filters} filters",
        "aspp": f"atrous pyramid {options.rates}, {options.context_filters} filters",
    }
    settles = {"none": (), "linear": ("context.filters",), "aspp": ("context.filters", "context.rates")}
    return Operation("context", labels[options.context], ("encoder",), ("context", *settles[options.context]))


def _stage(stage: StageOptions, options: DecoderOptions, previous: str, values: Mapping[str, Value]) -> Operation:
    name = f"stride{stage.stride}"
    label = stage.operation
    if stage.operation == CELL:
        label = f"cell ({'; '.join(map(_step, options.steps))})"
    elif stage.layers > 1:
        label += f" x{stage.layers}"
    if stage.operation != IDENTITY:
        label += f", {stage.filters} filters"
    if stage.skip is not None and stage.operation != CELL:
        label = f"{'sum' if stage.operation == IDENTITY else stage.fusion}, {label}"
    inputs = (previous,) if stage.skip is None else (previous, f"map{stage.skip}")
    settles = tuple(each for each in values if each.startswith(f"{name}."))
    cell = tuple(each for each in values if each.startswith("cell.")) if stage.operation == CELL else ()
    return Operation(
        name, f"{options.upsampling} to stride {stage.stride}, {label}", inputs, (*settles, "upsampling", *cell)
    )


def _step(step: Step) -> str:
    return f"block {step.block}: {step.operation} of {step.source}"
