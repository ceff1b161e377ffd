"""Problems of a stack's settings, collected and told all at once."""

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile

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


_NEAR_ENOUGH = 0.6
"""Similarity from which a word is taken for a slip of another (the default of difflib.get_close_matches)."""


def shown(value: object) -> str:
    """A value as a person wrote it, cut to a line."""
    if value is None:
        return "nothing"
    text = f"'{value}'" if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return printable(text if len(text) <= 80 else f"{text[:77]}…")


def printable(text: str) -> str:
    """`text` with everything that no terminal can show written as an escape."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text)


def meant(word: str, known: Iterable[str]) -> str:
    """A question after the nearest of `known`, or an empty text."""
    near = nearest(word, known)
    return f"did you mean '{near}'?" if near else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """The one of `known` that `word` most likely stands for, or an empty text."""
    # Not difflib.get_close_matches, which takes the last of the alphabet among equals; here it is the one that starts alike.
    scores = {item: (difflib.SequenceMatcher(None, item, word).ratio(), _common_start(item, word)) for item in known}
    best = max(scores, key=scores.__getitem__, default="")
    return best if scores.get(best, (0, 0))[0] >= _NEAR_ENOUGH else ""


def _common_start(first: str, second: str) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))
