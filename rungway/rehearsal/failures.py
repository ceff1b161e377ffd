"""What can go wrong, done to a phase while people write: power cuts, reboots, a full disk, a slow network. Each says what it cost."""

import dataclasses
import json
import re
import time
from collections.abc import Callable, Iterator

from hosts.services.nginx import PRIVATE_PORT
from rungway.errors import RungwayError
from rungway.rehearsal.phase import RehearsedPhase
from rungway.rehearsal.regions import copies_follow, rows_in_other_regions
from rungway.rehearsal.report import Check, skipped
from rungway.rehearsal.server import RehearsedServer
from rungway.rehearsal.visitors import FrontDoor, Writing, database_primary, sql

BACK_SECONDS = 180
"""The longest that a server may take until it serves again after whatever happened to it."""
FAILOVER_SECONDS = 30
"""Patroni's and Sentinel's own limits are below this; see hosts/services/patroni.py and sentinel.py."""
SLOW_RATE = "2mbit"
_ROWS_OF_ALL_TABLES = """(
    SELECT sum((xpath('//rows/text()', query_to_xml(query, false, true, '')))[1]::text::int)
    FROM (SELECT format('SELECT count(*) AS rows FROM %I.%I', schemaname, relname) AS query FROM pg_stat_user_tables) AS counted)"""
"""SQL: what a drill counts, in one snapshot."""


def reading_and_writing(phase: RehearsedPhase, door: FrontDoor) -> Iterator[Check]:
    """The front door: TLS with a certificate that visitors trust, HTTP redirected, a note written and read again."""
    del phase
    code, said = door.request("/health")
    yield Check("health through the front door, with TLS", code == 0 and "200" in said.rsplit("\n", 1)[-1], note=said.strip()[-120:])
    code, said = door.request("/health", "--http2")
    yield Check("HTTP/2", said.strip().endswith("200 2"))
    code, said = door.request("/notes", scheme="http")
    yield Check("HTTP is redirected to HTTPS", said.rsplit("\n", 1)[-1].split(" ")[0] in ("301", "308"))
    code, said = door.request("/notes", "--json", '{"text": "first"}')
    key = said.split('"id":"', 1)[-1].split('"', 1)[0]
    code, said = door.request(f"/notes/{key}")
    yield Check("a note written and read", code == 0 and '"first"' in said)


def reading_in_other_regions(phase: RehearsedPhase, door: FrontDoor) -> Iterator[Check]:
    """What people write is there for those who read in another region."""
    del door
    yield from rows_in_other_regions(phase)


def deployment(phase: RehearsedPhase, door: FrontDoor) -> Iterator[Check]:
    """A changed configuration of the application is rolled out without a failed request."""
    name = next(name for name, host in phase.hosts.items() if host.role == "app" and host.application)
    service = next(service for service in phase.configurations[name].services if service.name == "application")
    files = tuple(
        dataclasses.replace(file, content=file.content + "REHEARSAL=2\n") if file.path.endswith(".env") else file for file in service.files
    )
    changed = dataclasses.replace(service, files=files)
    configuration = phase.configurations[name]
    services = tuple(changed if entry is service else entry for entry in configuration.services)
    with Writing(phase, door) as writing:
        phase.configurations[name] = dataclasses.replace(configuration, services=services)
        phase.converge([name])
    outcome = writing.outcome
    yield Check("rollout of the application", outcome.errors == 0, outcome.errors, "failed requests", f"of {len(outcome.acknowledged)}")


def database_power_cut(phase: RehearsedPhase, door: FrontDoor) -> Iterator[Check]:
    """The database's primary loses its power; a standby takes over, or the server itself comes back."""
    primary = database_primary(phase)
    standbys = primary.host.postgresql is not None and primary.host.postgresql.standbys > 0
    what = "power cut of the database's primary"
    with Writing(phase, door) as writing:
        cut = time.monotonic()
        primary.power_cut()
        if standbys:
            database_primary(phase, FAILOVER_SECONDS)
        else:
            primary.power_on()
        door.wait_until_served(BACK_SECONDS)
    yield from _cost(phase, what, writing)
    yield from copies_follow(phase, database_primary(phase), cut)
    if standbys:
        began = time.monotonic()
        primary.power_on()
        _wait(lambda: _is_streaming(primary), f"{primary.host.name} is no standby again")
        yield Check("the former primary is a standby again", True, round(time.monotonic() - began, 1), "s")


def redis_power_cut(phase: RehearsedPhase, door: FrontDoor) -> Iterator[Check]:
    """The Redis primary loses its power; Sentinel makes another one the primary, and the application finds it."""
    switched = list(redis_failover(phase))
    yield from switched
    if all(check.ok for check in switched):
        yield Check("the application reaches the new Redis primary", True, round(door.wait_until_served(BACK_SECONDS) * 1000), "ms")


