"""Patroni: PostgreSQL on two or more servers of a region, with a new primary within seconds when the old one fails.

How long a failure of the primary lasts for writers (Patroni documentation, "Dynamic Configuration Settings"):

- the server disappears: at most `TTL_SECONDS` until its lead ends, then a vote and a promotion, together about a second. A TTL of
  20 seconds is the least that Patroni accepts, because a shorter one would mistake a slow disk for a dead server;
- PostgreSQL crashes and its server lives: seen within `LOOP_WAIT_SECONDS`. With synchronous commits another takes over at once; without
  them it gets time to recover first, since a standby may lack the last commits;
- a planned switchover or a clean stop: as long as the last checkpoint and the promotion take.

Nobody writes in two places: a primary that can't renew its lead stops before the lead ends, and the kernel's watchdog restarts the server
when Patroni hangs. When etcd itself is away, the primary goes on as long as all standbys agree (failsafe mode).

Roles and databases are made by the first primary itself as it is born (post_bootstrap), and kept right by tasks on whoever is the primary;
Patroni copies them to the others. Settings that all nodes must share live in etcd, and a task keeps them equal to those
in /etc/patroni/dynamic.yml; the rest is a reload. What needs a restart of PostgreSQL waits for one: `patronictl list` shows it, and
`patronictl restart main` does it, the primary last.

Another region votes for itself, in an etcd of its own, and its leader follows the primary of the first region (Patroni documentation,
"Standby cluster"; `hosts.services.replication`). Patroni chooses synchronous standbys among its own members, so a commit never waits for
another region. That a region follows is said when it is born, and kept right as long as it is so: whoever promotes it takes the section
out of etcd, and no convergence puts it back.
"""

from dataclasses import replace

from hosts.backup_tool import BACKUP_TOOL
from hosts.configuration import Account, Directory, HostFile, Service, Task, address_of, secret
from hosts.services.base import TLS_FILES
from hosts.services.etcd import members
from hosts.services.postgresql import (
    cluster_defaults,
    data_directory,
    database_roles_tasks,
    host_based_authentication,
    postgresql_parameters,
)
from hosts.services.replication import CONNECT_SECONDS, followed_addresses, passfile, restore_command, same_cluster_task
from hosts.specification import HostSpecification, PostgresqlService
from hosts.templating import render_template

TTL_SECONDS = 20
"""How long a primary leads without renewing: the least that Patroni accepts (`patroni/config.py`, _validate_and_adjust_timeouts)."""

LOOP_WAIT_SECONDS = 2
"""How often Patroni looks. A look is a few requests to etcd and one query."""

RETRY_TIMEOUT_SECONDS = 7
"""Failures of etcd or PostgreSQL shorter than this change nothing: etcd elects a leader within about two. Patroni demands
loop_wait + 2 * retry_timeout <= ttl, and the watchdog, 5 seconds before the TTL, must leave room for one retry."""

RECOVERY_SECONDS = 30
"""How long a crashed primary may recover where a failover could lose commits."""

MAXIMUM_LAG_BYTES = 1024 * 1024
"""A standby that is further behind does not become the primary (Patroni's default)."""

SHARED_PARAMETERS = frozenset(
    {
        "max_connections",
        "max_locks_per_transaction",
        "max_prepared_transactions",
        "max_replication_slots",
        "max_wal_senders",
        "max_worker_processes",
        "track_commit_timestamp",
        "wal_keep_size",
        "wal_level",
        "wal_log_hints",
    }
)
"""What Patroni takes from etcd alone (documentation, "Important rules"): a standby must not have less of it than the primary."""

PATRONI_PARAMETERS = frozenset(
    {"cluster_name", "data_directory", "hba_file", "hot_standby", "ident_file", "listen_addresses", "port", "restore_command"}
    | {"synchronous_standby_names"}
)
"""What Patroni sets itself."""

CONFIG = "/etc/patroni/config.yml"
DYNAMIC = "/etc/patroni/dynamic.yml"
STANDBY = "/etc/patroni/standby.yml"
SERVICE_FILE = "/etc/patroni/pg_service.conf"
CHECK = "/usr/local/lib/rungway/patroni-check"
PROBE = "/usr/local/lib/rungway/patroni-probe"


def patroni(host: HostSpecification) -> tuple[Service, ...]:
    """Patroni and its PostgreSQL on `host`; empty where PostgreSQL has no standby and runs by itself."""
    if not (host.postgresql and host.postgresql.standbys):
        return ()
    return (cluster_defaults(), _service(host, host.postgresql))


