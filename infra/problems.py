"""Problems of a stack's settings, collected and told all at once."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

import pulumi


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where (`rungway:app.servers`), what was found, what is allowed, and what to do where that is not plain."""

    path: str
    found: str
    allowed: str
    action: str = ""

    def __str__(self) -> str:
        return f"{self.path}: found {self.found}; allowed: {self.allowed}{f'; {self.action}' if self.action else ''}"


class SettingsError(pulumi.RunError):
    """Settings that no stack can be built from. The text lists every problem; the engine prints it without a traceback."""

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.problems = tuple(dict.fromkeys(problems))
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        super().__init__("\n".join([f"{source}: {count} in the settings:", *(f"  - {problem}" for problem in self.problems)]))


def shown(value: object) -> str:
    """A value as a person wrote it, cut to a line."""
    text = f"'{value}'" if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def meant(word: str, known: Iterable[str]) -> str:
    """A question after the nearest of `known`, or an empty text."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean '{near[0]}'?" if near else ""
