"""Redis: one server, or a primary with replicas, over TLS alone; and its daily snapshots in the bucket of the backups.

Two files make up its configuration, because Sentinel (or an administrator) changes who follows whom while it runs. `redis.conf` is
rendered, never changes by itself and says nothing about roles. `role.conf`, beside the data, holds `replicaof` and is written once; from
then on Redis rewrites it (CONFIG REWRITE), and a convergence leaves it alone, so that it can't make two primaries after a failover.

Transparent huge pages need no setting: Redis turns them off for itself (disable-thp, its default).
"""

from hosts.configuration import Directory, HostFile, Service, Task, address_of, secret
from hosts.sandbox import sandbox
from hosts.services.base import TLS_FILES
from hosts.services.exporters import TEXTFILE_DIRECTORY
from hosts.specification import BackupService, HostSpecification, Peer, RedisService
from hosts.templating import render_template
from hosts.tuning import REDIS, open_files, settings

CLI = "/usr/local/sbin/rungway-redis-cli"
CHECK = "/usr/local/lib/rungway/redis-check"
SNAPSHOT = "/usr/local/sbin/rungway-redis-snapshot"
ENVIRONMENT = "/etc/rungway/redis.env"

IO_THREADS_FROM_CORES = 4
"""Redis 8.0, redis.conf: I/O threads help on servers of at least four processors, and one processor stays free."""

LOAD_MB_PER_SECOND = 50
"""How fast a start reads the data, in MiB of memory a second, with a wide margin for slow volumes."""

SAVE_EVERY_SECONDS = 3600
"""The age from which a change is written to an RDB file."""

SAVE_SECONDS = 3600
"""How long a snapshot waits for BGSAVE, which a rewrite of the append-only file may hold up."""


def redis(host: HostSpecification) -> tuple[Service, ...]:
    """Redis on `host`, and its snapshots where there are backups; empty without Redis."""
    if not host.redis:
        return ()
    server = _server(host, host.redis)
    return (server, _snapshots(host, host.backup)) if host.backup else (server,)


def data_directory(host: HostSpecification) -> str:
    """Where Redis and Sentinel keep their data and what they rewrite."""
    return f"{host.data_mount}/redis" if host.data_mount else "/var/lib/redis"


def redis_peers(host: HostSpecification) -> tuple[Peer, ...]:
    """The other servers of Redis in every region, in the order of the settings: the primary's region first."""
    return tuple(peer for peer in host.peers if "redis" in peer.services)


def first_primary(host: HostSpecification) -> HostSpecification | Peer:
    """The primary that the settings name; after a failover it may be another.

    Raises:
        ValueError: a replica without peers.
    """
    if host.redis and host.redis.primary:
        return host
    for peer in redis_peers(host):
        return peer
    raise ValueError(f"{host.name}: a replica of Redis, and no other server of Redis among its peers")


