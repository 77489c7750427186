"""The errors that users catch."""

from __future__ import annotations


class StudyError(RuntimeError):
    """A study that cannot go on; what it has found so far is kept."""
