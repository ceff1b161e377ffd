"""Writers count what was acknowledged, and send what was not again under the same key."""

import json
import ssl
import sys
import threading
from collections.abc import Iterator
from http.client import RemoteDisconnected

import pytest

from rungway.rehearsal import traffic
from rungway.rehearsal.traffic import Order, Outcome, Writers

Answer = int | type[Exception]


class _FrontDoor:
    """Answers as it is told, then 201 to everything. Stands for the connection and for its answers."""

    def __init__(self, answers: list[Answer]) -> None:
        self._answers: Iterator[Answer] = iter(answers)
        self.ended = threading.Event()
        self.keys: list[str] = []
        self.connections = 0
        self.status = 0

    def connect(self) -> "_FrontDoor":
        self.connections += 1
        return self

    def request(self, method: str, path: str, body: str, headers: dict[str, str]) -> None:
        assert (method, path, json.loads(body)) == ("POST", "/notes", {"text": headers["Idempotency-Key"]})
        self.keys.append(headers["Idempotency-Key"])
        answer = next(self._answers, None)
        if answer is None:
            self.ended.set()
        if isinstance(answer, type):
            raise answer
        self.status = answer or 201

    def getresponse(self) -> "_FrontDoor":
        return self

    def read(self) -> bytes:
        return b""


class _Input:
    """Ends when the door has given all its answers."""

    def __init__(self, door: _FrontDoor) -> None:
        self._ended = door.ended

    def read(self) -> str:
        self._ended.wait(10)
        return ""


def _outcome(monkeypatch: pytest.MonkeyPatch, door: _FrontDoor, seconds: float = 10.0) -> Outcome:
    monkeypatch.setattr(traffic, "PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(ssl, "create_default_context", lambda **_: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    monkeypatch.setattr(sys, "stdin", _Input(door))
    writers = Writers(Order("api.example.test", "192.0.2.1", "authority.crt", writers=1, seconds=seconds))
    monkeypatch.setattr(writers, "_connect", door.connect)
    return writers.run()


def test_a_note_is_sent_under_one_key_until_it_is_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    door = _FrontDoor([201, 503, ConnectionResetError, RemoteDisconnected, 201, 201])

    outcome = _outcome(monkeypatch, door)

    first, second, *again, third = door.keys[:6]
    assert again == [second] * 3
    assert len({first, second, third}) == 3
    assert outcome.acknowledged[:3] == [first, second, third]
    assert outcome.errors == 3


def test_a_broken_connection_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    door = _FrontDoor([201, ConnectionResetError, 201, 500, 201])

    _outcome(monkeypatch, door)

    assert door.connections == 2


def test_the_gap_reaches_to_the_end_when_nothing_is_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = _outcome(monkeypatch, _FrontDoor([503] * 1_000_000), seconds=0.05)

    assert outcome.acknowledged == []
    assert outcome.errors > 0
    assert outcome.longest_gap_ms >= 50
    assert outcome.latency_p95_ms == 0