def _server(host: HostSpecification, redis: RedisService) -> Service:
    directory = data_directory(host)
    role_file = f"{directory}/role.conf"
    start_seconds = 60 + redis.max_memory_mb // LOAD_MB_PER_SECOND
    primary = first_primary(host)
    configuration = render_template(
        "redis/redis.conf",
        directory=directory,
        address=address_of(host),
        io_threads=_io_threads(host),
        save_every_seconds=SAVE_EVERY_SECONDS,
        tuned=settings(REDIS, host),
        backlog_mb=backlog_mb(redis),
        electable=primary.region == host.region,
        sentinel=redis.sentinel,
        replication_password=secret("redis-replication"),
    )
    users = render_template(
        "redis/users.acl",
        sentinel=redis.sentinel,
        application_password=secret("redis"),
        administrator_password=secret("redis-administrator"),
        replication_password=secret("redis-replication"),
        sentinel_password=secret("redis-sentinel"),
    )
    unit = render_template(
        "redis/redis-server.conf", directory=directory, start_seconds=start_seconds, open_files=open_files(host)["redis"]
    )
    role = Task(
        name="the role of a new Redis",
        unless=f"test -s {role_file}",
        script=render_template(
            "redis/first-role.sh",
            primary=None if primary is host else address_of(primary),
            peers=[address_of(peer) for peer in redis_peers(host)],
            cli=CLI,
            role_file=role_file,
        ),
    )
    return Service(
        name="redis",
        packages=("redis-server", "redis-tools"),
        directories=(Directory(path=directory, owner="redis", group="redis", mode=0o750),),
        files=(
            HostFile(path="/etc/redis/redis.conf", content=configuration, group="redis", mode=0o640),
            HostFile(path="/etc/redis/users.acl", content=users, group="redis", mode=0o640),
            HostFile(path="/etc/systemd/system/redis-server.service.d/rungway.conf", content=unit),
            HostFile(path=ENVIRONMENT, content=f"REDISCLI_AUTH='{secret('redis-administrator')}'\n", mode=0o600),
            HostFile(path=CLI, content=cli("Redis", ENVIRONMENT, port=6379, user="administrator"), mode=0o755),
            HostFile(path=CHECK, content=render_template("redis/check.sh"), mode=0o755),
        ),
        reads=TLS_FILES,
        checks=(f"{CHECK} redis-server --include /etc/redis/redis.conf",),
        before=(role,),
        units=("redis-server.service",),
        probe=f"{CLI} ping | grep -qx PONG",
        probe_seconds=start_seconds,
    )


def cli(server: str, environment_file: str, *, port: int, user: str) -> str:
    """A script that asks `server` (its name for people) on this server, with the password from a file."""
    return render_template("redis/cli.sh", server=server, environment_file=environment_file, port=port, user=user)


def backlog_mb(redis: RedisService) -> int:
    """The replication backlog, in MiB: an eighth of maxmemory, 1 (Redis' default) to 256. The budget's half above maxmemory holds it."""
    return min(256, max(1, redis.max_memory_mb // 8))


def _io_threads(host: HostSpecification) -> int:
    """On a shared server the other processors are the application's."""
    return host.cores - 1 if host.role == "redis" and host.cores >= IO_THREADS_FROM_CORES else 1


def _snapshots(host: HostSpecification, backup: BackupService) -> Service:
    """Every server copies its own data, so that snapshots go on after any failover. They are what is left when all servers are lost:
    up to a day old, and not part of the recovery point that is promised for PostgreSQL."""
    directory = data_directory(host)
    environment = render_template(
        "redis/snapshot.env",
        key_id=secret("backup-key-id"),
        key_secret=secret("backup-key-secret"),
        cipher=secret("backup-cipher"),
        endpoint=secret("backup-endpoint"),
        bucket=backup.bucket,
    )
    script = render_template(
        "redis/snapshot.sh",
        directory=directory,
        server=host.name,
        retention_days=backup.retention_days,
        cli=CLI,
        save_seconds=SAVE_SECONDS,
        metric_file=f"{TEXTFILE_DIRECTORY}/rungway-redis-snapshot.prom",
    )
    # Root for the passwords; it reads what belongs to Redis, and links it.
    confined = sandbox(writable=(directory, TEXTFILE_DIRECTORY), capabilities=("CAP_DAC_OVERRIDE", "CAP_FOWNER"))
    unit = render_template("redis/rungway-redis-snapshot.service", program=SNAPSHOT, directory=directory, sandbox=confined)
    return Service(
        name="redis-snapshots",
        packages=("rclone",),
        directories=(Directory(path=TEXTFILE_DIRECTORY),),
        files=(
            HostFile(path="/etc/rungway/redis-snapshot.env", content=environment, mode=0o600),
            HostFile(path=SNAPSHOT, content=script, mode=0o755),
            HostFile(path="/etc/systemd/system/rungway-redis-snapshot.service", content=unit),
            HostFile(
                path="/etc/systemd/system/rungway-redis-snapshot.timer",
                content=render_template("redis/rungway-redis-snapshot.timer"),
            ),
        ),
        checks=(f"bash -n {SNAPSHOT}",),
        units=("rungway-redis-snapshot.timer",),
    )
