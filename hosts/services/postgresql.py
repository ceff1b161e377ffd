"""PostgreSQL: its parameters, who may connect, its roles; and on a region's only database server the cluster itself.

With standbys Patroni runs PostgreSQL, from the same parameters, rules and roles. Alone, systemd's postgresql@…-main does.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from hosts import tuning
from hosts.backup_tool import BACKUP_TOOL
from hosts.configuration import Account, Directory, HostFile, Service, Task, address_of, secret
from hosts.sandbox import sandbox
from hosts.services.base import AUTHORITY, CERTIFICATE, KEY, TLS_FILES
from hosts.services.replication import (
    COPY,
    copy_files,
    database_peers,
    follow,
    has_rewind,
    passfile,
    same_cluster_task,
    standby_parameters,
    streaming_parameters,
)
from hosts.specification import HostSpecification, PostgresqlService
from hosts.templating import render_template

COPY_SECONDS = 1500
"""How long a convergence waits for the copy of another region's database; a task may take 1800 (`hosts.converge.agent`)."""

PSQL = "runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 -d postgres"
"""Runs SQL as the superuser, who is known by the socket; prints bare values."""


def postgresql_parameters(host: HostSpecification) -> dict[str, str]:
    """Everything in postgresql.conf that does not depend on who starts the server, by name.

    Listening addresses, paths of files and replication between nodes are not in it: systemd's cluster and Patroni set their own.
    """
    return {**tuning.tuned(tuning.POSTGRESQL, host), **_fixed_parameters(host)}


def host_based_authentication(host: HostSpecification) -> tuple[str, ...]:
    """The lines of pg_hba.conf. Passwords (SCRAM) over TLS for everything but the superuser, who comes through the socket alone.

    The application comes from the private networks that the firewall lets reach PostgreSQL, standbys from the database servers alone,
    those of other regions among them. What no line names is refused.
    """
    networks = ["127.0.0.1/32", *_private_networks(host)]
    servers = ["127.0.0.1/32", *(f"{address_of(peer)}/32" for peer in database_peers(host))]
    rules = [
        "local all postgres peer",
        *_password_rules("application", "application", networks),
        *_password_rules("postgres,application", "monitoring", ["127.0.0.1/32"]),
        *_password_rules("replication", "replication", servers),
    ]
    if _has_pgbouncer(host):
        rules += _password_rules("application", "pgbouncer", ["127.0.0.1/32"])
    if has_rewind(host):
        rules += _password_rules("postgres", "rewind", servers)
    return tuple(rules)


def data_directory(host: HostSpecification) -> str:
    """Where the cluster is: on the data volume, where there is one."""
    return f"{host.data_mount or '/var/lib'}/postgresql/{_postgresql(host).version}/main"


def cluster_defaults() -> Service:
    """Keeps the package from making a cluster where no data may be. It converges before any PostgreSQL package is installed."""
    content = render_template("postgresql/createcluster.conf")
    return Service(
        name="postgresql-defaults", files=(HostFile(path="/etc/postgresql-common/createcluster.d/rungway.conf", content=content),)
    )


def database_roles_tasks(host: HostSpecification) -> tuple[Task, ...]:
    """Makes the application's database, the roles with their passwords, and what they need; on a standby there is nothing to do.

    Passwords are compared by logging in over TCP as the services do, so that a wrong line in pg_hba.conf shows too.
    """
    values = {
        "roles": _roles(host),
        "authority": AUTHORITY,
        "pgbouncer": _has_pgbouncer(host),
        "rewind": has_rewind(host),
        "psql": PSQL,
    }
    return (
        Task(
            name="database and roles",
            unless=render_template("postgresql/roles-are-right.sh", **values),
            script=render_template("postgresql/roles.sh", **values),
        ),
    )


def postgresql(host: HostSpecification) -> tuple[Service, ...]:
    """PostgreSQL on `host` where its region has no other; empty without PostgreSQL, and where Patroni runs it."""
    if host.postgresql is None or host.postgresql.standbys:
        return ()
    version = host.postgresql.version
    following = (follow(host, data_directory(host)),) if host.postgresql.follows else ()
    return (cluster_defaults(), _cluster(host, version), _server(host, version), *following)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Role:
    """A role that logs in with the secret `postgresql-<name>` to `database` ('replication': for replication)."""

    name: str
    database: str
    replication: bool = False
    member_of: tuple[str, ...] = ()
    settings: tuple[tuning.Setting, ...] = ()

    @property
    def password(self) -> str:
        return secret(f"postgresql-{self.name}")


def _roles(host: HostSpecification) -> tuple[_Role, ...]:
    database = _postgresql(host)
    reserved = ("pg_use_reserved_connections",) if database.version >= 16 else ()
    roles = [
        _Role(name="application", database="application", settings=tuning.settings(tuning.APPLICATION_ROLE, host)),
        _Role(name="monitoring", database="postgres", member_of=("pg_monitor", *reserved)),
        _Role(name="replication", database="replication", replication=True),
    ]
    if _has_pgbouncer(host):
        roles.append(_Role(name="pgbouncer", database="application"))
    if has_rewind(host):
        roles.append(_Role(name="rewind", database="postgres"))
    return tuple(roles)


