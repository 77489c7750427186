"""Drawings by matplotlib as SVG within the page, in the colours of its theme."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from markupsafe import Markup

from automl_plugins.report.page.page import Drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 3.8, 2.9
"""Inches of a drawing that a small screen shows whole."""
COLORS = ("#3987e0", "#e0861a", "#37a05c", "#a563d6", "#d9534f", "#8c7a55")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))
_THEME = {"#000000": "currentColor", "#ffffff": "var(--paper)", "#d9d9d9": "var(--faint)", "#4d4d4d": "var(--muted)"}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "savefig.transparent": True,
    "figure.max_open_warning": 0,
}
_ABSENT = "drawings need matplotlib, which is not installed: pip install 'automl-plugins[report]'"
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


def new_axes(width: float = WIDTH, height: float = HEIGHT) -> tuple[Figure, Axes]:
    """A figure of so many inches, with one drawing in it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def check_drawing() -> None:
    """Refuse to draw without matplotlib.

    Raises:
        ImportError: it is not installed; the message says how to.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError(_ABSENT) from error


def drawn(make: Callable[[], Figure], caption: str, alt: str = "", is_wide: bool = False) -> Drawing:
    """The drawing of a figure.

    Args:
        make: makes the figure, in the page's style.
        caption: what it shows.
        alt: what it says, for those who do not see it; the caption where left out.
        is_wide: see `Drawing`.
    """
    with _style(caption):
        figure = make()
        return Drawing(inline_svg(figure, alt or caption), caption, round(96 * figure.get_size_inches()[0]), is_wide)


@contextmanager
def _style(name: str) -> Iterator[None]:
    import matplotlib as mpl

    # The names of an SVG's clip paths are hashes, of which those of two drawings in one page must not be alike.
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of glyphs that its own font lacks, and the reader's may have
        yield


def inline_svg(figure: Figure, alt: str) -> Markup:
    """A figure as an `<svg>` element for HTML, without names of its own that another one could have, or addresses.

    Args:
        figure: of matplotlib.
        alt: what it says, for those who do not see it.
    """
    texts: list[Any] = figure.findobj(match=lambda each: hasattr(each, "get_text"))
    for text in texts:
        text.set_text(_NOT_XML.sub(" ", text.get_text()))
    target = io.BytesIO()
    figure.savefig(target, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(target.getvalue())  # noqa: S314 - matplotlib has written it a line before
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith("}metadata"):
                parent.remove(child)
    used = set(re.findall(r"#([\w-]+)", target.getvalue().decode()))
    for element in root.iter():
        _make_plain(element, used)
    root.set("role", "img")
    root.set("aria-label", _NOT_XML.sub(" ", alt))
    width, height = (float(root.attrib.pop(side).removesuffix("pt")) * 4 / 3 for side in ("width", "height"))
    root.set("width", f"{width:.0f}")
    root.set("height", f"{height:.0f}")
    return Markup(ElementTree.tostring(root, encoding="unicode", method="html"))  # noqa: S704 - texts are escaped


def _make_plain(element: ElementTree.Element, used: set[str]) -> None:
    """Make an element one of HTML: no namespaces, no names that nothing asks for, colours of the theme."""
    element.tag = element.tag.rpartition("}")[2]
    for name in list(element.attrib):
        value = element.attrib.pop(name)
        if name != "id" or value in used:
            element.attrib[name.rpartition("}")[2]] = value
    style = element.get("style")
    if style is not None:
        element.set("style", re.sub("#[0-9a-f]{6}", lambda found: _THEME.get(found[0], found[0]), style))