def _service(host: HostSpecification, postgresql: PostgresqlService) -> Service:
    directory = data_directory(host)
    parameters = {name: value for name, value in postgresql_parameters(host).items() if name not in PATRONI_PARAMETERS}
    dynamic = _dynamic(postgresql, parameters)
    standby = _standby(host)
    return Service(
        name="patroni",
        # The backup tool too: a standby whose restore command is not there at all does not start (its shell's 127 is fatal to recovery).
        packages=(
            *("patroni", "python3-etcd", "etcd-client", "curl", f"postgresql-{postgresql.version}"),
            *(BACKUP_TOOL.packages if host.backup else ()),
        ),
        accounts=(Account(name="postgres", home="/var/lib/postgresql", groups=("tls-key",)),),
        directories=(
            # Patroni itself moves the data aside, and makes it again.
            Directory(path=directory.rpartition("/")[0], owner="postgres", group="postgres", mode=0o700),
            Directory(path=directory, owner="postgres", group="postgres", mode=0o700),
        ),
        files=(
            _private(CONFIG, _configuration(host, postgresql, parameters, dynamic + standby)),
            _private(DYNAMIC, dynamic),
            *(_standby_files(host, standby) if standby else ()),
            _private("/etc/patroni/post-bootstrap", _post_bootstrap(host), mode=0o700),
            HostFile(path="/etc/patroni/postgresql.conf", content="# Every setting comes from Patroni.\n"),
            HostFile(
                path="/etc/systemd/system/patroni.service.d/rungway.conf",
                content=render_template("patroni/rungway.conf", data_directory=directory, service_file=SERVICE_FILE if standby else ""),
            ),
            HostFile(path=CHECK, content=render_template("patroni/check.sh", config=CONFIG), mode=0o755),
            HostFile(path=PROBE, content=render_template("patroni/probe.sh", address=address_of(host)), mode=0o755),
        ),
        reads=TLS_FILES,
        checks=(CHECK,),
        before=same_cluster_task(host, directory),
        units=("patroni.service",),
        masked=(f"postgresql@{postgresql.version}-main.service",),
        # A restart of Patroni would restart PostgreSQL.
        on_change="reload",
        probe=PROBE,
        after=(
            _shared_configuration("shared configuration", DYNAMIC),
            *((_shared_configuration("region that is followed", STANDBY, only_with="standby_cluster"),) if standby else ()),
            *(_on_a_primary(task) for task in database_roles_tasks(host)),
        ),
    )


def _private(path: str, content: str, *, mode: int = 0o600) -> HostFile:
    return HostFile(path=path, content=content, owner="postgres", group="postgres", mode=mode)


def _dynamic(postgresql: PostgresqlService, parameters: dict[str, str]) -> str:
    return render_template(
        "patroni/dynamic.yml",
        ttl=TTL_SECONDS,
        loop_wait=LOOP_WAIT_SECONDS,
        retry_timeout=RETRY_TIMEOUT_SECONDS,
        primary_start_timeout=0 if postgresql.synchronous_commit else RECOVERY_SECONDS,
        maximum_lag=MAXIMUM_LAG_BYTES,
        synchronous=postgresql.synchronous_commit,
        parameters=sorted((name, value) for name, value in parameters.items() if name in SHARED_PARAMETERS),
    )


def _standby(host: HostSpecification) -> str:
    """The section of a region that follows the first one; empty in the first one."""
    addresses = followed_addresses(host)
    return render_template("patroni/standby.yml", addresses=addresses, restore_command=restore_command(host)) if addresses else ""


def _standby_files(host: HostSpecification, standby: str) -> tuple[HostFile, ...]:
    service = render_template("patroni/pg_service.conf", seconds=CONNECT_SECONDS)
    return (_private(STANDBY, standby), HostFile(path=SERVICE_FILE, content=service), *passfile(host))


def _configuration(host: HostSpecification, postgresql: PostgresqlService, parameters: dict[str, str], dynamic: str) -> str:
    return render_template(
        "patroni/config.yml",
        member=host.name,
        address=address_of(host),
        rest_password=secret("patroni-rest"),
        etcd_addresses=[address_of(member) for member in members(host)],
        dynamic=dynamic.rstrip(),
        data_directory=data_directory(host),
        version=postgresql.version,
        replication_password=secret("postgresql-replication"),
        rewind_password=secret("postgresql-rewind"),
        restore_command=BACKUP_TOOL.fetch if host.backup else "",
        host_based_authentication=host_based_authentication(host),
        parameters=sorted((name, value) for name, value in parameters.items() if name not in SHARED_PARAMETERS),
    )


def _post_bootstrap(host: HostSpecification) -> str:
    return render_template("patroni/post-bootstrap.sh", scripts=[task.script for task in database_roles_tasks(host)])


def _on_a_primary(task: Task) -> Task:
    """The same task, with nothing to do on a standby, and where PostgreSQL waits for a majority or for its data."""
    is_primary = (
        'runuser -u postgres -- psql -XAtq -d postgres -c "SELECT NOT pg_is_in_recovery()" 2>/dev/null | grep --quiet --line-regexp t'
    )
    return replace(task, unless=f"{is_primary} || exit 0\n{task.unless}")


def _shared_configuration(name: str, file: str, *, only_with: str = "") -> Task:
    """Makes the shared configuration in etcd what the file says, and leaves alone what the file does not name, such as a pause.

    Nothing is to do before the first primary has written it there, or while etcd can't be asked, and where the section `only_with` is gone.
    """
    ask = f"timeout 15 patronictl --config-file {CONFIG}"
    guard = f"grep --quiet '^{only_with}:' <<<\"$shared\" || exit 0\n" if only_with else ""
    return Task(
        name=name,
        unless=(
            f'shared=$({ask} show-config) || exit 0\n[ -n "$shared" ] || exit 0\n{guard}'
            f"{ask} edit-config --apply {file} </dev/null 2>/dev/null | grep --quiet --line-regexp 'Not changed'"
        ),
        script=f"{ask} edit-config --force --apply {file}",
    )
