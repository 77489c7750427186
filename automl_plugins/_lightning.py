"""Which of the two Lightning distributions this process uses: `pytorch_lightning` or `lightning`.

They are separate class trees, so a Trainer of one refuses a module of the other. All of our code
takes Lightning from here: the one that the project has imported already, else
`pytorch_lightning`; the environment variable `AUTOML_PLUGINS_LIGHTNING` settles it by name.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytorch_lightning as pl

VARIABLE = "AUTOML_PLUGINS_LIGHTNING"
_PACKAGES = {"pytorch_lightning": "pytorch_lightning", "lightning": "lightning.pytorch"}


def _decide() -> str:
    wanted = os.environ.get(VARIABLE)
    if wanted:
        if wanted not in _PACKAGES:
            raise ValueError(f"{VARIABLE} is one of {', '.join(_PACKAGES)}; got {wanted!r}")
        if importlib.util.find_spec(wanted) is None:
            raise ImportError(f"{VARIABLE}={wanted}, but it is not installed: pip install {wanted.replace('_', '-')}")
        return wanted
    if "lightning.pytorch" in sys.modules and "pytorch_lightning" not in sys.modules:
        return "lightning"
    return "pytorch_lightning"


DISTRIBUTION = _decide()
"""The distribution in use: `pytorch_lightning` or `lightning`."""

if not TYPE_CHECKING:
    pl = importlib.import_module(_PACKAGES[DISTRIBUTION])


def check_distribution(thing: object) -> None:
    """Refuse a Lightning module, datamodule or Trainer that belongs to the other distribution.

    Raises:
        TypeError: it does; the message says how to bring both together.
    """
    other = next(name for name in _PACKAGES if name != DISTRIBUTION)
    origins = {ancestor.__module__.partition(".")[0] for ancestor in type(thing).__mro__}
    if other in origins and DISTRIBUTION not in origins:
        raise TypeError(
            f"{type(thing).__name__} is built on `{_PACKAGES[other]}`, but automl-plugins runs on "
            f"`{_PACKAGES[DISTRIBUTION]}`, and the two do not mix. Set {VARIABLE}={other}, or import "
            f"Lightning from `{_PACKAGES[DISTRIBUTION]}` in that class too"
        )


__all__ = ["DISTRIBUTION", "check_distribution", "pl"]
