#!/usr/bin/python3
"""Backs the PostgreSQL of this server up, beats its heart, and proves that a backup can be restored.

    rungway-database full|incremental      a backup, when one is due and this server is the primary
    rungway-database heartbeat             a row a minute, whose age after a restore is what the restore lost
    rungway-database drill [--to TIME] [--scheduled]
    rungway-database clean                 removes what an interrupted drill left

Run as root: the programs of the backup and of PostgreSQL run as the account postgres. Settings come from /etc/rungway/database.json.
"""

import argparse
import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

SETTINGS = Path("/etc/rungway/database.json")
LOCKS = Path("/run")
ACCOUNT = "postgres"
DUE_EARLY_SECONDS = 30 * 60
"""Timers look hourly: a backup that is due within half an hour is made now instead of half an hour late."""
FREE_SPACE_FACTOR = 1.2
"""A drill needs the size of the database and what its recovery writes: a fifth more, our own margin."""
FREE_SPACE_LEFT = 1024**3
"""In bytes: the log of a recovery, which is no smaller for a small database, and as much for what the running one writes meanwhile. A
drill that filled its disk would stop it."""
POLL_SECONDS = 0.5
NO_CONNECTION = 2
"""Exit status of psql when no server answers (its manual page)."""

HEARTBEAT_TABLE = """
SET client_min_messages = warning;
CREATE SCHEMA IF NOT EXISTS rungway;
CREATE TABLE IF NOT EXISTS rungway.heartbeat (number bigint PRIMARY KEY, at timestamptz NOT NULL, digest text NOT NULL);
"""
HEARTBEAT = """
WITH last AS (SELECT number, digest FROM rungway.heartbeat ORDER BY number DESC LIMIT 1),
     next AS (SELECT coalesce((SELECT number FROM last), 0) + 1 AS number, clock_timestamp() AS at)
INSERT INTO rungway.heartbeat
SELECT number, at, md5(coalesce((SELECT digest FROM last), '') || number || extract(epoch FROM at)) FROM next;
DELETE FROM rungway.heartbeat WHERE at < now() - interval '1 day';
"""
BROKEN_HEARTBEATS = """
SELECT count(*) FROM (
    SELECT number, at, digest, lag(number) OVER (ORDER BY number) AS last_number, lag(digest) OVER (ORDER BY number) AS last_digest
    FROM rungway.heartbeat) AS beats
WHERE last_number IS NOT NULL
  AND (number <> last_number + 1 OR digest <> md5(last_digest || number || extract(epoch FROM at)))
"""
# The name of a segment begins with its timeline.
TIMELINE = "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)"
LAST_HEARTBEAT = "SELECT extract(epoch FROM max(at)) FROM rungway.heartbeat"
USER_TABLES = """
SELECT format('%I.%I', schemaname, relname) FROM pg_stat_user_tables ORDER BY 1
"""


class Backup(NamedTuple):
    """Full or incremental, the Unix time of its end, its restored size in bytes, the timeline on which it ended, and whether it is good."""

    kind: str
    end: int
    size: int
    timeline: str
    intact: bool


class DamagedError(Exception):
    """What was backed up is not whole."""


def main(arguments: list[str]) -> int:
    """Reads the command line. Returns the exit status: 1 when a drill missed a promise, or a program failed."""
    parser = argparse.ArgumentParser(prog="rungway-database")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("full", "incremental", "heartbeat", "clean"):
        verbs.add_parser(verb)
    drill_parser = verbs.add_parser("drill")
    drill_parser.add_argument("--to", type=moment, help="the time to restore to, ISO 8601; without it the end of the archive")
    drill_parser.add_argument("--scheduled", action="store_true", help="do nothing on a primary that has standbys to do it")
    given = parser.parse_args(arguments)
    settings: dict[str, Any] = json.loads(SETTINGS.read_text())
    # An exit instead of an end, so that a drill cleans up.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        return run(given, settings)
    except subprocess.CalledProcessError as error:
        print(error.stdout, error.stderr, f"{error.cmd}: status {error.returncode}", sep="\n", file=sys.stderr)
        return 1
    except DamagedError as error:
        print(error, file=sys.stderr)
        return 1


