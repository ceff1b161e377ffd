"""Patroni: what it is told, what its timings promise, and checks and tasks that only look where they must."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from hosts.configuration import Service
from hosts.services.patroni import (
    CHECK,
    CONFIG,
    DYNAMIC,
    LOOP_WAIT_SECONDS,
    PROBE,
    RETRY_TIMEOUT_SECONDS,
    SERVICE_FILE,
    STANDBY,
    TTL_SECONDS,
    patroni,
)
from hosts.services.replication import PASSFILE
from hosts.specification import HostSpecification, Peer
from tests.support.database_host import POSTGRESQL, database_host

SYNCHRONOUS = replace(POSTGRESQL, standbys=1, synchronous_commit=True)


EU = tuple(Peer(f"database-eu-{number}", "database", f"10.0.2.{9 + number}", "eu", True, ("postgresql",)) for number in (1, 2))


def _standby_region(**changes: Any) -> Service:
    """The first of two database servers of the region us, which follows eu."""
    follows = tuple(peer.name for peer in EU)
    arguments = {"name": "database-us-1", "region": "us", "peers": EU} | changes
    return _service(database_host(nodes=2, postgresql=replace(POSTGRESQL, standbys=1, primary=False, follows=follows), **arguments))


def _service(host: HostSpecification | None = None) -> Service:
    return patroni(host or database_host(nodes=2))[-1]


def _file(service: Service, path: str) -> str:
    return next(file.content for file in service.files if file.path == path)


def _yaml(service: Service, path: str) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(_file(service, path))
    return loaded


def _run(script: str, directory: Path, **programs: str) -> int:
    """Runs a shell script with programs replaced by the given bodies."""
    for name, body in programs.items():
        (directory / name).write_text(f"#!/bin/bash\n{body}\n")
        (directory / name).chmod(0o755)
    path = f"{directory}:{os.environ['PATH']}"
    return subprocess.run(["bash", "-c", script], env={"PATH": path}, check=False, capture_output=True).returncode


def test_a_database_server_alone_needs_none() -> None:
    assert patroni(database_host()) == ()
    assert patroni(database_host(postgresql=None)) == ()


def test_the_package_may_not_start_a_postgresql_of_its_own() -> None:
    defaults, service = patroni(database_host(nodes=2))

    assert defaults.name == "postgresql-defaults"
    assert service.masked == ("postgresql@17-main.service",)


def test_timings_are_those_that_patroni_accepts_unchanged() -> None:
    dynamic = _yaml(_service(), DYNAMIC)

    assert (dynamic["ttl"], dynamic["loop_wait"], dynamic["retry_timeout"]) == (TTL_SECONDS, LOOP_WAIT_SECONDS, RETRY_TIMEOUT_SECONDS)
    assert LOOP_WAIT_SECONDS + 2 * RETRY_TIMEOUT_SECONDS <= TTL_SECONDS


def test_the_shared_configuration_starts_as_what_the_task_keeps_it_at() -> None:
    service = _service()

    assert _yaml(service, CONFIG)["bootstrap"]["dcs"] == _yaml(service, DYNAMIC)


@pytest.mark.parametrize(("postgresql", "mode", "recovery_seconds"), [(SYNCHRONOUS, True, 0), (replace(POSTGRESQL, standbys=1), False, 30)])
def test_a_crashed_primary_may_recover_only_where_a_failover_could_lose_commits(postgresql: Any, mode: bool, recovery_seconds: int) -> None:
    dynamic = _yaml(_service(database_host(nodes=2, postgresql=postgresql)), DYNAMIC)

    assert (dynamic["synchronous_mode"], dynamic["primary_start_timeout"]) == (mode, recovery_seconds)
    assert dynamic["synchronous_mode_strict"] is False


def test_each_parameter_is_in_one_place() -> None:
    service = _service()
    shared = _yaml(service, DYNAMIC)["postgresql"]["parameters"]
    own = _yaml(service, CONFIG)["postgresql"]["parameters"]

    assert shared["max_connections"] == "100"
    assert own["ssl"] == "on"
    assert not set(shared) & set(own)
    assert not {"listen_addresses", "port"} & (set(shared) | set(own))


def test_members_vote_over_tls_and_postgresql_listens_on_two_addresses() -> None:
    configuration = _yaml(_service(), CONFIG)

    assert configuration["etcd3"]["hosts"] == ["10.0.2.10:2379", "10.0.2.11:2379", "10.0.4.10:2379"]
    assert configuration["etcd3"]["protocol"] == "https"
    assert configuration["postgresql"]["listen"] == "10.0.2.10,127.0.0.1:5432"
    assert {role: each.get("sslmode") for role, each in configuration["postgresql"]["authentication"].items()} == {
        "superuser": None,
        "replication": "verify-full",
        "rewind": "verify-full",
    }


@pytest.mark.parametrize("backup", [True, False])
def test_a_standby_fetches_what_its_primary_no_longer_has_from_the_archive(backup: bool) -> None:
    host = database_host(nodes=2) if backup else database_host(nodes=2, backup=None)

    assert ("recovery_conf" in _yaml(_service(host), CONFIG)["postgresql"]) is backup


def test_passwords_are_read_by_postgres_alone() -> None:
    secret = {file.path: (file.owner, file.mode) for file in _service().files if file.is_secret}

    assert secret == {CONFIG: ("postgres", 0o600), "/etc/patroni/post-bootstrap": ("postgres", 0o700)}


@pytest.mark.parametrize(
    ("said", "status", "passes"),
    [
        ("", 0, True),
        ("etcd3.hosts.2 10.0.4.10:2379 didn't pass validation: 10.0.4.10:2379 is not reachable", 1, True),
        ("bootstrap.dcs.ttl 10 didn't pass validation: Wrong value", 1, False),
        ("etcd3.hosts.2 10.0.4.10:2379 is not reachable\nbootstrap.dcs.ttl 10 didn't pass validation: Wrong value", 1, False),
    ],
)
def test_a_wrong_configuration_is_refused_and_an_absent_member_is_not(tmp_path: Path, said: str, status: int, passes: bool) -> None:
    check = _file(_service(), CHECK)

    assert (_run(check, tmp_path, runuser=f"cat <<'E'\n{said}\nE\nexit {status}") == 0) is passes


@pytest.mark.parametrize(
    ("majority", "active", "state", "passes"),
    [
        (False, True, "", True),
        (False, False, "", False),
        (True, True, '{"state": "running"}', True),
        (True, True, '{"state": "streaming"}', True),
        (True, True, '{"state": "creating replica"}', True),
        (True, True, '{"state": "in archive recovery"}', True),
        (True, True, '{"state": "start failed"}', False),
        (True, True, "", False),
    ],
)
def test_the_probe_asks_for_postgresql_once_there_is_a_majority(
    tmp_path: Path, majority: bool, active: bool, state: str, passes: bool
) -> None:
    status = _run(
        _file(_service(), PROBE), tmp_path, etcdctl=f"exit {int(not majority)}", systemctl=f"exit {int(not active)}", curl=f"echo '{state}'"
    )

    assert (status == 0) is passes


@pytest.mark.parametrize(
    ("shared", "asked", "edit", "done"),
    [
        ("ttl: 20", 0, "Not changed", True),
        ("ttl: 30", 0, "-ttl: 30", False),
        ("", 0, "", True),  # no primary was born yet
        ("", 1, "", True),  # etcd has no majority
    ],
)
def test_the_shared_configuration_is_changed_only_when_it_differs(tmp_path: Path, shared: str, asked: int, edit: str, done: bool) -> None:
    task = next(task for task in _service().after if task.name == "shared configuration")
    patronictl = f'case "$*" in *show-config*) echo "{shared}"; exit {asked};; *) echo "{edit}";; esac'

    assert (_run(f"set -eu\n{task.unless}", tmp_path, patronictl=patronictl) == 0) is done


def test_another_region_is_born_as_a_copy_of_the_first_one() -> None:
    service = _standby_region()
    born = _yaml(service, CONFIG)["bootstrap"]["dcs"]

    assert born.pop("standby_cluster") == {
        "host": "10.0.2.10,10.0.2.11",
        "port": 5432,
        "primary_slot_name": "",
        "restore_command": 'pgbackrest --stanza=main --repo1-path=/postgresql/eu archive-get %f "%p"',
        "create_replica_methods": ["basebackup"],
    }
    assert born == _yaml(service, DYNAMIC)
    # Promoted, it fetches what it archived itself.
    assert _yaml(service, CONFIG)["postgresql"]["recovery_conf"] == {"restore_command": 'pgbackrest --stanza=main archive-get %f "%p"'}
    assert [task.name for task in service.before] == ["database of the first region"]


def test_a_copy_without_backups_has_no_archive() -> None:
    assert "restore_command" not in _yaml(_standby_region(backup=None), STANDBY)["standby_cluster"]


def test_the_first_region_has_nothing_to_follow() -> None:
    service = _service()

    assert not {STANDBY, PASSFILE, SERVICE_FILE} & {file.path for file in service.files}
    assert not service.before
    assert "PGSERVICE" not in _file(service, "/etc/systemd/system/patroni.service.d/rungway.conf")


def test_a_copy_does_not_wait_long_for_one_server_of_the_first_region() -> None:
    """Patroni's own list of connection options has neither, and PostgreSQL's receiver ignores connect_timeout."""
    service = _standby_region()

    assert "Environment=PGSERVICEFILE=/etc/patroni/pg_service.conf PGSERVICE=first-region" in _file(
        service, "/etc/systemd/system/patroni.service.d/rungway.conf"
    )
    assert {"connect_timeout=5", "tcp_user_timeout=5000"} < set(_file(service, SERVICE_FILE).splitlines())


@pytest.mark.parametrize(
    ("shared", "edit", "done"),
    [
        ("standby_cluster:\n  host: 10.0.2.10", "-  host: 10.0.2.10", False),
        ("standby_cluster:\n  host: 10.0.2.10", "Not changed", True),
        ("ttl: 20", "+standby_cluster:", True),  # promoted
    ],
)
def test_no_convergence_makes_a_promoted_region_a_copy_again(tmp_path: Path, shared: str, edit: str, done: bool) -> None:
    task = next(task for task in _standby_region().after if task.name == "region that is followed")
    patronictl = f'case "$*" in *show-config*) echo "{shared}";; *{STANDBY}*) echo "{edit}";; *) exit 1;; esac'

    assert (_run(f"set -eu\n{task.unless}", tmp_path, patronictl=patronictl) == 0) is done
    assert DYNAMIC not in task.script


@pytest.mark.parametrize(("says", "status", "looks"), [("t", 0, True), ("f", 0, False), ("", 2, False)])
def test_roles_are_looked_at_on_a_primary_alone(tmp_path: Path, says: str, status: int, looks: bool) -> None:
    task = next(task for task in _service().after if task.name == "database and roles")
    guard, _, rest = task.unless.partition("\n")

    assert rest
    assert (_run(f"set -eu\n{guard}\nexit 9", tmp_path, runuser=f"echo {says}; exit {status}") == 9) is looks


def test_the_first_primary_is_born_with_the_roles() -> None:
    script = _file(_service(), "/etc/patroni/post-bootstrap")

    assert "CREATE ROLE application" in script
    assert "runuser() {" in script
