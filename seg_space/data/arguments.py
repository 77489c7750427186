"""Arguments of datamodules of images: sizes, channels and the names of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seg_space.data.images import CHANNELS
from seg_space.data.labels import IGNORED

Size = int | tuple[int, int] | None
"""Height and width, one number for both, or None."""


def height_and_width(name: str, value: Size) -> tuple[int, int] | None:
    """Height and width from one number or two.

    Raises:
        ValueError: there are more, or one is below 1.
    """
    if value is None:
        return None
    pair: tuple[Any, ...] = tuple(value) if isinstance(value, list | tuple) else (value, value)
    if len(pair) != 2 or not all(isinstance(side, int) and side >= 1 for side in pair):
        raise ValueError(f"{name} is a height and a width of at least 1, or one number for both; got {value}")
    return pair[0], pair[1]


def some_channels(value: int) -> int:
    """The channels of image files, if they can have so many.

    Raises:
        ValueError: they cannot.
    """
    if value not in CHANNELS:
        raise ValueError(f"channels is one of {', '.join(map(str, CHANNELS))}; got {value}")
    return value


def class_names(value: int | Sequence[str]) -> tuple[str, ...]:
    """The names of classes; for a number of them, the numbers.

    Raises:
        ValueError: there are none, or more than masks can tell apart.
    """
    if not isinstance(value, int | list | tuple):
        raise ValueError(f"classes are a list of names, or how many there are; got {value!r}")
    names = tuple(str(number) for number in range(value)) if isinstance(value, int) else tuple(value)
    if not 1 <= len(names) <= IGNORED:
        raise ValueError(f"classes are 1 to {IGNORED}, since {IGNORED} marks ignored pixels; got {len(names)}")
    if len(set(names)) != len(names):
        raise ValueError(f"classes have names of their own; got {', '.join(names)}")
    return names
