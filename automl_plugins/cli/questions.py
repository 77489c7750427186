"""Questions in a terminal."""

from __future__ import annotations

from automl_plugins.cli.errors import UsageError


def answer(question: str, default: str | None = None) -> str:
    """The answer to a question, on one line.

    Args:
        question: without its colon.
        default: the answer of one who gives none; None: one has to be given.

    Raises:
        UsageError: the input has ended.
    """
    from rich.prompt import Prompt

    try:
        while True:
            text = str(Prompt.ask(question, default=default or "", show_default=bool(default))).strip()
            if text or default is not None:
                return text
    except EOFError:
        raise UsageError(f"{question}: nobody answered; give flags, see --help") from None
