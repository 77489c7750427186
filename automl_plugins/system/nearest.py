"""The valid name nearest to one that was mistyped."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_MOST = 50
"""The number of valid names that a message lists."""


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name that looks most like `name`, or None where nothing does."""
    lowered = {candidate.lower(): candidate for candidate in valid}
    matches = get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    # A part of a name (`TPE` of `TPESampler`) is too short to look like the whole.
    matches += [candidate for candidate in lowered if name and name.lower() in candidate]
    return lowered[matches[0]] if matches else None


def did_you_mean(name: object, valid: Iterable[str]) -> str:
    """The end of an error message: the nearest valid name, else all of them, or the first of very many.

    Args:
        name: as somebody gave it, which may be no text at all.
        valid: the names that there are.
    """
    names = sorted(valid)
    match = nearest(str(name), names)
    if match is not None:
        return f"did you mean {match!r}?"
    if not names:
        return "there is none to choose from"
    rest = len(names) - _MOST
    return f"valid: {', '.join(names[:_MOST])}" + (f", and {rest:,} more" if rest > 0 else "")
