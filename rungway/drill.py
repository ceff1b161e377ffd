"""Restores the latest backup on a database server, beside the running database, and says whether the promises of the stack were kept.

The work is done on the server (`hosts/templates/backup/rungway_database.py`), which answers with one line of JSON.
"""

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from hosts.specification import HostSpecification
from rungway.errors import RungwayError

RunOn = Callable[[str, str], tuple[int, str]]
"""Runs a shell command as root on the server of the name; returns its exit status and its standard output."""

COMMAND = "/usr/local/sbin/rungway-drill"


@dataclass(frozen=True, slots=True)
class Check:
    """What a drill found; `limit` is the most that was allowed, in the same `unit`. Both are None where a check has no figure."""

    name: str
    ok: bool
    found: float | None
    limit: float | None
    unit: str
    note: str


@dataclass(frozen=True, slots=True)
class Drill:
    """One restore: on which server, when it began (ISO 8601), to which time ('' is the end of the archive), and what was found."""

    server: str
    began: str
    target: str
    ok: bool
    checks: tuple[Check, ...]

    @property
    def exit_code(self) -> int:
        """0 when every promise was kept, else 1."""
        return 0 if self.ok else 1


def run_drill(hosts: Sequence[HostSpecification], run_on: RunOn, *, server: str | None = None, to: str = "") -> Drill:
    """Runs a drill on `server` of the stack's `hosts`; without a name on the last database server of the first region, a standby if any.

    `to` is a time of ISO 8601 within the retention; without it the restore goes to the end of the archive.

    Raises:
        RungwayError: no such database server with backups, no time of ISO 8601, or an answer that is none.
    """
    name = _chosen(hosts, server)
    _refuse_no_time(to)
    command = f"{COMMAND} --to {shlex.quote(to)}" if to else COMMAND
    status, said = run_on(name, command)
    lines = said.strip().splitlines()
    try:
        answer = json.loads(lines[-1] if lines else "")
        checks = tuple(Check(**check) for check in answer["checks"])
        drill = Drill(name, answer["began"], answer["target"], answer["ok"] is True and status == 0, checks)
    except (ValueError, TypeError, KeyError) as error:
        found = lines[-1] if lines else "nothing"
        raise RungwayError(
            f"{name}: the drill ended with status {status} and said: {found}; expected: one line of JSON",
            hint=f"on the server: journalctl --unit backup-drill; {COMMAND}",
        ) from error
    return drill


def _refuse_no_time(to: str) -> None:
    try:
        datetime.fromisoformat(to or "1970-01-01")
    except ValueError as error:
        raise RungwayError(
            f"--to '{to}': found no time of ISO 8601; allowed: one within backup.retention_days, such as 2026-11-21T10:30:00+00:00"
        ) from error


def _chosen(hosts: Sequence[HostSpecification], server: str | None) -> str:
    names = [host.name for host in hosts if host.backup and host.postgresql]
    if not names:
        raise RungwayError("rungway:backup.enabled: found no server with backups to restore", hint="enable backups in the stack file")
    if server is None:
        region = next(host.region for host in hosts if host.name == names[0])
        return [host.name for host in hosts if host.name in names and host.region == region][-1]
    if server not in names:
        raise RungwayError(f"--server {server}: found no database server with backups of this name; allowed: {', '.join(names)}")
    return server


def drill_text(drill: Drill) -> str:
    """A line a check: kept or missed, what was found and what was allowed."""
    target = f" to {drill.target}" if drill.target else ""
    lines = [f"{drill.server}: restored{target}, began {drill.began}", ""]
    for check in drill.checks:
        found = f"{check.found:g} {check.unit}" if check.found is not None else ""
        limit = f"at most {check.limit:g} {check.unit}" if check.limit is not None else ""
        lines.append(f"{'ok' if check.ok else 'MISSED':<8}{check.name:<32}{found:>16}  {limit:<20}  {check.note}".rstrip())
    return "\n".join([*lines, "", "every promise was kept" if drill.ok else "a promise was missed"])


def drill_json(drill: Drill) -> dict[str, Any]:
    """The same for programs."""
    return asdict(drill)
