"""PostgreSQL's files, checks and steps: what reaches the server, who may connect, and that no password is ever on a command line."""

import dataclasses
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hosts.configuration import Service, address_of
from hosts.reachability import Rule
from hosts.services.postgresql import (
    cluster_defaults,
    data_directory,
    database_roles_tasks,
    host_based_authentication,
    postgresql,
    postgresql_parameters,
)
from hosts.specification import BackupService, HostSpecification, Peer, PgbouncerService, PostgresqlService
from hosts.templating import render_template

BACKUP = BackupService(
    bucket="backups",
    full_every_hours=24,
    incremental_every_hours=6,
    retention_days=14,
    recovery_point_minutes=5,
    recovery_time_minutes=60,
)
PGBOUNCER = PgbouncerService(max_client_connections=1000, pool_size=40)


def _host(*, standbys: int = 0, version: int = 17, **fields: Any) -> HostSpecification:
    plain: dict[str, Any] = {
        "private_address": "10.0.1.20",
        "data_mount": "/srv/data",
        "peers": (Peer("app-eu-1", "app", "10.0.1.10", "eu"), Peer("database-eu-2", "database", None, "eu")),
        "rules": (Rule("PostgreSQL", "tcp", "5432", ("10.0.0.0/16",)), Rule("PgBouncer", "tcp", "6432", ("192.168.0.0/16",))),
    }
    return HostSpecification(
        name="database-eu-1",
        role="database",
        provider="hetzner",
        location="nbg1",
        region="eu",
        cores=2,
        memory_mb=4096,
        disk_gb=40,
        architecture="x86",
        public=False,
        jump_host="app-eu-1",
        postgresql=PostgresqlService(
            version=version,
            primary=True,
            memory_mb=0,
            max_connections=100,
            reserved_connections=10,
            synchronous_commit=False,
            standbys=standbys,
            clients=60,
        ),
        **{**plain, **fields},
    )


def _service(name: str, host: HostSpecification) -> Service:
    return next(service for service in postgresql(host) if service.name == name)


def _content(host: HostSpecification, ending: str) -> str:
    return next(file.content for file in _service("postgresql", host).files if file.path.endswith(ending))


def test_the_package_makes_no_cluster_because_its_default_is_there_before_it() -> None:
    defaults, cluster, _ = postgresql(_host())

    assert defaults == cluster_defaults()
    assert [file.path for file in defaults.files] == ["/etc/postgresql-common/createcluster.d/rungway.conf"]
    assert "\ncreate_main_cluster = false\n" in defaults.files[0].content
    assert (defaults.packages, cluster.packages) == ((), ("postgresql-17",))


def test_the_cluster_is_on_the_volume_with_checksums_and_scram() -> None:
    cluster = _service("postgresql-cluster", _host())
    (task,) = cluster.before

    assert cluster.directories[0].path == "/srv/data/postgresql"
    assert task.script.startswith("data=/srv/data/postgresql/17/main\n")
    assert "--locale=C.UTF-8 17 main" in task.script
    assert "-- --data-checksums --auth-local=peer --auth-host=scram-sha-256" in task.script
    assert task.unless == "test -f /etc/postgresql/17/main/postgresql.conf && test -f /srv/data/postgresql/17/main/PG_VERSION"
    assert cluster.accounts[0].groups == ("tls-key",)


@pytest.mark.parametrize(
    ("data_mount", "directory"), [("/srv/data", "/srv/data/postgresql/17/main"), (None, "/var/lib/postgresql/17/main")]
)
def test_data_is_on_the_volume_or_where_the_package_puts_it(data_mount: str | None, directory: str) -> None:
    assert data_directory(_host(data_mount=data_mount)) == directory


@pytest.mark.parametrize("host", [_host(standbys=1), dataclasses.replace(_host(), postgresql=None)], ids=["patroni", "none"])
def test_without_a_database_of_its_own_there_is_nothing(host: HostSpecification) -> None:
    assert postgresql(host) == ()


