"""Scores of architectures by several estimators, as tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.markup import escape
from rich.table import Table

_MOST = 10


def rank_table(ranks: Mapping[str, Sequence[int]], first: str) -> Table:
    """The ten best architectures by one estimator, by number, and their ranks by all.

    Args:
        ranks: name of an estimator -> the rank of each architecture.
        first: the estimator that they are sorted by.
    """
    table = Table(box=None, title=f"the best by {escape(first)}: ranks", title_justify="left")
    table.add_column("architecture", justify="right")
    for name in ranks:
        table.add_column(escape(name), justify="right")
    order = sorted(range(len(ranks[first])), key=ranks[first].__getitem__)
    for place in order[:_MOST]:
        table.add_row(str(place), *(str(column[place]) for column in ranks.values()))
    return table


def tau_table(tau: Mapping[str, Mapping[str, float]], seconds: Mapping[str, float], valid: Mapping[str, int]) -> Table:
    """Kendall's tau of each two estimators, what an estimate takes, and how many architectures have one."""
    table = Table(box=None, title="Kendall's tau", title_justify="left")
    table.add_column("")
    for name in tau:
        table.add_column(escape(name), justify="right")
    table.add_column("s each", justify="right")
    table.add_column("valid", justify="right")
    for one, row in tau.items():
        cells = ["" if one == other else "-" if math.isnan(row[other]) else f"{row[other]:.2f}" for other in tau]
        table.add_row(escape(one), *cells, f"{seconds[one]:.3f}", str(valid[one]))
    return table
