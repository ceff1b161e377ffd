"""Databases of other regions: copies of the first region's, which follow whichever of its servers is the primary.

A region with one database server has a PostgreSQL that streams; with two or more, Patroni runs a standby cluster there, whose nodes stream
from one of them. Either asks all servers of the first region and takes the one that accepts writes, so that a failover over there needs
nothing done here. There is no replication slot: the primary keeps nothing for a region that can't be reached, which could fill its disk.
What it no longer has comes from the first region's archive in the object store.

A copy becomes a primary of its own by a person's decision alone, and a convergence never takes that back (docs/replication.md).
"""

from hosts.backup_tool import BACKUP_TOOL
from hosts.configuration import HostFile, Service, Task, address_of, secret
from hosts.endpoints import POSTGRESQL_PORT, nodes
from hosts.sandbox import sandbox
from hosts.services.base import AUTHORITY
from hosts.specification import HostSpecification, Peer, PostgresqlService
from hosts.templating import render_template

PASSFILE = "/etc/rungway/replication.pgpass"
COPY = "rungway-database-copy"
FOLLOW = "rungway-database-follow"
REWIND_CONFIGURATION = "/etc/rungway/rewind.conf"

CONNECT_SECONDS = 5
"""How long one server of the first region may take to answer before the next one is asked."""

SILENCE_SECONDS = 20
"""How long the primary may say nothing until it counts as gone: what Patroni needs to find another one. PostgreSQL's default is 60."""


def followed_servers(host: HostSpecification) -> tuple[Peer, ...]:
    """The servers whose primary the database of `host` copies; empty in the first region.

    Raises:
        ValueError: one of them is not among the peers.
    """
    return nodes(host, host.postgresql.follows) if host.postgresql else ()


def followed_region(host: HostSpecification) -> str:
    """The region whose database is copied; empty in the first region."""
    return next((server.region for server in followed_servers(host)), "")


def has_rewind(host: HostSpecification) -> bool:
    """Whether another server may have to be taken back to where its history left this one's: after a failover, by pg_rewind."""
    standbys = host.postgresql is not None and host.postgresql.standbys > 0
    return standbys or any(_has_database(peer) and peer.region != host.region for peer in host.peers)


def database_peers(host: HostSpecification) -> tuple[Peer, ...]:
    """The other servers with PostgreSQL, of all regions."""
    return tuple(peer for peer in host.peers if _has_database(peer))


def followed_addresses(host: HostSpecification) -> str:
    """The servers that are followed, as a libpq `host`."""
    return ",".join(address_of(server) for server in followed_servers(host))


def connection(host: HostSpecification, user: str) -> str:
    """How libpq reaches the primary of the first region as the role `user`, whichever server it is; the password is in `PASSFILE`."""
    values = {
        "host": followed_addresses(host),
        "port": POSTGRESQL_PORT,
        "user": user,
        "passfile": PASSFILE,
        "sslmode": "verify-full",
        "sslrootcert": AUTHORITY,
        "target_session_attrs": "read-write",
        "application_name": host.name,
        "connect_timeout": CONNECT_SECONDS,
        # The process that receives the log doesn't know connect_timeout; in milliseconds.
        "tcp_user_timeout": CONNECT_SECONDS * 1000,
    }
    return " ".join(f"{name}={value}" for name, value in values.items())


def restore_command(host: HostSpecification) -> str:
    """Where a copy finds what the primary no longer has; empty without backups, and in the first region."""
    region = followed_region(host)
    return BACKUP_TOOL.fetch_of(region) if host.backup and region else ""


def standby_parameters(host: HostSpecification) -> dict[str, str]:
    """What a copy has in its configuration, whoever runs it; empty in the first region."""
    return {"wal_receiver_timeout": f"{SILENCE_SECONDS}s"} if followed_servers(host) else {}


