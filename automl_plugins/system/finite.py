"""Numbers that may be undefined: `None` in Python, `null` in JSON, `undefined` for a person; never nan or infinite."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def finite(value: float | None) -> float | None:
    """A number, or None where it is nan or infinite."""
    return None if value is None or not math.isfinite(value) else float(value)


def mean_and_deviation(values: Iterable[float | None]) -> tuple[float | None, float | None]:
    """Mean and standard deviation of the sample, of the defined values; None where too few of them are left."""
    defined = [value for value in map(finite, values) if value is not None]
    mean = statistics.fmean(defined) if defined else None
    return mean, statistics.stdev(defined) if len(defined) > 1 else None


def spread(mean: float | None, deviation: float | None) -> str:
    """A mean as people read it: with its deviation where there is one."""
    if mean is None:
        return "undefined"
    return f"{mean:.4f}" if deviation is None else f"{mean:.4f} ± {deviation:.4f}"


def seconds(value: float) -> str:
    """Seconds as people read them: whole ones where they are many."""
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def strict_json(content: Any) -> str:
    """Valid JSON of plain data: what is nan or infinite becomes `null`, which JSON has no number for."""
    return json.dumps(_plain(content), indent=2, allow_nan=False)


def _plain(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _plain(value) for key, value in content.items()}
    if isinstance(content, Sequence) and not isinstance(content, str):
        return [_plain(value) for value in content]
    return finite(content) if isinstance(content, float) else content
