"""The people outside: requests through the front door, and writers that notice every gap and every lost row."""

import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from rungway.errors import RungwayError
from rungway.rehearsal.network import VISITOR
from rungway.rehearsal.phase import RehearsedPhase
from rungway.rehearsal.server import RehearsedServer
from rungway.rehearsal.traffic import Order, Outcome

WRITERS = 4
LONGEST_SECONDS = 240.0
WARM_UP_SECONDS = 3.0
"""How long writers write before and after whatever is tried, so that there is something to compare with."""


class FrontDoor:
    """The public name of the application, seen from where Cloudflare stands, with the certificates that it trusts."""

    def __init__(self, phase: RehearsedPhase) -> None:
        self._phase = phase
        self.name, self.address = next(iter(phase.public_names().items()))
        self.authority_file = phase.directory / "authorities.crt"
        self.cloudflare_file = phase.directory / "cloudflare-authority.crt"
        self.acme_authority_file = phase.directory / "acme-authority.crt"

    def trust(self) -> None:
        """Trust this rehearsal's Cloudflare and its ACME authority, as Cloudflare's strict mode does."""
        assert self._phase.outside is not None  # noqa: S101 (the phase is prepared)
        texts = {
            self.cloudflare_file: self._phase.cloudflare.certificate.decode(),
            self.acme_authority_file: self._phase.outside.acme_authority(),
        }
        for file, text in texts.items():
            file.write_text(text)
        self.authority_file.write_text("".join(texts.values()))

    def request(self, path: str, *options: str, scheme: str = "https") -> tuple[int, str]:
        """One request with curl, as a visitor. Returns curl's exit code and the answer's status, version and body."""
        resolved = [f"{self.name}:{port}:{self.address}" for port in (80, 443)]
        command = ["ip", "netns", "exec", self._phase.network.outside, "curl", "--silent", "--show-error", "--max-time", "15"]
        command += ["--interface", VISITOR, "--cacert", str(self.authority_file), "--write-out", "\n%{http_code} %{http_version}"]
        for resolve in resolved:
            command += ["--resolve", resolve]
        done = subprocess.run([*command, *options, f"{scheme}://{self.name}{path}"], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout if done.returncode == 0 else done.stderr

    def wait_until_served(self, seconds: float) -> float:
        """Wait until the application answers that it is healthy; returns how long it took, in seconds.

        Raises:
            RungwayError: it does not within `seconds`.
        """
        began = time.monotonic()
        said = ""
        while time.monotonic() - began < seconds:
            code, said = self.request("/health")
            if code == 0 and said.rsplit("\n", 1)[-1].startswith("200"):
                return time.monotonic() - began
            time.sleep(0.1)
        raise RungwayError(f"rehearsal: {self.name} is not healthy after {seconds:.0f} s: {said.strip()[:300]}")


class Writing:
    """Writers at work while the `with` block runs; `outcome` afterwards says what was acknowledged and how long nothing was."""

    def __init__(self, phase: RehearsedPhase, door: FrontDoor) -> None:
        self._phase = phase
        self._order = Order(door.name, door.address, str(door.authority_file), WRITERS, LONGEST_SECONDS)
        self.outcome = Outcome([], 0, 0, 0)

    def __enter__(self) -> "Writing":
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", self._phase.network.outside, sys.executable, "-m", "rungway.rehearsal.traffic"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).resolve().parents[2],
        )
        assert self._process.stdin is not None  # noqa: S101 (a pipe)
        self._process.stdin.write(json.dumps(asdict(self._order)) + "\n")
        self._process.stdin.flush()
        time.sleep(WARM_UP_SECONDS)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            time.sleep(WARM_UP_SECONDS)
        said, _ = self._process.communicate(timeout=LONGEST_SECONDS)
        if kind is None:
            self.outcome = Outcome(**json.loads(said))

    def lost(self, primary: RehearsedServer) -> int:
        """How many acknowledged notes the database does not have."""
        keys = "{" + ",".join(self.outcome.acknowledged) + "}"
        found = sql(
            primary,
            "application",
            f"SELECT count(*) FROM unnest('{keys}'::uuid[]) AS key WHERE NOT EXISTS (SELECT FROM notes WHERE id = key)",  # noqa: S608 (our own UUIDs)
        )
        return int(found)


def sql(server: RehearsedServer, database: str, statement: str) -> str:
    """The answer of PostgreSQL on `server` to its superuser.

    Raises:
        RungwayError: no answer, or an error.
    """
    code, said = server.run(f"runuser -u postgres -- psql -XqAt -v ON_ERROR_STOP=1 {database}", stdin=statement)
    if code:
        raise RungwayError(f"rehearsal: {server.host.name}: psql: {said.strip()[-300:]}")
    return said.strip()


def database_primary(phase: RehearsedPhase, seconds: float = 30) -> RehearsedServer:
    """The server whose PostgreSQL takes writes now.

    Raises:
        RungwayError: none does within `seconds`.
    """
    candidates = [server for server in phase.servers.values() if server.host.postgresql]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for server in candidates:
            try:
                if sql(server, "postgres", "SELECT pg_is_in_recovery()") == "f":
                    return server
            except RungwayError:
                continue
        time.sleep(0.2)
    raise RungwayError(f"rehearsal: none of {', '.join(server.host.name for server in candidates)} is a primary")