def streaming_parameters(host: HostSpecification) -> dict[str, str]:
    """What PostgreSQL is told where no Patroni does; empty in the first region. A server that was promoted reads none of it."""
    if not followed_servers(host):
        return {}
    return {
        "primary_conninfo": connection(host, "replication"),
        "restore_command": restore_command(host),
        "recovery_target_timeline": "latest",
    }


def passfile(host: HostSpecification) -> tuple[HostFile, ...]:
    """The passwords of the roles that a copy connects with; none in the first region."""
    if not followed_servers(host):
        return ()
    lines = [f"*:*:*:{role}:{secret(f'postgresql-{role}')}\n" for role in ("replication", "rewind")]
    return (HostFile(path=PASSFILE, content="".join(lines), owner="postgres", group="postgres", mode=0o600),)


def same_cluster_task(host: HostSpecification, data_directory: str) -> tuple[Task, ...]:
    """Ends a convergence that finds a database which is no copy of the first region's: nothing here ever deletes one."""
    if not followed_servers(host):
        return ()
    values = {"data": data_directory, "programs": _programs(host), "connection": connection(host, "replication")}
    return (
        Task(
            name="database of the first region",
            unless=render_template("postgresql/same-cluster.sh", **values),
            script=render_template("postgresql/other-cluster.sh", **values),
        ),
    )


def copy_files(host: HostSpecification, data_directory: str) -> tuple[HostFile, ...]:
    """A unit that copies the primary's data. A convergence starts it and waits; a large copy goes on when the convergence has given up."""
    program = f"/usr/local/lib/rungway/{COPY}"
    values = {"data": data_directory, "programs": _programs(host), "connection": connection(host, "replication")}
    lines = sandbox(writable=(data_directory.rpartition("/")[0].rpartition("/")[0],))
    return (
        HostFile(path=program, content=render_template("postgresql/copy.sh", **values), mode=0o755),
        HostFile(
            path=f"/etc/systemd/system/{COPY}.service",
            content=render_template("postgresql/copy.service", program=program, data=data_directory, sandbox=lines),
        ),
    )


def follow(host: HostSpecification, data_directory: str) -> Service:
    """Takes a copy that was ahead of the new primary back to where both histories were one; without it, it would never follow again."""
    program = f"/usr/local/lib/rungway/{FOLLOW}"
    version = _postgresql(host).version
    archive = restore_command(host)
    values = {
        "data": data_directory,
        "programs": _programs(host),
        "version": version,
        "stream": connection(host, "replication"),
        "source": f"{connection(host, 'rewind')} dbname=postgres",
        "configuration": REWIND_CONFIGURATION,
        "archive": bool(archive),
    }
    # What it wrote as a primary is in the path of its own region, and before that in the first region's.
    archives = f"{BACKUP_TOOL.fetch} || {archive}" if archive else ""
    unit = {"program": program, "data": data_directory}
    return Service(
        name="postgresql-follow",
        files=(
            HostFile(path=program, content=render_template("postgresql/follow.sh", **values), mode=0o755),
            HostFile(path=REWIND_CONFIGURATION, content=render_template("postgresql/rewind.conf", version=version, archives=archives)),
            *(
                HostFile(path=f"/etc/systemd/system/{FOLLOW}.{kind}", content=render_template(f"postgresql/follow.{kind}", **unit))
                for kind in ("service", "timer")
            ),
        ),
        checks=(
            f"bash -n {program}",
            f"runuser -u postgres -- {_programs(host)}/postgres -C restore_command -D {data_directory} "
            f"-c config_file={REWIND_CONFIGURATION} >/dev/null",
        ),
        units=(f"{FOLLOW}.timer",),
    )


def _has_database(peer: Peer) -> bool:
    return peer.role == "database" or "postgresql" in peer.services


def _programs(host: HostSpecification) -> str:
    return f"/usr/lib/postgresql/{_postgresql(host).version}/bin"


def _postgresql(host: HostSpecification) -> PostgresqlService:
    if host.postgresql is None:
        raise ValueError(f"{host.name}: no PostgreSQL on this server; allowed: servers with it")
    return host.postgresql
