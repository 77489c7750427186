"""A line of what `automl-plugins doctor` has found."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """Knowledge of one thing.

    Args:
        state: whether it is as it should be; `-`: it is absent, and need not be there.
        what: the thing.
        told: what is known of it, and the cure.
    """

    state: Literal["ok", "-", "mind", "BROKEN"]
    what: str
    told: str = ""