def test_the_configuration_holds_every_parameter_with_its_reason() -> None:
    host = _host(backup=BACKUP)
    lines = _content(host, "rungway.conf").splitlines()

    for name, value in postgresql_parameters(host).items():
        assert f"{name} = '{value}'" in lines
    assert "listen_addresses = '127.0.0.1,10.0.1.20'" in lines
    assert lines[lines.index("shared_buffers = '1024MB'") - 1].startswith("# a quarter of the memory [growth plan 001")


def test_no_parameter_is_said_twice() -> None:
    names = [line.split(" = ")[0] for line in _content(_host(backup=BACKUP), "rungway.conf").splitlines() if line and line[0] != "#"]

    assert len(names) == len(set(names))


def test_tls_is_on_with_the_servers_own_certificate() -> None:
    parameters = postgresql_parameters(_host())

    assert (parameters["ssl"], parameters["ssl_min_protocol_version"]) == ("on", "TLSv1.3")
    assert (parameters["ssl_cert_file"], parameters["ssl_key_file"]) == ("/etc/rungway/tls/server.crt", "/etc/rungway/tls/server.key")
    assert parameters["password_encryption"] == "scram-sha-256"


def test_an_archive_is_kept_only_with_backups_and_waits_for_half_of_the_promise() -> None:
    without, kept = postgresql_parameters(_host()), postgresql_parameters(_host(backup=BACKUP))

    assert (without["archive_mode"], "archive_command" in without) == ("off", False)
    assert (kept["archive_mode"], kept["archive_command"]) == ("on", "pgbackrest --stanza=main archive-push %p")
    assert kept["archive_timeout"] == "150s"


def test_who_may_connect_to_a_single_server() -> None:
    assert host_based_authentication(_host()) == (
        "local all postgres peer",
        "hostssl application application 127.0.0.1/32 scram-sha-256",
        "hostssl application application 10.0.0.0/16 scram-sha-256",
        "hostssl postgres,application monitoring 127.0.0.1/32 scram-sha-256",
        "hostssl replication replication 127.0.0.1/32 scram-sha-256",
        "hostssl replication replication ${address:database-eu-2}/32 scram-sha-256",
    )


def test_patroni_rewinds_and_pgbouncer_looks_up_where_they_run() -> None:
    more = set(host_based_authentication(_host(standbys=1, pgbouncer=PGBOUNCER))) - set(host_based_authentication(_host()))

    assert more == {
        "hostssl application pgbouncer 127.0.0.1/32 scram-sha-256",
        "hostssl postgres rewind 127.0.0.1/32 scram-sha-256",
        "hostssl postgres rewind ${address:database-eu-2}/32 scram-sha-256",
    }


@pytest.mark.parametrize("standbys", [0, 1, 2])
def test_nobody_connects_over_the_network_without_tls_and_a_password(standbys: int) -> None:
    lines = host_based_authentication(_host(standbys=standbys, pgbouncer=PGBOUNCER))
    assert len([line for line in lines if line.startswith("hostssl ")]) > standbys
    for line in lines:
        assert line == "local all postgres peer" or (line.startswith("hostssl ") and line.endswith(" scram-sha-256"))
        assert "0.0.0.0/0" not in line


def test_rules_of_access_are_readable_by_the_server_alone() -> None:
    (file,) = (file for file in _service("postgresql", _host()).files if file.path.endswith("pg_hba.conf"))

    assert file.path == "/etc/postgresql/17/main/pg_hba.conf"
    assert (file.owner, file.group, file.mode) == ("postgres", "postgres", 0o640)
    assert all(line in file.content.splitlines() for line in host_based_authentication(_host()))


def test_a_wrong_parameter_is_refused_by_postgresql_itself_before_anything_is_replaced() -> None:
    assert _service("postgresql", _host()).checks == (
        "runuser -u postgres -- /usr/lib/postgresql/17/bin/postgres -C shared_buffers -D /srv/data/postgresql/17/main "
        "-c config_file=/etc/postgresql/17/main/postgresql.conf >/dev/null",
    )