def redis_failover(phase: RehearsedPhase) -> Iterator[Check]:
    """The Redis primary loses its power; Sentinel makes another one the primary."""
    what = "power cut of the Redis primary"
    servers = {name: server for name, server in phase.servers.items() if server.host.redis and server.host.role == "redis"}
    if not any(server.host.redis and server.host.redis.sentinel for server in servers.values()):
        yield skipped(what, "this phase has no Sentinel: the primary comes back with its server")
        return
    primary = next(server for server in servers.values() if _redis_role(server) == "master")
    began = time.monotonic()
    primary.power_cut()
    others = [server for server in servers.values() if server is not primary]
    _wait(lambda: any(_redis_role(server) == "master" for server in others), "no other Redis is the primary", FAILOVER_SECONDS)
    seconds = time.monotonic() - began
    primary.power_on()
    _wait(lambda: _redis_role(primary) == "slave", f"{primary.host.name} is no replica again")
    yield Check(what, True, round(seconds * 1000), "ms", "until another one was the primary")


def database_failover(phase: RehearsedPhase) -> Iterator[Check]:
    """The database's primary loses its power, without an application in front; every row that was committed before is there."""
    if not any(host.postgresql and host.postgresql.standbys for host in phase.hosts.values()):
        yield skipped("power cut of the database's primary", "no standby is rehearsed")
        return
    primary = database_primary(phase)
    rows = 1000
    sql(primary, "application", f"CREATE TABLE IF NOT EXISTS rehearsed (n int); INSERT INTO rehearsed SELECT generate_series(1, {rows})")
    began = time.monotonic()
    primary.power_cut()
    successor = database_primary(phase, FAILOVER_SECONDS)
    yield Check(
        "power cut of the database's primary", True, round((time.monotonic() - began) * 1000), "ms", "until another one took writes"
    )
    lost = rows - int(sql(successor, "application", "SELECT count(*) FROM rehearsed"))
    yield Check("power cut of the database's primary: acknowledged rows lost", lost == 0, lost, "rows", f"of {rows}")
    yield from copies_follow(phase, successor, began)
    began = time.monotonic()
    primary.power_on()
    _wait(lambda: _is_streaming(primary), f"{primary.host.name} is no standby again")
    yield Check("the former primary is a standby again", True, round(time.monotonic() - began, 1), "s")


def backup_and_drill(phase: RehearsedPhase) -> Iterator[Check]:
    """A backup is made and restored."""
    if not any(host.postgresql and host.backup for host in phase.hosts.values()):
        yield skipped("backup", "no database with backups is rehearsed")
        return
    primary = database_primary(phase)
    code, said = primary.run("systemctl start backup-full.service", 300)
    yield Check("full backup", code == 0, note="" if code == 0 else said.strip()[-200:])
    yield from _drill("restore of everything", primary.run("rungway-drill", 300)[1])


def application_reboot(phase: RehearsedPhase, door: FrontDoor) -> Iterator[Check]:
    """A server of the application restarts, as for a new kernel."""
    server = next(server for server in phase.servers.values() if server.host.role == "app")
    boots = server.boots
    with Writing(phase, door) as writing:
        server.run("systemctl reboot")
        _wait(lambda: server.boots > boots, f"{server.host.name} does not restart")
        door.wait_until_served(BACK_SECONDS)
    yield from _cost(phase, f"reboot of {server.host.name}", writing)


def application_power_cut(phase: RehearsedPhase, door: FrontDoor) -> Iterator[Check]:
    """A server of the application loses its power: the others serve alone until it is back, or people wait for it."""
    server = next(server for server in phase.servers.values() if server.host.role == "app")
    if server is database_primary(phase):
        yield skipped("power cut of an application server", "the database is on it: its power cut is another check")
        return
    alone = sum((host.role, host.region) == ("app", server.host.region) for host in phase.hosts.values()) == 1
    with Writing(phase, door) as writing:
        server.power_cut()
        if alone:
            server.power_on()
        door.wait_until_served(BACK_SECONDS)
    yield from _cost(phase, f"power cut of {server.host.name}", writing)
    if not alone:
        server.power_on()
        _wait(lambda: _serves(phase, server), f"{server.host.name} does not serve again")


def full_disk(phase: RehearsedPhase, door: FrontDoor) -> Iterator[Check]:
    """The database's volume is full for some seconds."""
    primary = database_primary(phase)
    if not primary.host.data_mount:
        yield skipped("full disk of the database", f"{primary.host.name} has no volume of its own")
        return
    filler = f"{primary.host.data_mount}/filler"
    with Writing(phase, door) as writing:
        primary.run(f"fallocate --length 100G {filler}; dd if=/dev/zero of={filler} bs=1M oflag=append conv=notrunc 2>/dev/null", 120)
        time.sleep(5)
        primary.run(f"rm -f {filler}")
        database_primary(phase, BACK_SECONDS)
        door.wait_until_served(BACK_SECONDS)
    yield from _cost(phase, "full disk of the database's primary", writing)


