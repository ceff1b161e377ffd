"""Going on when the primary of a store changes: which errors pass by themselves, and trying again until they have."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

GIVE_UP_SECONDS = 20.0
"""Longer than a failover of the database takes (a power cut is noticed after some seconds), shorter than nginx waits (60 s)."""

_TRANSIENT_CLASSES = ("08", "57P", "53300", "25006", "40001", "40P01")
"""SQLSTATEs: connection lost; shutting down or not yet up; too many connections; not the primary any more; lost against others."""


def is_transient(error: BaseException) -> bool:
    """Whether the same operation can succeed a moment later, judged by the error and what caused it."""
    return any(_is_transient(cause) for cause in _causes(error))


async def persistently(operation: Callable[[], Awaitable[T]], give_up_seconds: float = GIVE_UP_SECONDS) -> T:
    """The result of `operation`, which is tried again while it fails transiently. It must be safe to do twice.

    Raises:
        Exception: what `operation` raised last, when it is not transient or the time is up.
    """
    deadline = time.monotonic() + give_up_seconds
    pause = 0.05
    while True:
        try:
            return await operation()
        except Exception as error:
            if not is_transient(error) or time.monotonic() + pause > deadline:
                raise
        # A random part, so that all workers do not come back at the same instant.
        await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 (not for secrecy)
        pause = min(pause * 2, 1.0)


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, OSError | TimeoutError):
        return True
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        return state.startswith(_TRANSIENT_CLASSES)
    # SQLAlchemy marks errors after which the connection is gone, also those that the server never sent.
    return bool(getattr(error, "connection_invalidated", False))


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        cause = waiting.pop()
        if cause is not None and cause not in seen:
            seen.append(cause)
            yield cause
            waiting += [cause.__cause__, getattr(cause, "orig", None)]
