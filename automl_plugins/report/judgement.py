"""Samplers beside random search, where the truth is known: a table and a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rich.table import Table

    from automl_plugins.tables.judge import Judgement


def judgement_table(judgements: Sequence[Judgement], scale: float = 1.0) -> Table:
    """One row a sampler: what it chose by validation, and how much better the best of all is (the regret).

    Args:
        judgements: of one table, on the same seeds; the first is what the others are compared with.
        scale: what the scores are multiplied by to be points.
    """
    from rich.table import Table

    first = judgements[0]
    seeds, budget = first.validation.shape
    table = Table(
        title=f"{first.table.title}: {budget} look-ups, mean ± deviation over {seeds} seeds, in points",
        caption=f"validation: a sampler's regret less that of {first.sampler} on the same seeds, ± standard error",
    )
    table.add_column("sampler")
    for column in (
        "validation",
        "validation regret",
        "test",
        "test regret",
        f"less {first.sampler}'s",
        "trials",
        "ms a trial",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    for judgement in judgements:
        difference = scale * (judgement.validation_regret - first.validation_regret)[:, -1]
        error = difference.std(ddof=1) / np.sqrt(seeds) if seeds > 1 else float("nan")
        table.add_row(
            judgement.sampler,
            *(
                _spread(scale * values[:, -1])
                for values in (
                    judgement.validation,
                    judgement.validation_regret,
                    judgement.test,
                    judgement.test_regret,
                )
            ),
            "" if judgement is first else f"{difference.mean():+.3f} ± {error:.3f}",
            f"{judgement.trials.mean():.0f}",
            f"{judgement.milliseconds:.1f}",
        )
    return table


def judgement_figure(judgements: Sequence[Judgement], path: Path, scale: float = 1.0) -> None:
    """Save best-so-far over look-ups: validation regret and test score, means with standard errors.

    Args:
        judgements: of one table.
        path: the image; its ending says which kind.
        scale: what the scores are multiplied by to be points.

    Raises:
        ImportError: matplotlib is not installed (the extra `benchmark`).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    regret, test = figure.subplots(1, 2)
    for judgement in judgements:
        look_ups = np.arange(1, judgement.validation.shape[1] + 1)
        for axes, values in ((regret, judgement.validation_regret), (test, judgement.test)):
            mean = scale * values.mean(axis=0)
            error = scale * values.std(axis=0) / np.sqrt(len(values))
            (line,) = axes.plot(look_ups, mean, label=judgement.sampler)
            axes.fill_between(look_ups, mean - error, mean + error, alpha=0.2, color=line.get_color(), linewidth=0)
    regret.set(xlabel="distinct architectures looked up", ylabel="validation regret, points", xscale="log")
    test.set(xlabel="distinct architectures looked up", ylabel="test score of the best validated", xscale="log")
    regret.legend()
    figure.suptitle(f"{judgements[0].table.title}, {len(judgements[0].validation)} seeds")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.3f} ± {values.std(ddof=min(1, len(values) - 1)):.3f}"
