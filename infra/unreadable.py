"""A stand-in for settings that have a problem of their own, so that every other rule can still be asked about the rest."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")


class UnreadableError(Exception):
    """A rule asked for a value that could not be read."""


class _Unreadable:
    """Answers nothing: whatever looks at it ends with `UnreadableError`."""

    def _refuse(self, *_: Any) -> Any:
        raise UnreadableError

    __bool__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __hash__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refuse
    __len__ = __iter__ = __contains__ = __getitem__ = __str__ = __format__ = _refuse

    def __getattr__(self, name: str) -> Any:
        raise UnreadableError


UNREADABLE: Any = _Unreadable()
"""The value of every setting that could not be read; compare with `is`."""


def answered(problems: Iterable[Item]) -> Iterator[Item]:
    """What a rule says up to where it needs a value that could not be read: that value was told as a problem already."""
    try:
        yield from problems
    except UnreadableError:
        return