def test_a_change_reloads_and_only_what_needs_it_restarts() -> None:
    service = _service("postgresql", _host())
    (restart,) = service.before

    assert (service.on_change, service.units) == ("reload", ("postgresql@17-main.service",))
    assert "pg_file_settings WHERE error IS NOT NULL" in restart.unless
    assert restart.script == "systemctl restart postgresql@17-main"


@pytest.mark.parametrize(
    ("drop_in_age", "answers", "wrong_parameters", "restarts"),
    [(60, True, 0, False), (0, True, 0, True), (60, True, 1, True), (0, False, 0, False)],
    ids=["nothing new", "new limits or sandbox", "a parameter that waits", "still recovers"],
)
def test_a_running_server_restarts_for_what_a_reload_does_not_bring(
    tmp_path: Path, drop_in_age: int, answers: bool, wrong_parameters: int, restarts: bool
) -> None:
    drop_in, pid_file = tmp_path / "rungway.conf", tmp_path / "17-main.pid"
    for path, age in ((drop_in, drop_in_age), (pid_file, 30)):
        path.touch()
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    unless = render_template("postgresql/restart-is-due.sh", unit="postgresql@17-main", drop_in=drop_in, pid_file=pid_file, psql="says")
    stubs = f"systemctl() {{ true; }}; pg_isready() {{ {'true' if answers else 'false'}; }}; says() {{ echo {wrong_parameters}; }}\n"

    assert bool(subprocess.run(["bash", "-euc", stubs + unless], check=False).returncode) is restarts


@pytest.mark.parametrize(("looks_before", "waits"), [(0, 0), (3, 3), (1000, 60)], ids=["there", "late", "never"])
def test_it_waits_for_its_address_but_not_for_ever(tmp_path: Path, looks_before: int, waits: int) -> None:
    """PostgreSQL starts without an address that is not there yet, and never listens on it later."""
    unit = next(file for file in _service("postgresql", _host()).files if file.path.endswith(".service.d/rungway.conf"))
    (line,) = re.findall("^ExecStartPre=(.*)$", unit.content, re.MULTILINE)
    looks, slept = tmp_path / "looks", tmp_path / "slept"
    stubs = {
        "ip": f'echo >> {looks}; test "$(wc -l < {looks})" -le {looks_before} || echo "inet $5/16"',
        "sleep": f'echo "$1" >> {slept}',
    }
    for name, script in stubs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    slept.touch()

    # As systemd reads it: with the privileges of root, and a doubled $ as one.
    command = shlex.split(line.removeprefix("+").replace("$$", "$"))
    subprocess.run(command, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=True)

    assert line.startswith("+")
    assert slept.read_text().split() == ["1"] * waits


def test_it_counts_as_up_when_it_answers_on_its_private_address_with_valid_rules() -> None:
    probe = _service("postgresql", _host(private_address=None)).probe

    assert probe.startswith("pg_isready -q -h ${address:database-eu-1}\n")
    assert "pg_hba_file_rules WHERE error IS NOT NULL" in probe


@pytest.mark.parametrize(
    ("host", "roles"),
    [
        (_host(), {"application", "monitoring", "replication"}),
        (_host(pgbouncer=PGBOUNCER), {"application", "monitoring", "replication", "pgbouncer"}),
        (_host(standbys=2, pgbouncer=PGBOUNCER), {"application", "monitoring", "replication", "pgbouncer", "rewind"}),
    ],
    ids=["single", "pooled", "patroni"],
)
def test_every_role_is_made_and_its_password_tried(host: HostSpecification, roles: set[str]) -> None:
    (task,) = database_roles_tasks(host)

    for role in roles:
        assert f"PASSWORD '${{secret:postgresql-{role}}}';" in task.script
        assert f"127.0.0.1:5432:*:{role}:${{secret:postgresql-{role}}}\n" in task.unless
        assert f'psql -Xwqd "$server user={role} ' in task.unless
    assert task.script.count("PASSWORD '") == len(roles)


