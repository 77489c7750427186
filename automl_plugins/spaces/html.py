"""Small tables of HTML, as notebooks show them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_MOST_ROWS = 60


def small_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table under a title; every text is escaped, and of many rows the first are shown.

    Args:
        title: a sentence.
        columns: their titles.
        rows: cells, as many as there are columns.
    """
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    shown = ["".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows[:_MOST_ROWS]]
    body = "".join(f"<tr>{row}</tr>" for row in shown)
    rest = "" if len(rows) <= _MOST_ROWS else f"<p>… and {len(rows) - _MOST_ROWS:,} more</p>"
    return f"<div><p>{escape(title)}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}</div>"
