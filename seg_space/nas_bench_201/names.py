"""The names that others have for a cell: the digits of tables, and the text of the benchmark's own interface."""

from __future__ import annotations

import re
from collections.abc import Mapping

from automl_plugins.spaces.choice import Value
from seg_space.nas_bench_201.cell import EDGES, NAMES, OPERATIONS, choice_name

_THEIRS = dict(zip(("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"), OPERATIONS, strict=True))
_EXAMPLE = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"


def values_of(name: str) -> dict[str, str]:
    """The values of the choices of a cell that is named by six digits or by the benchmark's text.

    Args:
        name: such as `303101`, the operation of each edge by its place in `OPERATIONS`, or
            `|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|`.

    Raises:
        ValueError: it is neither.
    """
    if re.fullmatch(r"[0-4]{6}", name):
        return {choice_name(edge): OPERATIONS[int(digit)] for edge, digit in zip(NAMES, name, strict=True)}
    parts = [part for node in name.split("+") for part in node.strip("|").split("|")]
    found = [part.partition("~") for part in parts]
    sources = [source for _, _, source in found]
    if sources != [str(source) for source, _ in EDGES] or any(operation not in _THEIRS for operation, _, _ in found):
        raise ValueError(
            f"a cell of NAS-Bench-201 is six digits from 0 to 4, or a text such as {_EXAMPLE}; got {name!r}"
        )
    return {choice_name(edge): _THEIRS[operation] for edge, (operation, _, _) in zip(NAMES, found, strict=True)}


def digits_of(values: Mapping[str, Value]) -> str:
    """The six digits of a cell, by which the tables have it."""
    return "".join(str(OPERATIONS.index(str(values[choice_name(edge)]))) for edge in NAMES)


def text_of(values: Mapping[str, Value]) -> str:
    """The text of a cell in the benchmark's own interface."""
    ours = {operation: theirs for theirs, operation in _THEIRS.items()}
    nodes = {target: "|" for _, target in EDGES}
    for edge, (source, target) in zip(NAMES, EDGES, strict=True):
        nodes[target] += f"{ours[str(values[choice_name(edge)])]}~{source}|"
    return "+".join(nodes.values())
