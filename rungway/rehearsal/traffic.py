"""Writes notes to the application through its front door, one after the other, and remembers which were acknowledged.

Run as a program, in the network of the visitors: `python -m rungway.rehearsal.traffic` reads its order from standard input as JSON and
writes until standard input ends, or until its time is up. Then it prints what happened. A request that fails is sent again with the same
idempotency key, as a browser with a queue would.
"""

import itertools
import json
import socket
import ssl
import sys
import threading
import time
import uuid
from dataclasses import asdict, dataclass
from http.client import HTTPException, HTTPSConnection

ATTEMPT_SECONDS = 5.0
"""How long a writer waits for an answer before it sends the same note again."""
PAUSE_SECONDS = 0.1
"""Between two notes of one writer: together they stay below the rate that nginx allows one address."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to do: `writers` threads send to `host` at `address`, whose certificate `authority_file` vouches for, for `seconds` at most."""

    host: str
    address: str
    authority_file: str
    writers: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened: keys of the acknowledged notes, answers that were errors, and the longest time without any acknowledgement, in ms."""

    acknowledged: list[str]
    errors: int
    longest_gap_ms: int
    latency_p95_ms: int


class Writers:
    """Threads that write notes until they are told to stop."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._context = ssl.create_default_context(cafile=order.authority_file)
        # As Python does by itself from 3.13 on.
        self._context.verify_flags |= ssl.VERIFY_X509_STRICT
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._times: list[float] = []
        self._latencies: list[float] = []
        self._keys: list[str] = []
        self._errors = 0

    def run(self) -> Outcome:
        """Write until standard input ends or the time is up."""
        began = time.monotonic()
        threads = [threading.Thread(target=self._write, daemon=True) for _ in range(self._order.writers)]
        for thread in threads:
            thread.start()
        threading.Thread(target=self._await_end_of_input, daemon=True).start()
        self._stop.wait(self._order.seconds)
        self._stop.set()
        for thread in threads:
            thread.join(ATTEMPT_SECONDS)
        ended = time.monotonic()
        moments = [began, *sorted(self._times), ended]
        gap = max(after - before for before, after in itertools.pairwise(moments))
        latencies = sorted(self._latencies) or [0.0]
        return Outcome(self._keys, self._errors, round(gap * 1000), round(latencies[int(len(latencies) * 0.95)] * 1000))

    def _await_end_of_input(self) -> None:
        sys.stdin.read()
        self._stop.set()

    def _write(self) -> None:
        connection: HTTPSConnection | None = None
        key = str(uuid.uuid4())
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                connection = connection or self._connect()
                connection.request(
                    "POST", "/notes", json.dumps({"text": key}), {"Content-Type": "application/json", "Idempotency-Key": key}
                )
                answer = connection.getresponse()
                answer.read()
            except (OSError, HTTPException):
                connection = None
                self._failed()
                continue
            if answer.status != 201:
                self._failed()
                continue
            with self._lock:
                self._keys.append(key)
                self._times.append(time.monotonic())
                self._latencies.append(time.monotonic() - began)
            key = str(uuid.uuid4())
            time.sleep(PAUSE_SECONDS)

    def _failed(self) -> None:
        with self._lock:
            self._errors += 1
        time.sleep(PAUSE_SECONDS)

    def _connect(self) -> HTTPSConnection:
        """A connection to the address, with the certificate checked against the public name."""
        order = self._order

        class Connection(HTTPSConnection):
            def connect(self) -> None:
                plain = socket.create_connection((order.address, 443), timeout=ATTEMPT_SECONDS)
                self.sock = context.wrap_socket(plain, server_hostname=order.host)

        context = self._context
        return Connection(order.host, timeout=ATTEMPT_SECONDS, context=context)


if __name__ == "__main__":
    outcome = Writers(Order(**json.loads(sys.stdin.readline()))).run()
    sys.stdout.write(json.dumps(asdict(outcome)) + "\n")
