"""Lines for people, the same byte for byte wherever the output is no terminal: 100 columns wide and without colour."""

import io
import sys
from collections.abc import Callable, Iterable

from rich.console import Console
from rich.text import Text

from rungway.model import Level

PIPED_WIDTH = 100
"""Columns when the output is no terminal."""

FINDINGS = (
    (Level.ERROR, "Errors", "bold red"),
    (Level.NOT_BUILT, "Not built yet", "bold magenta"),
    (Level.TO_SET, "To be set", "bold yellow"),
    (Level.WARNING, "Warnings", "bold yellow"),
    (Level.NOTE, "Notes", "bold blue"),
)
"""Findings in the order in which they are shown, the gravest first, with heading and style."""


def rendered(lines: Callable[[int], Iterable[Text]], terminal: bool | None, width: int | None) -> str:
    """The lines as one text, ending with a newline; `lines` gets the width in columns.

    `terminal` allows colour and the terminal's own width (None: whether standard output is one); NO_COLOR turns colour off again.
    `width` in columns overrides both widths.
    """
    if terminal is None:
        terminal = sys.stdout.isatty()
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        force_terminal=terminal,
        width=width if width is not None else None if terminal else PIPED_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=True,
        legacy_windows=False,
    )
    for line in lines(console.width):
        console.print(line)
    return buffer.getvalue()
