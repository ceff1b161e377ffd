"""PgBouncer's files: TLS on both sides, passwords in files that it alone reads, pools from the one table."""

import configparser
import dataclasses
import re

import pytest

from hosts.configuration import HostFile
from hosts.services.pgbouncer import pgbouncer
from hosts.specification import HostSpecification, PgbouncerService, PostgresqlService
from tests.support.debian_root import Command, DebianRoot, Step

HOST = HostSpecification(
    name="database-eu-1",
    role="database",
    provider="hetzner",
    location="nbg1",
    region="eu",
    cores=2,
    memory_mb=4096,
    disk_gb=40,
    architecture="x86",
    private_address="10.0.1.20",
    public=False,
    jump_host="app-eu-1",
    data_mount="/srv/data",
    postgresql=PostgresqlService(
        version=17,
        primary=True,
        memory_mb=0,
        max_connections=100,
        reserved_connections=10,
        synchronous_commit=False,
        standbys=0,
        clients=60,
    ),
    pgbouncer=PgbouncerService(max_client_connections=1000, pool_size=40),
)


@pytest.fixture
def files() -> dict[str, HostFile]:
    service = pgbouncer(HOST)
    assert service
    return {file.path: file for file in service.files}


@pytest.fixture
def settings(files: dict[str, HostFile]) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(comment_prefixes=(";",), interpolation=None)
    parser.read_string(files["/etc/pgbouncer/pgbouncer.ini"].content)
    assert dict(parser["databases"]) == {"application": "host=127.0.0.1 port=5432 dbname=application"}
    return parser["pgbouncer"]


def test_there_is_none_where_none_is_asked_for() -> None:
    assert pgbouncer(dataclasses.replace(HOST, pgbouncer=None)) is None


def test_it_listens_on_the_private_address_and_to_itself(settings: configparser.SectionProxy) -> None:
    assert (settings["listen_addr"], settings["listen_port"]) == ("127.0.0.1,10.0.1.20", "6432")


def test_it_does_not_start_before_the_private_address_is_there(files: dict[str, HostFile], debian_root: DebianRoot) -> None:
    drop_in = files["/etc/systemd/system/pgbouncer.service.d/rungway.conf"].content
    (command,) = re.findall(r"^ExecStartPre=\+(.*)", drop_in, re.MULTILINE)
    start = Command("start", command.replace("$$", "$"))

    assert [answer.code for answer in debian_root.run([Step(commands=(start,))], addresses=["10.0.1.2", "10.0.1.201"])] == [1]
    assert [answer.code for answer in debian_root.run([Step(commands=(start,))], addresses=["10.0.1.20"])] == [0]


def test_both_sides_speak_tls(settings: configparser.SectionProxy) -> None:
    assert (settings["client_tls_sslmode"], settings["client_tls_protocols"]) == ("require", "tlsv1.3")
    assert (settings["server_tls_sslmode"], settings["server_tls_ca_file"]) == ("verify-full", "/etc/rungway/tls/authority.crt")


def test_passwords_of_the_application_come_from_postgresql(settings: configparser.SectionProxy) -> None:
    assert settings["auth_type"] == "scram-sha-256"
    assert (settings["auth_user"], settings["auth_dbname"]) == ("pgbouncer", "application")
    assert settings["auth_query"] == "SELECT uname, phash FROM pgbouncer.user_lookup($1)"
    assert (settings.get("admin_users"), settings["stats_users"]) == (None, "monitoring")


def test_pools_are_from_the_table(settings: configparser.SectionProxy) -> None:
    assert settings["pool_mode"] == "transaction"
    assert (settings["max_client_conn"], settings["default_pool_size"], settings["reserve_pool_size"]) == ("1000", "40", "10")
    assert (settings["max_db_connections"], settings["max_prepared_statements"]) == ("90", "200")


def test_the_two_passwords_on_the_server_are_readable_by_pgbouncer_alone(files: dict[str, HostFile]) -> None:
    users = files["/etc/pgbouncer/userlist.txt"]

    assert users.content == '"pgbouncer" "${secret:postgresql-pgbouncer}"\n"monitoring" "${secret:postgresql-monitoring}"\n'
    assert (users.owner, users.mode, users.is_secret) == ("postgres", 0o600, True)


def test_the_new_configuration_starts_beside_the_running_one_before_it_replaces_it(files: dict[str, HostFile]) -> None:
    service = pgbouncer(HOST)
    assert service
    check = files["/usr/local/lib/rungway/pgbouncer-check"]

    assert service.checks == (check.path,)
    assert check.mode == 0o755
    # Neither the port nor the socket of the running one.
    assert "-e 's/^listen_addr *=.*/listen_addr =/'" in check.content
    assert 's|^unix_socket_dir *=.*|unix_socket_dir = $directory|"' in check.content


def test_a_change_is_reloaded_so_that_no_client_is_cut(files: dict[str, HostFile]) -> None:
    service = pgbouncer(HOST)
    assert service

    assert (service.on_change, service.units) == ("reload", ("pgbouncer.service",))
    assert "LimitNOFILE=65536\n" in files["/etc/systemd/system/pgbouncer.service.d/rungway.conf"].content


def test_the_unit_is_locked_in(files: dict[str, HostFile]) -> None:
    unit = files["/etc/systemd/system/pgbouncer.service.d/rungway.conf"].content.splitlines()

    assert {"NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=", "SupplementaryGroups=tls-key"} <= set(unit)
