"""The learning rate of the logits, where none is given: the shorter a search, the higher."""

from __future__ import annotations

import math
from typing import Any

_DARTS = 3e-4
"""Of DARTS' logits (Liu et al. 2019, appendix A.1)."""
_REACH = 50 * 391 * _DARTS
"""The way that Adam can move DARTS' logits in its 50 epochs of 391 batches: 5.9."""
_MOST = 0.1


def rate_for(trainer: Any, warmup_epochs: int) -> float:
    """The rate with which logits can move as far as DARTS' own do, however many steps there are.

    Adam moves a logit by the rate in a step at most. With the published 3e-4, those of a search of 200 steps stay
    within 0.06 of where they began, and nothing is decided. At least 3e-4, which it also is where no end is known,
    and at most 0.1.

    Args:
        trainer: the Trainer; its optimizers are made.
        warmup_epochs: epochs in which only the weights learn.
    """
    steps = float(trainer.estimated_stepping_batches)
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        steps *= max(0.0, 1 - warmup_epochs / trainer.max_epochs)
    if not 0 < steps < math.inf:
        return _DARTS
    return min(_MOST, max(_DARTS, _REACH / steps))
