"""The complete description of one server: everything that its files, its firewall and its budgets are computed from.

Pure data. Names and addresses are text, memory is in MiB, disks are in GB, and nothing here is secret: credentials reach a server
by another way, so that a specification can be printed, compared and kept.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from hosts.reachability import Rule

Role = Literal["app", "database", "redis", "monitoring", "kubernetes-control", "kubernetes-worker"]
"""What a server is for. One server can still run several services: a server of the role `app` may hold PostgreSQL and Redis too."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another server that this one talks to. `address` is private, and None where the provider assigns it; `region` and
    `etcd` as of a host. `services` are the names of the host's fields that hold a service there, for example 'postgresql'."""

    name: str
    role: Role
    address: str | None
    region: str = ""
    etcd: bool = False
    services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationService:
    """The application's containers, with nginx in front.

    `workers` is the resolved number of Uvicorn processes on this server (at least 1); `worker_concurrency` is in requests that one
    worker serves at once, `worker_memory_mb` in MiB for each worker. `port` is on the loopback interface and `health_check_path`
    answers 200 there. `hostnames` are the public names that nginx serves. `database_pool_size` and `database_max_overflow` are
    connections for each worker. `image` is the container image with its tag or digest, empty while nothing is deployed, and
    `migration_command` runs once in it before a new version serves. `database_nodes` and `redis_nodes` name the servers that hold the
    stores, the primary first (`hosts.endpoints`); `database_port` is PgBouncer's or PostgreSQL's on them. `redis_sentinel` says that
    the Redis primary can change. With `proxy_protocol` every connection to ports 80 and 443 starts with a PROXY line of a load balancer.
    `uploads_bucket` is the full name of the bucket that users' files go to, empty without one. With `origin_certificate` the hostnames
    have one certificate by Cloudflare, which only Cloudflare trusts; else the ACME authority at `acme_directory` certifies each server.
    """

    workers: int
    worker_concurrency: int
    worker_memory_mb: int
    port: int
    health_check_path: str
    hostnames: tuple[str, ...]
    database_pool_size: int
    database_max_overflow: int
    image: str = ""
    migration_command: str = ""
    database_nodes: tuple[str, ...] = ()
    database_port: int = 5432
    redis_nodes: tuple[str, ...] = ()
    redis_sentinel: bool = False
    proxy_protocol: bool = False
    uploads_bucket: str = ""
    origin_certificate: bool = False
    acme_directory: str = "https://acme-v02.api.letsencrypt.org/directory"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresqlService:
    """One PostgreSQL server.

    `version` is the major version. `memory_mb` is what PostgreSQL as a whole may use, in MiB; 0 means that it is computed
    (`hosts.budgets`). `max_connections` and `reserved_connections` are connections, the reserved ones a share of the former.
    `synchronous_commit` makes a commit wait for a standby. `standbys` counts the other nodes of the region's database. `clients` is
    the number of connections that all application processes of the region may open together.

    `follows` names the servers whose primary the region's database copies, empty in the region that takes the writes. A copy refuses to
    start with fewer connections or worker processes than its primary has, so its `max_connections` are at least the primary's, and
    `primary_cores` are the most cores of a server that it follows.
    """

    version: int
    primary: bool
    memory_mb: int
    max_connections: int
    reserved_connections: int
    synchronous_commit: bool
    standbys: int
    clients: int
    follows: tuple[str, ...] = ()
    primary_cores: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PgbouncerService:
    """PgBouncer in front of the PostgreSQL of the same server: `max_client_connections` in, `pool_size` connections out."""

    max_client_connections: int
    pool_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisService:
    """One Redis server. `max_memory_mb` is Redis' maxmemory in MiB; `sentinel` runs a Sentinel beside it."""

    max_memory_mb: int
    eviction_policy: str
    primary: bool
    sentinel: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertThresholds:
    """Limits beyond which an alert fires; the end of a name is its unit."""

    cpu_warning_percent: int
    cpu_critical_percent: int
    memory_warning_percent: int
    memory_critical_percent: int
    response_p95_warning_ms: int
    response_p95_critical_ms: int
    connections_warning_percent: int
    connections_critical_percent: int
    error_rate_warning_percent: int
    error_rate_critical_percent: int
    cache_hit_warning_percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringService:
    """Prometheus, Alertmanager, Grafana and Loki.

    Metrics and logs are kept for `retention_days`. `probe_urls` are requested from here as a user would; they must answer 200.
    `primary_region` is where PostgreSQL and Redis take writes. Every `backup_every_hours` there must be a new backup (0: none is made).
    `alerts_are_sent` to the webhook of the secret `alert-webhook-url`; else they are only shown.
    """

    retention_days: int
    thresholds: AlertThresholds
    probe_urls: tuple[str, ...] = ()
    primary_region: str = ""
    backup_every_hours: int = 0
    alerts_are_sent: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupService:
    """Backups of the PostgreSQL of this server to an object store.

    `bucket` is the bucket's full name. Full and incremental backups are so many hours apart (0 incremental hours: none), and
    restores reach `retention_days` back. `recovery_point_minutes` and `recovery_time_minutes` are promises: the most data that a
    restore loses, and the longest that it takes.
    """

    bucket: str
    full_every_hours: int
    incremental_every_hours: int
    retention_days: int
    recovery_point_minutes: int
    recovery_time_minutes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSpecification:
    """One server and the services on it; a service that does not run here is None.

    `name` is the server's host name and its name in the plan, `region` the short name of the region in the settings, `location` the
    provider's own. `cores` counts virtual processors, `memory_mb` is in MiB, `disk_gb` is the server's own disk in GB,
    `architecture` is 'x86' or 'arm'. `private_address` is None where the provider assigns it. A `public` server has a public IPv4
    address; `jump_host` names the server through which administrators reach this one, None when they reach it directly.
    `data_mount` is where the data volume is mounted, None when there is no volume. `rules` are the inbound firewall rules; what they
    do not allow is denied. `etcd` says that the server votes on who the database's primary is.
    """

    name: str
    role: Role
    provider: str
    location: str
    region: str
    cores: int
    memory_mb: int
    disk_gb: int
    architecture: str
    private_address: str | None
    public: bool
    jump_host: str | None
    data_mount: str | None
    peers: tuple[Peer, ...] = ()
    rules: "tuple[Rule, ...]" = ()
    application: ApplicationService | None = None
    postgresql: PostgresqlService | None = None
    pgbouncer: PgbouncerService | None = None
    redis: RedisService | None = None
    monitoring: MonitoringService | None = None
    backup: BackupService | None = None
    etcd: bool = False
