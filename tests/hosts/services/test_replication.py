"""Databases of other regions: what they are told, and a real PostgreSQL that copies, follows a failover and is never overwritten."""

import dataclasses
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from hosts.configuration import Directory, HostConfiguration, HostFile, Service, Task
from hosts.secrets import AUTHORITY_SECRET, fill_in, server_certificate
from hosts.services.backup import backup
from hosts.services.base import AUTHORITY, CERTIFICATE, KEY
from hosts.services.postgresql import database_roles_tasks, host_based_authentication, postgresql
from hosts.services.replication import COPY, PASSFILE
from hosts.specification import HostSpecification, Peer
from hosts.tuning import POSTGRESQL as POSTGRESQL_RULES
from hosts.tuning import tuned
from rungway.servers import servers_of_stack
from rungway.stacks import all_stacks
from tests.support.database_host import POSTGRESQL, database_host
from tests.support.debian_root import Answer, Command, DebianRoot, Step

EU = tuple(Peer(f"database-eu-{number}", "database", f"10.0.2.{9 + number}", "eu", True, ("postgresql",)) for number in (1, 2))
US = Peer("database-us-1", "database", "10.1.2.10", "us", False, ("postgresql",))


def _standby(**changes: Any) -> HostSpecification:
    """The only database server of the region us, which follows the two of eu."""
    arguments: dict[str, Any] = {
        "name": "database-us-1",
        "region": "us",
        "private_address": "10.1.2.10",
        "peers": EU,
        "memory_mb": 1024,
        "cores": 1,
        "postgresql": dataclasses.replace(POSTGRESQL, primary=False, follows=("database-eu-1", "database-eu-2"), primary_cores=2),
    }
    return database_host(**(arguments | changes))


def _services(host: HostSpecification) -> dict[str, Service]:
    return {service.name: service for service in postgresql(host)}


def _content(service: Service, ending: str) -> str:
    return next(file.content for file in service.files if file.path.endswith(ending))


def test_the_first_region_follows_nobody() -> None:
    services = _services(database_host(peers=(US,)))

    assert list(services) == ["postgresql-defaults", "postgresql-cluster", "postgresql"]
    assert "primary_conninfo" not in _content(services["postgresql"], "conf.d/rungway.conf")
    assert not services["postgresql-cluster"].files
    assert "rewinding" not in _content(services["postgresql"], "service.d/rungway.conf")


def test_a_copy_asks_every_server_of_the_first_region_and_takes_the_one_that_accepts_writes() -> None:
    lines = _content(_services(_standby())["postgresql"], "conf.d/rungway.conf").splitlines()

    (conninfo,) = (line for line in lines if line.startswith("primary_conninfo"))
    assert conninfo == (
        "primary_conninfo = 'host=10.0.2.10,10.0.2.11 port=5432 user=replication passfile=/etc/rungway/replication.pgpass "
        "sslmode=verify-full sslrootcert=/etc/rungway/tls/authority.crt target_session_attrs=read-write "
        "application_name=database-us-1 connect_timeout=5 tcp_user_timeout=5000'"
    )
    assert "recovery_target_timeline = 'latest'" in lines
    assert "wal_receiver_timeout = '20s'" in lines
    assert not any("slot_name" in line for line in lines)


@pytest.mark.parametrize(
    ("kept", "command"),
    [
        (True, "restore_command = 'pgbackrest --stanza=main --repo1-path=/postgresql/eu archive-get %f \"%p\"'"),
        (False, "restore_command = ''"),
    ],
)
def test_what_the_primary_no_longer_has_comes_from_its_own_archive(kept: bool, command: str) -> None:
    host = _standby() if kept else _standby(backup=None)

    assert command in _content(_services(host)["postgresql"], "conf.d/rungway.conf").splitlines()


def test_a_copy_archives_into_the_path_of_its_own_region() -> None:
    service = backup(_standby())

    assert service is not None
    assert "repo1-path=/postgresql/us\n" in _content(service, "pgbackrest.conf")
    assert "archive_command = 'pgbackrest --stanza=main archive-push %p'" in _content(_services(_standby())["postgresql"], "rungway.conf")