def moment(text: str) -> str:
    """A time of ISO 8601 as PostgreSQL writes it, in UTC; without a zone it is the server's own time."""
    return datetime.fromisoformat(text).astimezone(UTC).isoformat(sep=" ")


def run(given: argparse.Namespace, settings: dict[str, Any]) -> int:
    """Runs the verb. Returns the exit status."""
    match given.verb:
        case "heartbeat":
            heartbeat()
        case "clean":
            # A drill that goes on cleans up itself.
            with contextlib.suppress(BlockingIOError), exclusive("drill", wait=False):
                clean(settings)
        case "drill":
            primary = is_primary()
            copies = bool(settings["follows"]) and not primary
            if given.scheduled and (copies or (settings["standbys"] and primary)):
                return 0
            if copies:
                print(f"this database copies that of {settings['follows']}, whose servers drill its backups", file=sys.stderr)
                return 1
            with exclusive("drill"):
                report = drill(settings, given.to or "")
            print(json.dumps(report))
            return 0 if report["ok"] else 1
        case kind:
            with exclusive("backup"):
                back_up(settings, kind)
    return 0


def heartbeat() -> None:
    """Writes a row with the digest of the one before it, so that a missing or a changed row shows. Rows live for a day."""
    if not is_primary():
        return
    try:
        psql(HEARTBEAT_TABLE + HEARTBEAT)
    except subprocess.CalledProcessError:
        # A failover ends the connection, or refuses the row; the heart of the next primary beats.
        if is_primary():
            raise


def back_up(settings: dict[str, Any], kind: str) -> None:
    """Makes a backup when the last one is old enough, on the primary alone, and writes the metrics."""
    metrics = Path(settings["metrics"]) / "backup.prom"
    if not is_primary():
        # What a former primary wrote must not be taken for news.
        metrics.unlink(missing_ok=True)
        return
    commands = settings["commands"]
    succeeded = 0
    backups: list[Backup] = []
    try:
        if not succeeds(commands["is_created"]):
            as_postgres(commands["create"])
        backups = finished_backups(settings)
        if is_due(settings, kind, backups, psql(TIMELINE), time.time()):
            # Its warnings, for example which file has damaged pages.
            print(as_postgres(commands[kind]), end="")
            backups = finished_backups(settings)
        if backups and not backups[-1].intact:
            raise DamagedError("the last backup has pages with wrong checksums: the journal of the run that made it names the files")
        succeeded = 1
    finally:
        write_backup_metrics(metrics, backups, {**others_success(settings, kind, metrics), kind: succeeded})


def is_due(settings: dict[str, Any], kind: str, backups: list[Backup], timeline: str, now: float) -> bool:
    """Whether a backup of the kind is to be made now. A full one counts as an incremental one too; the first is always a full one.
    A damaged one counts, because the next one would be damaged, too.

    A new timeline needs a backup of its own at once: the segments that the former primary had not archived yet are archived by nobody,
    because its standby has marked them as done (PostgreSQL documentation, "Continuous Archiving in Standby"), and behind such a gap
    nothing can be restored from an older backup.
    """
    counting = [backup.end for backup in backups if kind == "incremental" or backup.kind == "full"]
    if not counting:
        return kind == "full"
    if backups[-1].timeline != timeline and kind == kinds(settings)[-1]:
        return True
    hours: int = settings[f"{kind}_every_hours"]
    return now - max(counting) >= hours * 3600 - DUE_EARLY_SECONDS


def kinds(settings: dict[str, Any]) -> list[str]:
    """The kinds of backups that are made, the most frequent last."""
    return ["full", "incremental"] if settings["incremental_every_hours"] else ["full"]


def finished_backups(settings: dict[str, Any]) -> list[Backup]:
    """Every backup, oldest first."""
    lines = as_postgres(settings["commands"]["backups"]).splitlines()
    fields = (line.split() for line in lines)
    return [Backup(kind, int(end), int(size), timeline, state == "intact") for kind, end, size, timeline, state in fields]


