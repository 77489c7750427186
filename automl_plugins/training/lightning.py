"""The Lightning distribution that this process uses: `pytorch_lightning` or `lightning`.

They are separate class trees, so a Trainer of one refuses a module of the other. All of our code
takes Lightning from here: the one that the project has imported already, else
`pytorch_lightning`; the environment variable `AUTOML_PLUGINS_LIGHTNING` settles it by name.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from automl_plugins.training.distribution import DISTRIBUTION, PACKAGE, PACKAGES, VARIABLE

if TYPE_CHECKING:
    import pytorch_lightning as pl
else:
    pl = importlib.import_module(PACKAGE)


def check_distribution(thing: object) -> None:
    """Refuse a Lightning module, datamodule or Trainer that belongs to the other distribution.

    Raises:
        TypeError: it does; the message says how to bring both together.
    """
    other = next(name for name in PACKAGES if name != DISTRIBUTION)
    origins = {ancestor.__module__.partition(".")[0] for ancestor in type(thing).__mro__}
    if other in origins and DISTRIBUTION not in origins:
        raise TypeError(
            f"{type(thing).__name__} is built on `{PACKAGES[other]}`, but automl-plugins runs on "
            f"`{PACKAGE}`, and the two do not mix. Set {VARIABLE}={other}, or import "
            f"Lightning from `{PACKAGE}` in that class too"
        )


__all__ = ["DISTRIBUTION", "VARIABLE", "check_distribution", "pl"]
