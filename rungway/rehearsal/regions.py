"""What a database's copies in other regions are for: rows of the first region are there, also after its primary has failed."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from rungway.errors import RungwayError
from rungway.rehearsal.phase import RehearsedPhase
from rungway.rehearsal.report import Check, skipped
from rungway.rehearsal.server import RehearsedServer
from rungway.rehearsal.visitors import database_primary, sql

ARRIVAL_SECONDS = 60
"""The longest that a row may take to another region while nothing is wrong."""
FOLLOW_SECONDS = 180
"""The longest from the end of the first region's primary until another region has rows of the next one."""
_LOOK_SECONDS = 0.005
_OPEN_SECONDS = 1.0
"""Longer than a session takes to open and to look the first time."""
_ROWS = "CREATE TABLE IF NOT EXISTS elsewhere (n bigint PRIMARY KEY)"
_WRITE = "INSERT INTO elsewhere SELECT coalesce(max(n), 0) + 1 FROM elsewhere RETURNING n, extract(epoch FROM clock_timestamp())"


def rows_in_other_regions(phase: RehearsedPhase) -> Iterator[Check]:
    """A row that the first region commits is read in every other region; nobody there archives, and no commit waits for them."""
    copies = copies_of(phase)
    if not copies:
        yield skipped("rows in other regions", "no database of another region is rehearsed")
        return
    primary = database_primary(phase)
    sql(primary, "application", _ROWS)
    for server in copies:
        name = server.host.name
        yield Check(
            f"a row of {primary.host.name} is read on {name}", True, round(_arrival_ms(primary, server), 1), "ms", "after its commit"
        )
        archived = int(sql(server, "postgres", "SELECT archived_count + failed_count FROM pg_stat_archiver"))
        yield Check(f"{name} archives nothing", archived == 0, archived, "segments")
    members = {server.host.name for server in phase.servers.values() if server.host.region == primary.host.region}
    waited_for = sql(primary, "postgres", "SELECT application_name FROM pg_stat_replication WHERE sync_state <> 'async'").split()
    wrong = sorted(set(waited_for) - members)
    yield Check("no commit waits for another region", not wrong, note=", ".join(wrong) or f"synchronous: {', '.join(waited_for) or 'none'}")


def copies_follow(phase: RehearsedPhase, primary: RehearsedServer, began: float) -> Iterator[Check]:
    """Every other region has a row that the new `primary` wrote; how long after the end of the old one, at `began` (time.monotonic)."""
    copies = copies_of(phase)
    if not copies:
        return
    sql(primary, "application", _ROWS)
    row = sql(primary, "application", _WRITE).split("|")[0]
    for server in copies:
        found = False
        while not found and time.monotonic() - began < FOLLOW_SECONDS:
            found = _has(server, row)
        seconds = round(time.monotonic() - began, 1)
        name = server.host.name
        yield Check(
            f"{name} follows the new primary", found, seconds, "s", f"after the power cut, until it had a row of {primary.host.name}"
        )


def copies_of(phase: RehearsedPhase) -> list[RehearsedServer]:
    """The servers whose database copies that of the first region."""
    return [server for server in phase.servers.values() if server.host.postgresql and server.host.postgresql.follows]


def _arrival_ms(primary: RehearsedServer, server: RehearsedServer) -> float:
    """Time from a commit on the primary until a session that waits for it on `server` has seen it. All clocks here are the same one."""
    last = sql(primary, "application", "SELECT coalesce(max(n), 0) FROM elsewhere")
    end = time.monotonic() + ARRIVAL_SECONDS
    while not _has(server, last):
        if time.monotonic() > end:
            raise RungwayError(f"rehearsal: {server.host.name} has no row of {primary.host.name} after {ARRIVAL_SECONDS} s")
    # The session is open before the row is written: starting one takes longer than the row.
    until = f"SELECT 1 WHERE NOT EXISTS (SELECT FROM elsewhere WHERE n > {last})"  # noqa: S608 (our own number)
    waits = f"{until} \\watch interval={_LOOK_SECONDS} min_rows=1\nSELECT extract(epoch FROM clock_timestamp());"
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting = pool.submit(sql, server, "application", waits)
        time.sleep(_OPEN_SECONDS)
        written = sql(primary, "application", _WRITE).split("|")[1]
        seen = waiting.result().splitlines()[-1]
    return (float(seen) - float(written)) * 1000


def _has(server: RehearsedServer, row: str) -> bool:
    """Whether the row with this number, or a later one, is there; 0 is there when the table is."""
    try:
        return sql(server, "application", f"SELECT coalesce(max(n), 0) >= {row} FROM elsewhere") == "t"  # noqa: S608 (our own number)
    except RungwayError:
        return False
