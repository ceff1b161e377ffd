"""Backups of PostgreSQL to an object store, a heartbeat that measures what a restore loses, and the weekly drill that restores one.

One program on the server does all of it (`templates/backup/rungway_database.py`); timers start it. They look every hour whether a full
backup is due, because a number of hours such as 36 is no calendar event, and every ten minutes whether an incremental one is, because a
new primary needs one at once: what the old one had not archived yet is archived by nobody. On a standby they do nothing. The databases
of other regions are standbys, whose backups are the first region's; one that was promoted begins a repository of its own. The program
that makes the backups is exchangeable (`hosts.backup_tool`).
"""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from hosts.backup_tool import BACKUP_TOOL
from hosts.configuration import HostFile, Service, Task
from hosts.services.exporters import TEXTFILE_DIRECTORY
from hosts.services.postgresql import data_directory
from hosts.services.replication import followed_region
from hosts.specification import BackupService, HostSpecification, PostgresqlService
from hosts.templating import render_template


@dataclass(frozen=True, slots=True)
class _Run:
    """A unit that a timer starts: what the program does, and when. A run that was missed is made up for where it may be delayed."""

    unit: str
    description: str
    verb: str
    calendar: str
    delay_minutes: int


_FULL = _Run("backup-full", "Full backup of PostgreSQL, when due", "full", "hourly", 10)
_INCREMENTAL = _Run("backup-incremental", "Incremental backup of PostgreSQL, when due", "incremental", "*:0/10", 1)
_HEARTBEAT = _Run("backup-heartbeat", "Heartbeat in PostgreSQL", "heartbeat", "*:*:00", 0)
_DRILL = _Run("backup-drill", "Restore of the latest backup, as a drill", "drill --scheduled", "Sun 03:00", 240)


def backup(host: HostSpecification) -> Service | None:
    """Backups of the PostgreSQL on `host`, None where there is nothing to back up."""
    if not (host.backup and host.postgresql):
        return None
    runs = [_FULL, _HEARTBEAT, _DRILL]
    if host.backup.incremental_every_hours:
        runs.insert(1, _INCREMENTAL)
    return Service(
        name="backup",
        packages=BACKUP_TOOL.packages,
        directories=BACKUP_TOOL.directories(),
        files=(
            *BACKUP_TOOL.files(host, host.backup, data_directory(host)),
            HostFile(path="/etc/rungway/database.json", content=_settings(host, host.backup, host.postgresql)),
            HostFile(path="/usr/local/sbin/rungway-database", content=render_template("backup/rungway_database.py"), mode=0o755),
            HostFile(path="/usr/local/sbin/rungway-drill", content=render_template("backup/rungway-drill.sh"), mode=0o755),
            *(file for run in runs for file in _unit(host, run)),
        ),
        absent=() if _INCREMENTAL in runs else (_path(_INCREMENTAL, "service"), _path(_INCREMENTAL, "timer")),
        # Reading the list shows a wrong key, bucket or cipher before the old configuration is replaced.
        checks=(_as_postgres(BACKUP_TOOL.backups),),
        units=tuple(f"{run.unit}.timer" for run in runs),
        after=(_repository(),),
    )


def _settings(host: HostSpecification, backup: BackupService, postgresql: PostgresqlService) -> str:
    commands = ("is_created", "create", "full", "incremental", "backups", "restore", "fetch_for_drill")
    settings = {
        "commands": {name: getattr(BACKUP_TOOL, name) for name in commands},
        "full_every_hours": backup.full_every_hours,
        "incremental_every_hours": backup.incremental_every_hours,
        "recovery_point_minutes": backup.recovery_point_minutes,
        "recovery_time_minutes": backup.recovery_time_minutes,
        "standbys": postgresql.standbys,
        "follows": followed_region(host),
        "scratch": f"{_scratch_parent(host)}/drill",
        "programs": f"/usr/lib/postgresql/{postgresql.version}/bin",
        "metrics": TEXTFILE_DIRECTORY,
    }
    return json.dumps(settings, indent=2) + "\n"


def _scratch_parent(host: HostSpecification) -> str:
    """Where a drill restores to: on the disk that is large enough for the database itself."""
    return host.data_mount or "/var/lib/postgresql"


def _unit(host: HostSpecification, run: _Run) -> Iterator[HostFile]:
    writable = ["/var/spool/pgbackrest", TEXTFILE_DIRECTORY, _scratch_parent(host)]
    service = render_template("backup/run.service", description=run.description, verb=run.verb, writable=writable)
    yield HostFile(path=_path(run, "service"), content=service)
    timer = render_template("backup/run.timer", description=run.description, calendar=run.calendar, delay_minutes=run.delay_minutes)
    yield HostFile(path=_path(run, "timer"), content=timer)


def _path(run: _Run, kind: str) -> str:
    return f"/etc/systemd/system/{run.unit}.{kind}"


def _repository() -> Task:
    """Prepares the repository, on the primary, and sees one segment of the write-ahead log arrive in it."""
    is_no_primary = '[ "$(runuser -u postgres -- psql -XAtc "SELECT pg_is_in_recovery()")" != f ]'
    return Task(
        name="backup repository",
        unless=f"{is_no_primary} || {_as_postgres(BACKUP_TOOL.is_created)}",
        script=f"{_as_postgres(BACKUP_TOOL.create)}\n{_as_postgres(BACKUP_TOOL.check)}",
    )


def _as_postgres(command: str) -> str:
    return f"runuser -u postgres -- bash -c {shlex.quote(command)}"
