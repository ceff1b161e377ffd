"""The application's database and Redis, as the environment names them."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

CONNECT_SECONDS = 3.0
COMMAND_SECONDS = 10.0
"""Nothing waits for a store that is gone: without these a connection to a server that lost its power hangs for minutes."""


async def _connect() -> asyncpg.Connection:
    # asyncpg reads sslmode and sslrootcert from the address itself. Its prepared statements work through PgBouncer in transaction
    # mode from version 1.21 on (max_prepared_statements).
    return await asyncpg.connect(os.environ["DATABASE_URL"], timeout=CONNECT_SECONDS, command_timeout=COMMAND_SECONDS)


engine = create_async_engine(
    "postgresql+asyncpg://",
    async_creator=_connect,
    pool_size=int(os.environ.get("DATABASE_POOL_SIZE", "5")),
    max_overflow=int(os.environ.get("DATABASE_MAX_OVERFLOW", "5")),
    pool_timeout=CONNECT_SECONDS,
    pool_recycle=int(os.environ.get("DATABASE_POOL_RECYCLE", "300")),
    pool_pre_ping=os.environ.get("DATABASE_POOL_PRE_PING", "true") == "true",
)


def _redis() -> Redis | None:
    """The cache, None in a phase that has no Redis."""
    if "REDIS_URL" not in os.environ:
        return None
    return Redis.from_url(
        os.environ["REDIS_URL"],
        decode_responses=True,
        socket_connect_timeout=2,
        socket_timeout=2,
        socket_keepalive=True,
        health_check_interval=15,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 3),
        retry_on_error=[RedisConnectionError, RedisTimeoutError, ReadOnlyError],
    )


redis = _redis()


@asynccontextmanager
async def transaction() -> AsyncIterator[AsyncConnection]:
    """A transaction on the primary. After any failure of it the connection is not used again: it may lead to a former primary."""
    async with engine.begin() as connection:
        try:
            yield connection
        except BaseException:
            await connection.invalidate()
            raise