def slow_network(phase: RehearsedPhase, door: FrontDoor) -> Iterator[Check]:
    """The database's link is narrow for a while: slower, but nothing fails."""
    primary = database_primary(phase)
    if not any(host.role == "database" for host in phase.hosts.values()):
        yield skipped("slow network", "the database is on the application's server")
        return
    with Writing(phase, door) as usual:
        time.sleep(2)
    phase.network.slow(primary.host.name, SLOW_RATE)
    try:
        with Writing(phase, door) as slow:
            time.sleep(5)
    finally:
        phase.network.restore_speed(primary.host.name)
    note = f"p95 {slow.outcome.latency_p95_ms} ms, usually {usual.outcome.latency_p95_ms} ms"
    yield Check(f"database's link limited to {SLOW_RATE}", slow.outcome.errors == 0, slow.outcome.errors, "failed requests", note)


def clock_jump(phase: RehearsedPhase, door: FrontDoor) -> Iterator[Check]:
    """The clock of a server jumps."""
    del phase, door
    yield skipped("clock jump", "rehearsed servers share the clock of this machine's kernel, which no server may set")


def restore_in_time(phase: RehearsedPhase, door: FrontDoor) -> Iterator[Check]:
    """A backup is made, and restored to a moment: exactly the rows that were committed by then."""
    primary = database_primary(phase)
    code, said = primary.run("systemctl start backup-full.service", 300)
    yield Check("full backup", code == 0, note="" if code == 0 else said.strip()[-200:])
    # pgBackRest counts whole seconds: a backup that ended within the same one is not before the moment.
    time.sleep(1.2)
    before = sql(primary, "application", f"SELECT now(), {_ROWS_OF_ALL_TABLES}")
    moment, rows = before.split("|")
    time.sleep(1.2)
    with Writing(phase, door):
        pass
    sql(primary, "application", "SELECT pg_switch_wal()")
    time.sleep(2)
    code, said = primary.run(f"rungway-drill --to '{moment.replace(' ', 'T')}'", 300)
    yield from _drill("restore to a moment", said)
    heartbeats = sql(primary, "postgres", f"SELECT count(*) FROM rungway.heartbeat WHERE at <= '{moment}'")  # noqa: S608 (PostgreSQL's own)
    wanted = int(rows) + int(heartbeats)
    found = _rows(said)
    yield Check("rows of a restore to a moment", found == wanted, abs(found - wanted), "rows too many or too few", f"{found} of {wanted}")
    code, said = primary.run("rungway-drill", 300)
    yield from _drill("restore of everything", said)


def _drill(what: str, said: str) -> Iterator[Check]:
    """The checks that a drill made itself."""
    try:
        report = json.loads(said.strip().splitlines()[-1])
    except (ValueError, IndexError):
        yield Check(what, False, note=said.strip()[-300:])
        return
    for entry in report["checks"]:
        yield Check(f"{what}: {entry['name']}", entry["ok"], entry["found"], entry["unit"], entry["note"])


def _rows(said: str) -> int:
    """How many rows a drill read."""
    found = re.search(r'"note": "(\d+) rows"', said)
    return int(found[1]) if found else -1


def _cost(phase: RehearsedPhase, what: str, writing: Writing) -> Iterator[Check]:
    """What people noticed: the longest time without an acknowledged note, and how many of those are gone."""
    outcome = writing.outcome
    yield Check(f"{what}: longest gap", outcome.longest_gap_ms < BACK_SECONDS * 1000, outcome.longest_gap_ms, "ms")
    lost = writing.lost(database_primary(phase))
    yield Check(f"{what}: acknowledged rows lost", lost == 0, lost, "rows", f"of {len(outcome.acknowledged)}")


def _is_streaming(server: RehearsedServer) -> bool:
    try:
        return sql(server, "postgres", "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'") == "1"
    except RungwayError:
        return False


def _serves(phase: RehearsedPhase, server: RehearsedServer) -> bool:
    url = f"http://{phase.addresses[server.host.name].private}:{PRIVATE_PORT}/health"
    try:
        return server.run(f"curl --fail --silent {url}", 5)[0] == 0
    except RungwayError:
        return False


def _redis_role(server: RehearsedServer) -> str:
    try:
        return server.run("rungway-redis-cli ROLE | head -1", 5)[1].strip()
    except RungwayError:
        return ""


def _wait(holds: Callable[[], bool], otherwise: str, seconds: float = BACK_SECONDS) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise RungwayError(f"rehearsal: {otherwise} after {seconds:.0f} s")
        time.sleep(0.2)
