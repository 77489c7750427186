"""The console that results are printed on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from automl_plugins.system.finite import finite, spread

_WIDTH = 160


def output() -> Console:
    """Standard output; a file or a pipe is wide enough for the tables."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH)


def figures_text(figures: Mapping[str, float | None]) -> str:
    """Figures in a line: `val_miou 0.2714, params 12,345`."""
    return ", ".join(f"{name} {_figure(finite(value))}" for name, value in figures.items())


def _figure(value: float | None) -> str:
    return spread(value, None) if value is None or not value.is_integer() else f"{value:,.0f}"


def show_predict(folder: Path, data: object, level: str) -> None:
    """Say how to predict with what a run has trained, where its data read inputs without labels.

    Args:
        folder: of the run.
        data: the datamodule.
        level: of the task.
    """
    if hasattr(data, "unlabelled"):
        out = "masks" if level == "pixel" else "predictions.csv"
        output().out(f"predict with it: automl-plugins predict {folder} --data.path NEW --out {out}", highlight=False)