def others_success(settings: dict[str, Any], kind: str, metrics: Path) -> dict[str, int]:
    """What the metrics say of the other kinds: incremental backups that go well must not hide that no full one does."""
    said = re.findall(r'^rungway_backup_succeeded{kind="(\w+)"} (\d)$', metrics.read_text(), re.MULTILINE) if metrics.exists() else []
    return {other: int(succeeded) for other, succeeded in said if other != kind and other in kinds(settings)}


def write_backup_metrics(metrics: Path, backups: list[Backup], succeeded: dict[str, int]) -> None:
    """For node_exporter: the newest backup of each kind, and whether the last run of each kind went well."""
    lines = [
        "# HELP rungway_backup_last_success_timestamp_seconds End of the newest backup.",
        "# TYPE rungway_backup_last_success_timestamp_seconds gauge",
    ]
    for kind in ("full", "incremental"):
        ends = [backup.end for backup in backups if backup.kind == kind and backup.intact]
        if ends:
            lines.append('rungway_backup_last_success_timestamp_seconds{kind="' + kind + '"} ' + str(max(ends)))
    lines += [
        "# HELP rungway_backup_succeeded Whether the last look at the backups, and the backup if one was due, went well.",
        "# TYPE rungway_backup_succeeded gauge",
        *('rungway_backup_succeeded{kind="' + kind + '"} ' + str(value) for kind, value in succeeded.items()),
    ]
    write_metrics(metrics, lines)


def drill(settings: dict[str, Any], target: str) -> dict[str, Any]:
    """Restores the latest backup beside the running database, looks at every page of it, and compares with the promises.

    A count of rows can't be compared with that of a primary which goes on. What is proved instead: every page has the right checksum,
    every table and B-tree is intact and can be read to its end, and no heartbeat is missing before the last one.
    """
    began = time.time()
    checks: list[dict[str, Any]] = []
    clean(settings)
    try:
        restore_and_look(settings, target, began, checks)
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "").strip().splitlines()
        add(checks, "finished", False, note=" ".join([f"status {error.returncode}:", *said[-5:]]))
    except (OSError, ValueError) as error:
        add(checks, "finished", False, note=str(error))
    finally:
        clean(settings)
    report = {
        "server": socket.gethostname(),
        "began": datetime.fromtimestamp(began, UTC).isoformat(timespec="seconds"),
        "target": target,
        "ok": all(check["ok"] for check in checks),
        "checks": checks,
    }
    write_drill_metrics(Path(settings["metrics"]) / "drill.prom", report)
    return report


def restore_and_look(settings: dict[str, Any], target: str, began: float, checks: list[dict[str, Any]]) -> None:
    """The steps of a drill, in order; each adds what it found to `checks`."""
    scratch = Path(settings["scratch"])
    data = scratch / "data"
    backups = finished_backups(settings)
    if not backups:
        raise ValueError("there is no backup")
    make_directory(data)
    free, needed = shutil.disk_usage(scratch).free, int(backups[-1].size * FREE_SPACE_FACTOR) + FREE_SPACE_LEFT
    if free < needed:
        raise OSError(f"{scratch}: found {free} free bytes; needed: {needed}")

    clock = time.monotonic()
    as_postgres(settings["commands"]["restore"], DATA=str(data), TARGET=target)
    start_scratch(settings, data)
    seconds = time.monotonic() - clock
    limit = settings["recovery_time_minutes"] * 60
    add(checks, "recovery time", seconds <= limit, round(seconds, 1), limit, "s")

    lost = (datetime.fromisoformat(target).timestamp() if target else began) - float(psql(LAST_HEARTBEAT, scratch) or 0)
    limit = settings["recovery_point_minutes"] * 60
    add(checks, "recovery point", lost <= limit, round(lost, 1), limit, "s")
    broken = int(psql(BROKEN_HEARTBEATS, scratch))
    add(checks, "heartbeats missing or changed", broken == 0, broken, 0, "rows")

    tables, rows = count_rows(scratch)
    add(checks, "tables read", tables > 0, tables, unit="tables", note=f"{rows} rows")
    programs = Path(settings["programs"])
    as_postgres(f"{programs}/pg_amcheck --host={scratch} --all --install-missing --jobs=2")
    add(checks, "tables and indexes intact", True)
    as_postgres(f"{programs}/pg_ctl --pgdata={data} --mode=fast stop")
    as_postgres(f"{programs}/pg_checksums --check --pgdata={data}")
    add(checks, "page checksums", True)


