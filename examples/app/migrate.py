"""Brings the database to what this version needs. Several servers may run it at once: the first one does it, the others wait."""

import asyncio

from failover import persistently
from sqlalchemy import text
from stores import engine, transaction

_LOCK = 7_230_175
"""Any number: all runs of this program take the same lock, and it ends with the transaction, as PgBouncer needs it."""


async def _migrate() -> None:
    async with transaction() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        await connection.execute(
            text("CREATE TABLE IF NOT EXISTS notes (id uuid PRIMARY KEY, text text NOT NULL, at timestamptz NOT NULL DEFAULT now())")
        )


async def _main() -> None:
    await persistently(_migrate)
    await engine.dispose()


asyncio.run(_main())