def test_passwords_of_a_copy_are_in_a_file_that_postgres_alone_reads() -> None:
    files = [file for service in postgresql(_standby()) for file in service.files if file.is_secret]

    assert [(file.path, file.owner, file.mode) for file in files] == [(PASSFILE, "postgres", 0o600)]
    assert files[0].content == "*:*:*:replication:${secret:postgresql-replication}\n*:*:*:rewind:${secret:postgresql-rewind}\n"


def test_a_large_copy_goes_on_when_the_convergence_has_given_up(tmp_path: Path) -> None:
    (task,) = (task for task in _services(_standby(data_mount=str(tmp_path)))["postgresql-cluster"].before if task.name == "cluster")
    (tmp_path / "timeout").write_text("#!/bin/sh\nexit 124\n")
    (tmp_path / "timeout").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(["bash", "-euc", task.script], env={"PATH": path}, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "is still being copied: it goes on by itself" in done.stdout


@pytest.mark.parametrize("peer", [US, dataclasses.replace(US, name="app-us-1", role="app")], ids=["database", "app"])
def test_the_first_region_lets_other_regions_stream_and_go_back(peer: Peer) -> None:
    host = database_host(peers=(peer, dataclasses.replace(peer, name="redis-us-1", role="redis", address="10.1.3.10", services=("redis",))))
    lines = host_based_authentication(host)

    assert "hostssl replication replication 10.1.2.10/32 scram-sha-256" in lines
    assert "hostssl postgres rewind 10.1.2.10/32 scram-sha-256" in lines
    assert not any("10.1.3.10" in line for line in lines)


def test_the_first_region_makes_the_roles_that_only_another_region_needs() -> None:
    (alone,), (followed,) = (
        database_roles_tasks(database_host(peers=peers)) for peers in ((), (dataclasses.replace(US, services=("postgresql", "pgbouncer")),))
    )

    for role in ("rewind", "pgbouncer"):
        assert f"CREATE ROLE {role}" not in alone.script
        assert f"CREATE ROLE {role}" in followed.script


def test_no_copy_is_smaller_than_its_primary(in_project: Path) -> None:
    """PostgreSQL refuses to start a standby with less of these (documentation, 26.4.3). All others are the same on every server."""
    seen = 0
    for stack in all_stacks(in_project):
        hosts = {host.name: host for host in servers_of_stack(stack.name) if host.postgresql}
        for host in hosts.values():
            for followed in host.postgresql.follows if host.postgresql else ():
                own, primary = tuned(POSTGRESQL_RULES, host), tuned(POSTGRESQL_RULES, hosts[followed])
                for name in ("max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions"):
                    assert int(own.get(name, 0)) >= int(primary.get(name, 0)), (stack.name, host.name, name)
                assert own.get("max_locks_per_transaction") == primary.get("max_locks_per_transaction")
                seen += 1
    assert seen > 20


# With the real programs

SERVERS = {"eu-1": "10.0.2.10", "eu-2": "10.0.2.11", "us-1": "10.1.2.10"}
SECRETS = {AUTHORITY_SECRET: "0123456789abcdef", "postgresql-replication": "streams", "postgresql-rewind": "goes-back"}

SYSTEMCTL = f"""#!/bin/bash
# No systemd runs here: units are what they would start.
case "$*" in
    "start {COPY}.service") runuser -u postgres -- /usr/local/lib/rungway/{COPY} ;;
    "start postgresql@17-main") pg_ctlcluster --skip-systemctl-redirect 17-main start ;;
    "stop postgresql@17-main") pg_ctlcluster --skip-systemctl-redirect -m fast 17-main stop ;;
    *) exit 1 ;;
esac
"""
FUNCTIONS = """
programs=/usr/lib/postgresql/17/bin
follow=/usr/local/lib/rungway/rungway-database-follow
eu() { # SERVER COMMAND…
    local server=$1; shift
    runuser -u postgres -- $programs/pg_ctl --silent --wait --pgdata=/srv/$server --log=/srv/$server.log "$@"
}
sql() { # SERVER STATEMENT
    local socket=/srv/$1.socket
    [ "$1" != us-1 ] || socket=/run/postgresql
    runuser -u postgres -- psql -XAtqw -v ON_ERROR_STOP=1 -h $socket -c "$2"
}
becomes() { # WANTED SERVER STATEMENT
    for _ in $(seq 150); do
        [ "$(sql "$2" "$3" 2>/dev/null)" != "$1" ] || return 0
        sleep 0.1
    done
    echo "$2: $3: $(sql "$2" "$3" 2>&1)"
    return 1
}
forgets() { # SERVER: what it has archived
    becomes 0 "$1" "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'"
    sql "$1" CHECKPOINT
    sql "$1" CHECKPOINT
}
streams() { # FROM
    becomes "$1" us-1 "SELECT sender_host FROM pg_stat_wal_receiver WHERE status = 'streaming'"
}
"""


def _archive(server: str) -> str:
    """pgBackRest of one of the first region's servers, whose repository is a directory here."""
    return f"pgbackrest --stanza=main --pg1-path=/srv/{server} --repo1-path=/postgresql/eu"


def _first_region(number: int) -> str:
    """Configuration of one of the first region's servers, as far as it matters to those that follow."""
    server = f"eu-{number}"
    lines = {
        "listen_addresses": SERVERS[server],
        "unix_socket_directories": f"/srv/{server}.socket",
        "ssl": "on",
        "ssl_cert_file": f"/srv/{server}.crt",
        "ssl_key_file": f"/srv/{server}.key",
        "password_encryption": "scram-sha-256",
        "max_worker_processes": 8,
        "shared_buffers": "16MB",
        "archive_mode": "on",
        "archive_command": f"{_archive(server)} archive-push %p",
    }
    return "".join(f"{name} = '{value}'\n" for name, value in lines.items())


def _files(host: HostSpecification) -> Iterable[HostFile]:
    for number in (1, 2):
        certificate = server_certificate(SECRETS[AUTHORITY_SECRET], f"database-eu-{number}", SERVERS[f"eu-{number}"])
        yield HostFile(path=f"/srv/eu-{number}.crt", content=certificate["certificate"])
        yield HostFile(path=f"/srv/eu-{number}.key", content=certificate["key"], owner="postgres", group="postgres", mode=0o600)
        yield HostFile(path=f"/srv/eu-{number}.conf", content=_first_region(number))
    # All servers are this one machine here, so connections come from the address that they go to.
    here = tuple(dataclasses.replace(US, address=address) for address in SERVERS.values())
    lines = ("local replication postgres peer", *host_based_authentication(database_host(peers=here)))
    yield HostFile(path="/srv/pg_hba.conf", content="".join(f"{line}\n" for line in lines))
    certificate = server_certificate(SECRETS[AUTHORITY_SECRET], host.name, host.private_address)
    yield HostFile(path=AUTHORITY, content=certificate["authority"])
    yield HostFile(path=CERTIFICATE, content=certificate["certificate"])
    yield HostFile(path=KEY, content=certificate["key"], owner="postgres", group="postgres", mode=0o600)
    lines = ("[global]", "repo1-path=/postgresql/us", "log-level-file=off", "[main]", "pg1-path=/srv/data/postgresql/17/main")
    yield HostFile(path="/etc/pgbackrest.conf", content="".join(f"{line}\n" for line in lines))
    yield HostFile(path="/usr/bin/systemctl", content=SYSTEMCTL, mode=0o755)


def _filled(host: HostSpecification) -> dict[str, Service]:
    configuration = HostConfiguration(name=host.name, private_address=host.private_address, services=postgresql(host))
    given = dict.fromkeys(("postgresql-application", "postgresql-monitoring"), "not-used-here") | SECRETS
    return {service.name: service for service in fill_in(configuration, secrets=given, addresses={}).services}


def _task(service: Service, name: str) -> Task:
    return next(task for task in service.before if task.name == name)


@pytest.fixture(scope="module")
def answers(debian_root: DebianRoot) -> dict[str, Answer]:
    """A region with two servers and one that follows, through a failover in which the copy was ahead of the new primary."""
    host = _standby()
    services = _filled(host)
    cluster, server, follow = (services[name] for name in ("postgresql-cluster", "postgresql", "postgresql-follow"))
    create, same = _task(cluster, "cluster"), _task(cluster, "database of the first region")
    start = """
# The package's own: a root for tests has no createcluster.conf of ours when it is made.
pg_dropcluster 17 main
install -d -o postgres -g postgres /srv/eu-1.socket /srv/eu-2.socket /postgresql
chown postgres:postgres /srv
runuser -u postgres -- $programs/initdb --pgdata=/srv/eu-1 --data-checksums --no-sync >/dev/null
cat /srv/eu-1.conf >>/srv/eu-1/postgresql.conf; cp /srv/pg_hba.conf /srv/eu-1
eu eu-1 start
runuser -u postgres -- pgbackrest --stanza=main --pg1-path=/srv/eu-1 --pg1-socket-path=/srv/eu-1.socket --repo1-path=/postgresql/eu \
    stanza-create
sql eu-1 "CREATE ROLE replication REPLICATION LOGIN PASSWORD 'streams'"
sql eu-1 "CREATE ROLE rewind LOGIN PASSWORD 'goes-back'"
for function in 'pg_ls_dir(text, boolean, boolean)' 'pg_stat_file(text, boolean)' 'pg_read_binary_file(text)' \
    'pg_read_binary_file(text, bigint, bigint, boolean)'; do
    sql eu-1 "GRANT EXECUTE ON FUNCTION pg_catalog.$function TO rewind"
done
runuser -u postgres -- $programs/pg_basebackup --host=/srv/eu-1.socket --pgdata=/srv/eu-2 --write-recovery-conf --no-sync
cat /srv/eu-1/pg_hba.conf >/srv/eu-2/pg_hba.conf
grep -v "^listen_addresses" /srv/eu-1/postgresql.conf >/srv/eu-2/postgresql.conf; cat /srv/eu-2.conf >>/srv/eu-2/postgresql.conf
eu eu-2 start
"""
    commands = {
        "first region": start,
        "nothing here": same.unless,
        "copy": create.script,
        "copied": create.unless,
    }
    following = {
        "start": "systemctl start postgresql@17-main; streams 10.0.2.10",
        "row": "sql eu-1 'CREATE TABLE rows (n int)'; sql eu-1 'INSERT INTO rows VALUES (1)'; becomes 1 us-1 'SELECT max(n) FROM rows'",
        # What came meanwhile is no longer on the primary.
        "away": "systemctl stop postgresql@17-main\n"
        "needed=$(sql eu-1 'SELECT pg_walfile_name(pg_current_wal_lsn())')\n"
        "for n in 1 2 3 4; do sql eu-1 \"CREATE TABLE late_$n ()\"; sql eu-1 'SELECT pg_switch_wal()' >/dev/null; done\n"
        "forgets eu-1\n"
        "[ ! -e /srv/eu-1/pg_wal/$needed ]; systemctl start postgresql@17-main; streams 10.0.2.10\n"
        "becomes 0 us-1 'SELECT count(*) FROM late_4'",
        "same cluster": same.unless,
        "archived": "sql us-1 'SELECT archived_count + failed_count FROM pg_stat_archiver'",
        "slots": "sql eu-1 'SELECT count(*) FROM pg_replication_slots'",
        "nothing to go back from": "before=$(sql us-1 'SELECT pg_postmaster_start_time()'); $follow\n"
        '[ "$(sql us-1 \'SELECT pg_postmaster_start_time()\')" = "$before" ]',
        "switchover": "eu eu-1 --mode=fast stop; sql eu-2 'SELECT pg_promote()'; streams 10.0.2.11\n"
        "sql eu-2 'INSERT INTO rows VALUES (2)'; becomes 2 us-1 'SELECT max(n) FROM rows'",
        "first again": "rm -rf /srv/eu-1\n"
        "runuser -u postgres -- $programs/pg_basebackup --host=/srv/eu-2.socket --pgdata=/srv/eu-1 --write-recovery-conf --no-sync\n"
        "grep -v '^listen_addresses' /srv/eu-2/postgresql.conf >/srv/eu-1/postgresql.conf; cat /srv/eu-1.conf >>/srv/eu-1/postgresql.conf\n"
        "eu eu-1 start; becomes 2 eu-1 'SELECT max(n) FROM rows'",
        # The next primary doesn't get what the copy gets.
        "ahead": "eu eu-1 stop; sql eu-2 'INSERT INTO rows VALUES (3)'; becomes 3 us-1 'SELECT max(n) FROM rows'\n"
        "eu eu-2 --mode=immediate stop; eu eu-1 start; sql eu-1 'SELECT pg_promote()'; sql eu-1 'INSERT INTO rows VALUES (4)'",
        "diverged": "becomes waiting us-1 'SELECT status FROM pg_stat_wal_receiver'; sql us-1 'SELECT max(n) FROM rows'",
        "go back": "$follow; streams 10.0.2.10; becomes 1,2,4 us-1 \"SELECT string_agg(n::text, ',' ORDER BY n) FROM rows\"\n"
        "[ ! -e /srv/data/postgresql/17/main.rewinding ]",
        "promote": "sql us-1 'SELECT pg_promote()'; sql us-1 'INSERT INTO rows VALUES (5)'",
        "promoted stays": f"{same.unless}\n{create.unless}",
        # It writes on, and archives into its own path.
        "own archive": "runuser -u postgres -- pgbackrest --stanza=main stanza-create\n"
        "for _ in 1 2 3; do sql us-1 'INSERT INTO rows VALUES (6)'; sql us-1 'SELECT pg_switch_wal()'; sql us-1 CHECKPOINT; done\n"
        "forgets us-1\n"
        "ls /srv/data/postgresql/17/main/pg_wal",
        "copy again": "systemctl stop postgresql@17-main\n"
        "runuser -u postgres -- touch /srv/data/postgresql/17/main/standby.signal; systemctl start postgresql@17-main\n"
        "becomes t us-1 'SELECT pg_is_in_recovery()'; $follow; streams 10.0.2.10\n"
        "becomes 1,2,4 us-1 \"SELECT string_agg(n::text, ',' ORDER BY n) FROM rows\"",
        "another cluster": "systemctl stop postgresql@17-main; mv /srv/data/postgresql/17/main /srv/data/postgresql/before\n"
        "runuser -u postgres -- $programs/initdb --pgdata=/srv/data/postgresql/17/main --no-sync >/dev/null",
        "refused": same.unless,
        "why": same.script,
        "copy over it": f"runuser -u postgres -- /usr/local/lib/rungway/{COPY}",
        "first region away": "eu eu-1 --mode=immediate stop",
        "not asked": same.unless,
    }
    steps = [
        Step(
            directories=(*cluster.directories, Directory(path="/srv/data")),
            files=(*_files(host), *cluster.files),
            commands=tuple(Command(name, FUNCTIONS + script) for name, script in commands.items()),
        ),
        Step(
            files=(*server.files, *follow.files),
            commands=tuple(Command(name, FUNCTIONS + script) for name, script in following.items()),
        ),
    ]
    return {answer.name: answer for answer in debian_root.run(steps, addresses=SERVERS.values())}


@pytest.mark.parametrize(
    "step",
    [
        "first region",
        "copy",
        "copied",
        "start",
        "row",
        "away",
        "same cluster",
        "switchover",
        "first again",
        "ahead",
        "go back",
        "promote",
        "own archive",
        "copy again",
    ],
)
def test_a_real_copy_streams_and_follows(answers: dict[str, Answer], step: str) -> None:
    assert answers[step].code == 0, answers[step].said


def test_a_real_copy_archives_nothing_and_has_no_slot_on_its_primary(answers: dict[str, Answer]) -> None:
    assert (answers["archived"].said, answers["slots"].said) == ("0", "0")


def test_a_copy_that_was_ahead_of_the_new_primary_is_taken_back_and_nothing_else_is(answers: dict[str, Answer]) -> None:
    assert answers["nothing to go back from"].code == 0, answers["nothing to go back from"].said
    # It has the row that the new primary has not, and none of those that came later.
    assert answers["diverged"].said == "3"
    assert "Timeline 2 went on after" in answers["go back"].said


def test_a_promoted_copy_stays_a_primary(answers: dict[str, Answer]) -> None:
    assert answers["promoted stays"].code == 0, answers["promoted stays"].said


def test_a_database_that_is_no_copy_is_never_overwritten(answers: dict[str, Answer]) -> None:
    assert answers["refused"].code == 1
    assert answers["why"].code == 1
    assert answers["why"].said.startswith("/srv/data/postgresql/17/main: found a database of its own (system identifier ")
    assert "allowed: a copy of the first region's (" in answers["why"].said
    assert (answers["copy over it"].code, answers["copy over it"].said) == (
        1,
        "/srv/data/postgresql/17/main: found a database; a copy never replaces one",
    )


def test_a_first_region_that_cannot_be_asked_stops_no_convergence(answers: dict[str, Answer]) -> None:
    assert answers["first region away"].code == 0, answers["first region away"].said
    assert answers["not asked"].code == 0, answers["not asked"].said