def start_scratch(settings: dict[str, Any], data: Path) -> None:
    """Starts the restored PostgreSQL, on a socket of its own, and waits until it accepts connections."""
    scratch = data.parent
    # Its own files: the restored ones may name files, memory and addresses that belong to the running database.
    files = {"data_directory": data, "hba_file": scratch / "pg_hba.conf", "ident_file": scratch / "pg_ident.conf"}
    values = {
        "listen_addresses": "",
        "unix_socket_directories": scratch,
        "shared_buffers": "64MB",
        "shared_preload_libraries": "",
        # A hot standby would insist on the primary's max_connections; nobody connects before the end of the recovery.
        "hot_standby": "off",
        "max_connections": 20,
        # Half of FREE_SPACE_LEFT.
        "max_wal_size": "512MB",
        "archive_mode": "off",
        "autovacuum": "off",
        "ssl": "off",
        "restore_command": settings["commands"]["fetch_for_drill"].replace("'", "''"),
    }
    write_as_postgres(scratch / "postgresql.conf", as_configuration(files))
    write_as_postgres(scratch / "pg_hba.conf", "local all postgres peer\n")
    write_as_postgres(scratch / "pg_ident.conf", "")
    # The restore left the recovery target here, and it is read last.
    with (data / "postgresql.auto.conf").open("a") as automatic:
        automatic.write("\n" + as_configuration(values))
    pg_ctl = f"{settings['programs']}/pg_ctl --pgdata={data}"
    try:
        as_postgres(f"{pg_ctl} --log={scratch}/log --options='-c config_file={scratch}/postgresql.conf' start")
        # pg_ctl waits only until the recovery has begun. A recovery that takes longer than promised is let end: the figure is wanted.
        while not accepts_connections(scratch):
            as_postgres(f"{pg_ctl} status")
            time.sleep(POLL_SECONDS)
    except subprocess.CalledProcessError as error:
        log = scratch / "log"
        error.stderr = log.read_text(errors="replace") if log.exists() else error.stderr
        raise


def accepts_connections(scratch: Path) -> bool:
    """Whether the recovery has ended."""
    try:
        psql("SELECT 1", scratch)
    except subprocess.CalledProcessError as error:
        if error.returncode == NO_CONNECTION:
            return False
        raise
    return True


def as_configuration(values: dict[str, Any]) -> str:
    """The lines of a postgresql.conf."""
    return "".join(f"{name} = '{value}'\n" for name, value in values.items())


def count_rows(scratch: Path) -> tuple[int, int]:
    """Reads every user table of every database to its end: how many there are, and their rows."""
    tables = rows = 0
    for database in psql("SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate", scratch).splitlines():
        for table in psql(USER_TABLES, scratch, database).splitlines():
            tables += 1
            # The name comes from format('%I.%I'), which quotes it.
            rows += int(psql(f"SELECT count(*) FROM {table}", scratch, database))  # noqa: S608
    return tables, rows


def clean(settings: dict[str, Any]) -> None:
    """Stops the PostgreSQL of a drill, if one runs, and removes its directory."""
    scratch = Path(settings["scratch"])
    if (scratch / "data" / "postmaster.pid").exists():
        with contextlib.suppress(subprocess.CalledProcessError):
            as_postgres(f"{settings['programs']}/pg_ctl --pgdata={scratch}/data --mode=immediate stop")
    shutil.rmtree(scratch, ignore_errors=True)


