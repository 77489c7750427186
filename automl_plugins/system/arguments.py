"""Refusals of constructor arguments, in the words of the one who gave them."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import TypeGuard

import numpy as np

from automl_plugins.system.nearest import nearest


def at_least(name: str, value: int, least: int, most: int | None = None) -> int:
    """`value`, if it is a whole number that is not below `least`, nor above `most`.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError(f"{name} is a whole number of at least {least}; got {value!r}")
    if value < least:
        raise ValueError(f"{name} is at least {least}; got {value}")
    if most is not None and value > most:
        raise ValueError(f"{name} is at most {most:,}; got {value:,}")
    return int(value)


def is_number(value: object) -> TypeGuard[float]:
    """True where a value is a number; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_finite(value: object) -> TypeGuard[float]:
    """True where a value is a number that a float can hold: neither nan nor infinite, nor a whole number beyond."""
    return is_number(value) and -sys.float_info.max <= value <= sys.float_info.max


def positive(name: str, value: float, zero: bool = False) -> float:
    """`value`, if it is a finite number above 0, or 0 where that is accepted.

    Raises:
        ValueError: it is not.
    """
    if not is_finite(value) or value < 0 or (value == 0 and not zero):
        raise ValueError(f"{name} is a number {'of at least 0' if zero else 'greater than 0'}; got {value!r}")
    return float(value)


def switch(name: str, value: bool) -> bool:
    """`value`, if it is True or False: a text such as "false" would count as true.

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} is true or false; got {value!r}")
    return bool(value)


def names(name: str, value: Iterable[str]) -> list[str]:
    """`value`, if it is a list of names: of a single text, each letter would be one.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, str) or not isinstance(value, Iterable) or not all(isinstance(each, str) for each in value):
        cure = f"; write [{value}]" if isinstance(value, str) else ""
        raise ValueError(f"{name} is a list of names; got {value!r}{cure}")
    return list(value)


def one_of(name: str, value: str, accepted: Sequence[str]) -> str:
    """`value`, if it is among those accepted.

    Raises:
        ValueError: it is not; the message lists them and names the nearest.
    """
    if value not in accepted:
        match = nearest(str(value), accepted)
        cure = "" if match is None else f"; did you mean {match!r}?"
        raise ValueError(f"{name} is one of {', '.join(accepted)}; got {value!r}{cure}")
    return value


def three_fractions(name: str, value: Sequence[float]) -> tuple[float, float, float]:
    """The shares of training, validation and test, if they are positive and sum to 1.

    Raises:
        ValueError: they are not.
    """
    if len(value) != 3 or min(value) <= 0 or not math.isclose(sum(value), 1.0, abs_tol=1e-6):
        raise ValueError(f"{name} is three positive shares (training, validation, test) that sum to 1; got {value}")
    return value[0], value[1], value[2]
