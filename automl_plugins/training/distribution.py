"""The Lightning distribution that this process uses, of the two, settled without importing either."""

from __future__ import annotations

import importlib.util
import os
import sys

VARIABLE = "AUTOML_PLUGINS_LIGHTNING"
PACKAGES = {"pytorch_lightning": "pytorch_lightning", "lightning": "lightning.pytorch"}


def _decide() -> str:
    wanted = os.environ.get(VARIABLE)
    if wanted:
        if wanted not in PACKAGES:
            raise ValueError(f"{VARIABLE} is one of {', '.join(PACKAGES)}; got {wanted!r}")
        if importlib.util.find_spec(wanted) is None:
            raise ImportError(f"{VARIABLE}={wanted}, but it is not installed: pip install {wanted.replace('_', '-')}")
        return wanted
    if "lightning.pytorch" in sys.modules and "pytorch_lightning" not in sys.modules:
        return "lightning"
    return "pytorch_lightning"


DISTRIBUTION = _decide()
"""The distribution in use: `pytorch_lightning` or `lightning`."""
PACKAGE = PACKAGES[DISTRIBUTION]
"""Its package: `pytorch_lightning` or `lightning.pytorch`."""
