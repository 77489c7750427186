"""Schedules of a strategy's numbers over a search, and the check of temperatures."""

from __future__ import annotations


def linear(start: float, end: float, progress: float) -> float:
    """The value of a linear schedule."""
    return start + (end - start) * progress


def checked_temperature(name: str, value: float) -> float:
    """A temperature that somebody gave.

    Raises:
        ValueError: it is not greater than zero.
    """
    if not value > 0:
        raise ValueError(f"{name} is a temperature, greater than 0; got {value}")
    return float(value)