def write_drill_metrics(metrics: Path, report: dict[str, Any]) -> None:
    """For node_exporter: when the last drill ended, whether it kept the promises, and its figures."""
    figures = {check["name"]: check["found"] for check in report["checks"]}
    lines = [
        "# HELP rungway_drill_last_run_timestamp_seconds End of the last restore drill.",
        "# TYPE rungway_drill_last_run_timestamp_seconds gauge",
        f"rungway_drill_last_run_timestamp_seconds {int(time.time())}",
        "# HELP rungway_drill_succeeded Whether the last restore drill kept every promise.",
        "# TYPE rungway_drill_succeeded gauge",
        f"rungway_drill_succeeded {int(report['ok'])}",
    ]
    for name in ("recovery time", "recovery point"):
        if figures.get(name) is not None:
            metric = f"rungway_drill_{name.replace(' ', '_')}_seconds"
            lines += [f"# HELP {metric} Measured {name}.", f"# TYPE {metric} gauge", f"{metric} {figures[name]}"]
    write_metrics(metrics, lines)


def add(
    checks: list[dict[str, Any]],
    name: str,
    ok: bool,
    found: float | None = None,
    limit: float | None = None,
    unit: str = "",
    note: str = "",
) -> None:
    """Adds what a check found, and the most that was allowed."""
    checks.append({"name": name, "ok": ok, "found": found, "limit": limit, "unit": unit, "note": note})


def is_primary() -> bool:
    """Whether the PostgreSQL of this server accepts writes; False too when none answers, which is for its own unit to report."""
    try:
        return psql("SELECT NOT pg_is_in_recovery()") == "t"
    except subprocess.CalledProcessError as error:
        if error.returncode == NO_CONNECTION:
            return False
        raise


def psql(statements: str, host: Path | None = None, database: str = "postgres") -> str:
    """What the statements return, without headings. `host` is the directory of the socket, None for that of the running database."""
    command = ["psql", "--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "--set=ON_ERROR_STOP=1", f"--dbname={database}"]
    if host:
        command.append(f"--host={host}")
    return _run(command, statements, {}).strip()


def succeeds(command: str) -> bool:
    """Whether a shell command that runs as the account of PostgreSQL ends with 0."""
    try:
        as_postgres(command)
    except subprocess.CalledProcessError:
        return False
    return True


def as_postgres(command: str, **environment: str) -> str:
    """What a shell command says that runs as the account of PostgreSQL.

    Raises:
        subprocess.CalledProcessError: it ended with another status than 0.
    """
    return _run(["bash", "-c", command], "", environment)


def _run(command: list[str], given: str, environment: dict[str, str]) -> str:
    account = ACCOUNT if os.geteuid() == 0 else None
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": "/var/lib/postgresql"} | environment
    done = subprocess.run(
        command,
        input=given,
        env=environment,
        cwd="/",
        text=True,
        check=False,
        capture_output=True,
        user=account,
        group=account,
        extra_groups=[] if account else None,
    )
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
    return done.stdout


def make_directory(path: Path) -> None:
    """Makes a directory, and the one above it, that only the account of PostgreSQL enters."""
    for each in (path.parent, path):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            shutil.chown(each, ACCOUNT, ACCOUNT)


def write_as_postgres(path: Path, content: str) -> None:
    """Writes a file that the account of PostgreSQL reads."""
    path.write_text(content)
    if os.geteuid() == 0:
        shutil.chown(path, ACCOUNT, ACCOUNT)


def write_metrics(path: Path, lines: list[str]) -> None:
    """Replaces a file of node_exporter's in one step, so that it never reads half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text("\n".join([*lines, ""]))
    partial.chmod(0o644)
    partial.replace(path)


@contextlib.contextmanager
def exclusive(name: str, *, wait: bool = True) -> Iterator[None]:
    """Waits until no other run of the same kind is under way.

    Raises:
        BlockingIOError: without `wait`, one is.
    """
    with (LOCKS / f"rungway-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
