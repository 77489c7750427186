"""Warnings that a study of thousands of trainings gives once."""

from __future__ import annotations

from functools import cache

from automl_plugins.training.lightning import pl


@cache
def warn_once(message: str) -> None:
    """Warn on the first rank, the first time that this process has this to say.

    Python's own "once" begins anew with every `warnings.catch_warnings`, so with every short training.

    Args:
        message: one line; two that differ are two warnings.
    """
    pl.utilities.rank_zero_warn(message)
