"""A small application as the plans describe one: rows in PostgreSQL, a cache in Redis, images in object storage, a WebSocket.

It shows what an application must do itself, so that a failover of a store is a slow request and not a lost one.
"""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

from failover import persistently
from fastapi import FastAPI, Header, HTTPException, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from redis.exceptions import RedisError
from sqlalchemy import text
from stores import engine, redis, transaction
from uploads import presigned_url

HEALTH_SECONDS = 3.0
CACHE_SECONDS = 60
UPLOAD_SECONDS = 300


class Note(BaseModel):
    """What a visitor writes down."""

    text: str = Field(max_length=10_000)


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await engine.dispose()
    if redis is not None:
        await redis.aclose()


app = FastAPI(title="Notes", lifespan=_lifespan)


@app.get("/health")
async def health() -> JSONResponse:
    """200 when every store answers; else 503 and which one does not."""
    asked: dict[str, Awaitable[Any]] = {"database": _ask_database()}
    if redis is not None:
        asked["redis"] = redis.ping()
    results = await asyncio.gather(*(asyncio.wait_for(check, HEALTH_SECONDS) for check in asked.values()), return_exceptions=True)
    states = {name: "failing" if isinstance(result, BaseException) else "ok" for name, result in zip(asked, results, strict=True)}
    return JSONResponse(states, status_code=200 if set(states.values()) == {"ok"} else 503)


@app.post("/notes", status_code=201)
async def write(note: Note, idempotency_key: Annotated[uuid.UUID | None, Header()] = None) -> dict[str, Any]:
    """Keep a note. The same key gives the same note, however often it is sent: by us after a failover, or by the client."""
    key = idempotency_key or uuid.uuid4()

    async def insert() -> None:
        async with transaction() as connection:
            await connection.execute(
                text("INSERT INTO notes (id, text) VALUES (:id, :text) ON CONFLICT (id) DO NOTHING"), {"id": key, "text": note.text}
            )

    await persistently(insert)
    return {"id": str(key), "text": note.text}


@app.get("/notes/{key}")
async def read(key: uuid.UUID) -> dict[str, Any]:
    """A note, from the cache where it is there. Redis is a help: without it, or while it fails, everything comes from the database."""
    if (cached := await _cached(f"note:{key}")) is not None:
        return {"id": str(key), "text": cached}

    async def select() -> str | None:
        async with transaction() as connection:
            return await connection.scalar(text("SELECT text FROM notes WHERE id = :id"), {"id": key})

    found = await persistently(select)
    if found is None:
        raise HTTPException(404, "no such note")
    await _cache(f"note:{key}", found)
    return {"id": str(key), "text": found}


@app.post("/images")
async def upload() -> dict[str, str]:
    """An address to which the browser may PUT one image, so that no image passes through this server."""
    if "S3_BUCKET" not in os.environ:
        raise HTTPException(501, "no bucket for images is configured")
    url = f"{os.environ['AWS_ENDPOINT_URL_S3']}/{os.environ['S3_BUCKET']}/{uuid.uuid4()}"
    signed = presigned_url(
        "PUT",
        url,
        key_id=os.environ["AWS_ACCESS_KEY_ID"],
        key_secret=os.environ["AWS_SECRET_ACCESS_KEY"],
        region=os.environ["AWS_REGION"],
        now=datetime.now(UTC),
        valid_seconds=UPLOAD_SECONDS,
    )
    return {"put": signed}


@app.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    """Every text comes back."""
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        pass


async def _ask_database() -> None:
    async with transaction() as connection:
        await connection.execute(text("SELECT 1"))


async def _cached(key: str) -> str | None:
    if redis is None:
        return None
    try:
        found: str | None = await redis.get(key)
    except RedisError:
        return None
    return found


async def _cache(key: str, value: str) -> None:
    if redis is None:
        return
    try:
        await redis.set(key, value, ex=CACHE_SECONDS)
    except RedisError:
        return