def _fixed_parameters(host: HostSpecification) -> dict[str, str]:
    parameters = {
        "password_encryption": "scram-sha-256",
        "ssl": "on",
        "ssl_cert_file": CERTIFICATE,
        "ssl_key_file": KEY,
        "ssl_min_protocol_version": "TLSv1.3",
        # The journal carries the lines to the logs of the stack; it adds the time and the process itself.
        "log_destination": "syslog",
        "logging_collector": "off",
        "syslog_ident": "postgresql",
        "syslog_sequence_numbers": "off",
        "syslog_split_messages": "off",
        "log_line_prefix": "%quser=%u database=%d application=%a client=%h ",
        # Slow statements are logged, and sent on, without their values: hashes of passwords, tokens, customers' data.
        "log_parameter_max_length": "0",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "archive_mode": "off",
        **standby_parameters(host),
    }
    if host.backup:
        # Half of the promise is for waiting, half for sending and for a second try. A standby archives nothing (archive_mode=always would).
        wait_seconds = host.backup.recovery_point_minutes * 60 // 2
        parameters |= {"archive_mode": "on", "archive_command": BACKUP_TOOL.archive, "archive_timeout": f"{wait_seconds}s"}
    return parameters


def _private_networks(host: HostSpecification) -> list[str]:
    return sorted({source for rule in host.rules if rule.port == "5432" for source in rule.sources})


def _password_rules(databases: str, role: str, sources: Iterable[str]) -> list[str]:
    return [f"hostssl {databases} {role} {source} scram-sha-256" for source in sources]


def _has_pgbouncer(host: HostSpecification) -> bool:
    """Whether a pooler logs in somewhere: a copy in another region has the roles that its primary made."""
    return host.pgbouncer is not None or any("pgbouncer" in peer.services for peer in host.peers)


def _data_parent(host: HostSpecification) -> str:
    """The directory of all clusters, PostgreSQL's own."""
    return data_directory(host).removesuffix(f"/{_postgresql(host).version}/main")


def _postgresql(host: HostSpecification) -> PostgresqlService:
    if host.postgresql is None:
        raise ValueError(f"{host.name}: no PostgreSQL on this server; allowed: servers with it")
    return host.postgresql


def _cluster(host: HostSpecification, version: int) -> Service:
    """The packages and an empty cluster; in another region a copy of the first one's; or what an earlier server left on the volume."""
    data = data_directory(host)
    create = render_template("postgresql/create-cluster.sh", data=data, version=version)
    files: tuple[HostFile, ...] = ()
    if _postgresql(host).follows:
        copy = render_template("postgresql/create-standby.sh", data=data, version=version, unit=f"{COPY}.service", seconds=COPY_SECONDS)
        create = copy + create
        files = (*passfile(host), *copy_files(host, data))
    return Service(
        name="postgresql-cluster",
        packages=(f"postgresql-{version}", *(BACKUP_TOOL.packages if host.backup else ())),
        accounts=(Account(name="postgres", home="/var/lib/postgresql", groups=("tls-key",)),),
        directories=(Directory(path=_data_parent(host), owner="postgres", group="postgres"),),
        files=files,
        before=(
            *same_cluster_task(host, data),
            Task(
                name="cluster",
                unless=f"test -f /etc/postgresql/{version}/main/postgresql.conf && test -f {data}/PG_VERSION",
                script=create,
            ),
        ),
    )


def _server(host: HostSpecification, version: int) -> Service:
    data = data_directory(host)
    etc = f"/etc/postgresql/{version}/main"
    unit = f"postgresql@{version}-main"
    drop_in = f"/etc/systemd/system/{unit}.service.d/rungway.conf"
    # It is there already: it comes with the backup tool's package.
    queue = [directory.path for directory in BACKUP_TOOL.directories()] if host.backup else []
    writable = (_data_parent(host), "/run/postgresql", "/var/log/postgresql", *queue)
    own = {"listen_addresses": f"127.0.0.1,{address_of(host)}", "port": "5432", **streaming_parameters(host)}
    return Service(
        name="postgresql",
        files=(
            HostFile(
                path=f"{etc}/conf.d/rungway.conf",
                content=render_template(
                    "postgresql/rungway.conf",
                    tuned=tuning.settings(tuning.POSTGRESQL, host),
                    fixed={**own, **_fixed_parameters(host)},
                ),
            ),
            HostFile(
                path=f"{etc}/pg_hba.conf",
                content=render_template("postgresql/pg_hba.conf", lines=host_based_authentication(host)),
                owner="postgres",
                group="postgres",
                mode=0o640,
            ),
            HostFile(
                path=drop_in,
                content=render_template(
                    "postgresql/unit.conf",
                    data=data,
                    address=address_of(host),
                    follows=bool(_postgresql(host).follows),
                    open_files=tuning.open_files(host)["postgresql"],
                    sandbox=sandbox(writable=writable),
                ),
            ),
        ),
        reads=TLS_FILES,
        checks=(
            f"runuser -u postgres -- /usr/lib/postgresql/{version}/bin/postgres -C shared_buffers -D {data} "
            f"-c config_file={etc}/postgresql.conf >/dev/null",
        ),
        before=(
            Task(
                name="changes that need a restart",
                unless=render_template(
                    "postgresql/restart-is-due.sh",
                    unit=unit,
                    drop_in=drop_in,
                    pid_file=f"/run/postgresql/{version}-main.pid",
                    psql=PSQL,
                ),
                script=f"systemctl restart {unit}",
            ),
        ),
        units=(f"{unit}.service",),
        on_change="reload",
        probe=render_template("postgresql/probe.sh", address=address_of(host), psql=PSQL),
        probe_seconds=300,
        after=database_roles_tasks(host),
    )
