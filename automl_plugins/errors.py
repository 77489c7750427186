"""The errors that users catch."""

from __future__ import annotations


class StudyError(RuntimeError):
    """A study that cannot go on; what it has found so far is kept."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, heard as Ctrl-C is: what runs is ended in good order."""


class NotFiniteError(ValueError):
    """A value that is not finite, where only a finite one means anything: a search has diverged."""


class ParameterCapError(ValueError):
    """An architecture whose network would have more parameters than the space's cap allows."""