def test_passwords_reach_psql_through_standard_input_and_stay_out_of_the_log() -> None:
    (task,) = database_roles_tasks(_host(standbys=1, pgbouncer=PGBOUNCER))
    command, _, sql = task.script.partition("<<'SQL'\n")

    assert "${secret:" not in command
    assert sql.endswith("\nSQL\n")
    before_the_first = sql[: sql.index("PASSWORD '")]
    for setting in (
        "log_statement = none",
        "log_min_duration_statement = -1",
        "log_min_error_statement = panic",
        "pg_stat_statements.track = none",
    ):
        assert f"SET {setting};" in before_the_first
    for line in task.unless.splitlines():
        assert "${secret:" not in line or line.startswith("127.0.0.1:5432:*:")


def test_slow_statements_are_logged_without_their_values() -> None:
    parameters = postgresql_parameters(_host())

    assert (parameters["log_min_duration_statement"], parameters["log_parameter_max_length"]) == ("500ms", "0")


def test_passwords_are_tried_only_over_verified_tls() -> None:
    (task,) = database_roles_tasks(_host())

    assert 'server="host=127.0.0.1 port=5432 sslmode=verify-full sslrootcert=/etc/rungway/tls/authority.crt"' in task.unless


def test_a_standby_is_left_alone() -> None:
    (task,) = database_roles_tasks(_host(standbys=1))

    assert "if [ \"$(says -c 'SELECT pg_is_in_recovery()')\" = t ]; then\n    exit 0\n" in task.unless


def test_old_versions_have_no_reserved_connections_to_grant() -> None:
    (new,), (old,) = database_roles_tasks(_host()), database_roles_tasks(_host(version=15))

    assert "GRANT pg_use_reserved_connections TO monitoring;" in new.script
    assert "pg_use_reserved_connections" not in old.script + old.unless


def test_pgbouncer_looks_up_the_applications_role_and_no_other() -> None:
    (task,) = database_roles_tasks(_host(pgbouncer=PGBOUNCER))
    (without,) = database_roles_tasks(_host())

    assert "FROM pg_shadow WHERE usename = name AND usename = 'application'" in task.script
    assert "REVOKE ALL ON FUNCTION pgbouncer.user_lookup(text) FROM PUBLIC;" in task.script
    assert "user_lookup" not in without.script + without.unless


def test_what_needs_postgresql_is_refused_without_it() -> None:
    host = dataclasses.replace(_host(), postgresql=None)

    with pytest.raises(ValueError, match=r"^database-eu-1: no PostgreSQL on this server; allowed: servers with it$"):
        data_directory(host)


def test_the_unit_waits_for_the_private_address() -> None:
    content = _content(_host(), "service.d/rungway.conf")

    assert "After=network-online.target" in content
    assert "RequiresMountsFor=/srv/data/postgresql/17/main" in content
    assert address_of(_host()) in _content(_host(), "conf.d/rungway.conf")


def test_the_server_has_no_privilege_and_writes_where_it_must() -> None:
    lines = _content(_host(backup=BACKUP), "service.d/rungway.conf").splitlines()
    alone = _content(_host(data_mount=None), "service.d/rungway.conf").splitlines()
    said = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))

    assert "ReadWritePaths=/srv/data/postgresql /run/postgresql /var/log/postgresql /var/spool/pgbackrest" in lines
    assert "ReadWritePaths=/var/lib/postgresql /run/postgresql /var/log/postgresql" in alone
    assert said["User"] == said["Group"] == "postgres"
    assert said["CapabilityBoundingSet"] == ""
    # systemd takes the last line of several. Each of the first two is in the sandbox of other units; the third never is.
    assert (said["MemoryDenyWriteExecute"], said["RemoveIPC"]) == ("no", "no")
    assert "PrivateIPC" not in said
