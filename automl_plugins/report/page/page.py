"""The page: sections of texts, tables and drawings, written as one file of HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

MARKER = "<!-- automl-plugins report -->"
"""A line of every page, by which one of ours is known."""


@dataclass(frozen=True)
class Text:
    """Sentences: one is a paragraph, several are a list.

    Args:
        lines: the sentences.
    """

    kind: ClassVar[str] = "text"
    lines: Sequence[str]


@dataclass(frozen=True)
class Code:
    """Text as it stands, such as a configuration.

    Args:
        text: of any number of lines.
        title: it is folded under this; "": it is shown.
    """

    kind: ClassVar[str] = "code"
    text: str
    title: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        columns: their titles.
        rows: cells, as many as there are columns.
        caption: what it shows.
        numbers: the columns of numbers, which stand to the right.
        best: the row that is marked; None: none is.
    """

    kind: ClassVar[str] = "table"
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    numbers: Sequence[int] = ()
    best: int | None = None

    def is_number(self, column: int) -> bool:
        """True where a column has numbers."""
        return column in self.numbers


@dataclass(frozen=True)
class Drawing:
    """A drawing.

    Args:
        svg: made by `drawing.drawn`, with a text for those who do not see it.
        caption: what it shows.
        width: in pixels.
        is_wide: it has a row of its own, and keeps its size on a small screen, where it is scrolled.
    """

    svg: Markup
    caption: str
    width: int
    is_wide: bool = False


@dataclass(frozen=True)
class Drawings:
    """Drawings side by side where there is room.

    Args:
        drawings: the drawings.
        title: they are folded under this; "": they are shown.
    """

    kind: ClassVar[str] = "drawings"
    drawings: Sequence[Drawing]
    title: str = ""


Block = Text | Code | Table | Drawings


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Args:
        title: of the part.
        blocks: what it has.
    """

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A page.

    Args:
        title: of the page.
        subtitle: what it is about.
        sections: its parts; those without blocks are left out.
        verdict: what stands on top.
        notices: what a reader must know before: the run has not ended, say.
        footer: what it was made with.
    """

    title: str
    subtitle: str
    sections: Sequence[Section]
    verdict: Sequence[str] = field(default_factory=list)
    notices: Sequence[str] = field(default_factory=list)
    footer: str = ""

    def html(self) -> str:
        """The page as HTML; all texts are escaped."""
        environment = _environment()
        source = environment.loader.get_source(environment, "page.css")[0] if environment.loader else ""
        css, marker = Markup(source), Markup(MARKER)  # noqa: S704 - files of this package
        return _printable(environment.get_template("page.html").render(page=self._whole(), css=css, marker=marker))

    def _whole(self) -> Page:
        sections = [section for section in self.sections if section.blocks]
        return Page(self.title, self.subtitle, sections, self.verdict, self.notices, self.footer)


def fragment(blocks: Sequence[Block]) -> str:
    """Blocks as a piece of HTML for a notebook, in the colours of paper whatever its theme is."""
    style = "background:#fff;color:#1b1f24;padding:.5em;--paper:#fff;--faint:#d0d7de;--muted:#57606a"
    inner = _printable(_environment().get_template("blocks.html").render(blocks=blocks))
    return f'<div style="{style}">{inner}</div>'


def _environment() -> Environment:
    loader = PackageLoader("automl_plugins.report.page", package_path=".")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _printable(text: str) -> str:
    """The text without control characters, which HTML has no place for, and halves of characters."""
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(each for each in whole if each.isprintable() or each in "\n\t")
