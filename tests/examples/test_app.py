"""The example application, as far as it needs no packages of its own: what it tries again, and what it signs."""

import asyncio
import importlib.util
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest

from hosts.configuration import HostFile
from tests.support.debian_root import DebianRoot

APP = Path(__file__).parents[2] / "examples" / "app"


def _module(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"example_{name}", APP / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


failover = _module("failover")
uploads = _module("uploads")


class _DatabaseError(Exception):
    def __init__(self, sqlstate: str = "", *, orig: Exception | None = None, connection_invalidated: bool = False) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate or None
        self.orig = orig
        self.connection_invalidated = connection_invalidated


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (_DatabaseError("57P01"), True),
        (_DatabaseError("08006"), True),
        (_DatabaseError("25006"), True),
        (_DatabaseError(orig=_DatabaseError("57P03")), True),
        (_DatabaseError(connection_invalidated=True), True),
        (_DatabaseError("23505"), False),
        (_DatabaseError("42P01"), False),
        (ValueError(), False),
    ],
)
def test_only_what_a_failover_causes_is_tried_again(error: Exception, transient: bool) -> None:
    assert failover.is_transient(error) is transient


def test_the_cause_of_an_error_counts_too() -> None:
    error = RuntimeError()
    error.__cause__ = ConnectionRefusedError()

    assert failover.is_transient(error)


async def _at_once(_: float) -> None:
    return None


def _persistently(errors: list[Exception], give_up_seconds: float, monkeypatch: pytest.MonkeyPatch) -> tuple[str, int]:
    calls = 0
    monkeypatch.setattr(failover.asyncio, "sleep", _at_once)

    async def operation() -> str:
        nonlocal calls
        calls += 1
        if errors:
            raise errors.pop(0)
        return "done"

    return asyncio.run(failover.persistently(operation, give_up_seconds)), calls


def test_a_write_survives_a_failover(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _persistently([ConnectionResetError(), _DatabaseError("25006")], 20, monkeypatch) == ("done", 3)


def test_another_error_is_raised_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[Exception] = [_DatabaseError("23505"), _DatabaseError("23505")]

    with pytest.raises(_DatabaseError):
        _persistently(errors, 20, monkeypatch)
    assert len(errors) == 1


def test_when_the_time_is_up_the_last_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConnectionResetError):
        _persistently([ConnectionResetError()], 0, monkeypatch)


def test_the_signature_is_that_of_the_published_example() -> None:
    """Amazon S3 API Reference, "Authenticating Requests: Using Query Parameters", example of a presigned URL."""
    url = uploads.presigned_url(
        "GET",
        "https://examplebucket.s3.amazonaws.com/test.txt",
        key_id="AKIAIOSFODNN7EXAMPLE",
        key_secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        region="us-east-1",
        now=datetime(2013, 5, 24, tzinfo=UTC),
        valid_seconds=86_400,
    )

    assert url.endswith("&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")


def test_every_package_is_pinned_and_every_module_that_is_imported_is_one() -> None:
    lines = [line for line in (APP / "requirements.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z]+==[0-9.]+", line) for line in lines)
    pinned = {line.partition("==")[0] for line in lines}
    own = {path.stem for path in APP.glob("*.py")}

    imported = {
        match[1] for path in APP.glob("*.py") for match in re.finditer(r"^(?:from|import) ([a-z_]+)", path.read_text(), re.MULTILINE)
    }
    # FastAPI brings pydantic.
    assert imported - own - set(sys.stdlib_module_names) - {"pydantic"} <= pinned


@pytest.mark.parametrize(("redis_url", "found"), [("", "None"), ("REDIS_URL=redis://127.0.0.1:6379/0", "Redis")])
def test_it_starts_in_a_phase_without_redis_too(debian_root: DebianRoot, redis_url: str, found: str) -> None:
    files = [HostFile(path=f"/srv/application/{path.name}", content=path.read_text()) for path in APP.glob("*.py")]
    answer = debian_root.try_script(
        files,
        f"cd /srv/application; {redis_url} DATABASE_URL=postgresql://127.0.0.1/application "
        "python3 -c 'import main, stores; print(stores.redis)'",
    )

    assert answer.code == 0, answer.said
    assert found in answer.said
