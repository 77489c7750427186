"""The errors that users catch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class StudyError(RuntimeError):
    """A study that cannot go on; what it has found so far is kept."""


class FormatError(StudyError, ValueError):
    """A file of a run that another version wrote, and this one does not read."""


class WeightsError(StudyError):
    """Pretrained weights that cannot be had, or do not fit: the same for every network that would begin with them."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, heard as Ctrl-C is: what runs is ended in good order."""


class LimitError(ValueError):
    """An architecture whose network would cost more than limits allow, or limits that admit none."""


class ParameterCapError(LimitError):
    """The same, of the limit of parameters."""


class DivergedError(RuntimeError):
    """A value that is not finite, where only a finite one means anything: a search has diverged.

    Args:
        reason: the value that is not a number, and where it was met.
        message: the reason, with what follows from it and what may be done.
        epochs: how many had ended before it.
        kept: the architectures found by then, by the name of the searchable; the logits are put back to them.
    """

    def __init__(self, reason: str, message: str, epochs: int = 0, kept: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.reason, self.epochs, self.kept = reason, epochs, dict(kept or {})
