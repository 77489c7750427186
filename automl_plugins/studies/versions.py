"""The versions of what a page, or a run, was made with."""

from __future__ import annotations

import platform
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("automl-plugins", "torch", "pytorch-lightning", "optuna", "torch-geometric", "segmentation-models-pytorch")


def versions() -> dict[str, str]:
    """The versions of the packages that results depend on, and of Python."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from its sources, or not used
            continue
    return found


def versions_text() -> str:
    """The versions of now, and the date, in a sentence."""
    told = ", ".join(f"{name} {number}" for name, number in versions().items())
    return f"This page was made on {datetime.now():%Y-%m-%d %H:%M} with {told}."
