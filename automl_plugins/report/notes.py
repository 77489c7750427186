"""Lines that a study says beside its progress."""

from __future__ import annotations

from rich.console import Console


def tell(line: str) -> None:
    """Write one line to standard error."""
    Console(stderr=True, soft_wrap=True).print(f"study: {line}", highlight=False, markup=False)
